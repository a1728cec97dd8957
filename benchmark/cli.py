"""The one table of commands, and what every command line of this tool has in common.

Names load late: `--help` imports no torch. What the user can mend is one sentence and an exit code
(docs/exit-codes.md); a bug keeps its traceback.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import click

from .. import StorageError, UserError
from ..models.registry import load_reference, nearest
from .runtime import quiet_threads

#: name -> ("module:command", one line for `robustreid --help`); every floor has its own `commands.py`.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "demo": ("robustreid.benchmark.demo:demo", "The whole story in a minute: drawn people, shipped models, pages."),
    "run": ("robustreid.benchmark.commands:run", "Run a grid: models x data sets x attacks x epsilons."),
    "plan": ("robustreid.benchmark.commands:plan", "What a grid would run, and what it costs."),
    "status": ("robustreid.benchmark.commands:status", "How far a run directory is."),
    "train": ("robustreid.benchmark.training.commands:train", "Train a model by a recipe."),
    "inspect": (
        "robustreid.leaderboards.inspecting:inspect",
        "Whether a model can be scored, and what would make its numbers doubtful.",
    ),
    "plot": ("robustreid.reports.commands:plot", "Draw a training: losses and scores, epoch by epoch."),
    "report": ("robustreid.reports.commands:report", "Make a static site of runs: boards, curves, model pages."),
    "leaderboard": ("robustreid.reports.commands:leaderboard", "Rank models on a track, with intervals and places."),
    "compare": ("robustreid.reports.gating:compare", "Gate a change: what got worse from one run to another."),
    "baseline": ("robustreid.reports.gating:baseline", "Keep the scores that later ones are held against."),
    "submit": ("robustreid.leaderboards.submission.commands:submit", "Send a model to a leaderboard, or take one in."),
    "data": ("robustreid.benchmark.datasets.commands:data", "Look at data sets; get weights of published models."),
    "ls": ("robustreid.benchmark.commands:ls", "List models, attacks, data sets, defences or tracks."),
    "version": ("robustreid.benchmark.commands:version", "Versions of this tool and what it runs on."),
}

#: What `robustreid ls KIND` lists: a function that gives records, each with `name`.
LISTS: Mapping[str, str] = {
    "models": "robustreid.models.commands:list_models",
    "attacks": "robustreid.attacks.commands:list_attacks",
    "datasets": "robustreid.benchmark.commands:list_datasets",
    "defences": "robustreid.models.defences.catalogue:list_defences",
    "tracks": "robustreid.leaderboards.track:list_tracks",
}

_ENDLESS = re.compile(r"(\S{120})\S{600,}")

#: What the operating system says when the place that output goes to is full or broken.
_OUTPUT_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}

#: The run ended and some of its cells failed; a stop from outside; a mistake of ours.
FAILED_CELLS, INTERRUPTED, BUG = 3, 130, 70


class _ClosedPipeError(Exception):
    """A closed pipe under another name: click ends the process by itself, with code 1, where it sees one."""


@contextlib.contextmanager
def _renamed_closed_pipe() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError as error:
        raise _ClosedPipeError from error


class LateGroup(click.Group):
    """A group that imports a command when it is asked for, and not before.

    Args:
        table: as `COMMANDS`, which is that of the first group.
    """

    def __init__(self, *args: Any, table: Mapping[str, tuple[str, str]] = COMMANDS, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._table = table

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """As click does it; `--help` is printed here."""
        with _renamed_closed_pipe():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """As click does it."""
        with _renamed_closed_pipe():
            return super().invoke(ctx)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of the table."""
        return list(self._table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command behind a name."""
        if cmd_name not in self._table:
            return None
        found: click.Command = load_reference(self._table[cmd_name][0])
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The same, with the nearest name for a misspelt one."""
        if args and not args[0].startswith("-") and args[0] not in self._table:
            raise UserError(
                f"Unknown command {args[0]!r}.{nearest(args[0], self._table)} Available: {', '.join(self._table)}."
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Their one-liners, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in self._table.items()])


@click.group(
    cls=LateGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `robustreid demo`; then `robustreid plan GRID` and `robustreid run GRID`.",
)
def cli() -> None:
    """Measure how robust person re-identification models are: attack, rank, and keep what came out in parquet."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and give its exit code; the console script exits with it."""
    quiet_threads()
    try:
        result: Any = cli.main(args=arguments, prog_name="robustreid", standalone_mode=False)
    except UserError as error:
        return _say(str(error), error.exit_code)
    except click.ClickException as error:
        return _say(_sentence(error), UserError.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return _say("Interrupted. What was finished stands; the same command goes on from there.", INTERRUPTED)
    except MemoryError:
        return _say("Out of memory; run again with a smaller --batch-size.", BUG)
    except BaseException as error:  # noqa: BLE001 (an exit of somebody else's code is as much a bug as an exception)
        return _unforeseen(error)
    return result if isinstance(result, int) else 0


def _unforeseen(error: BaseException) -> int:
    """The exit code of what no command foresaw: an output that cannot be written, or a bug."""
    if isinstance(error, _ClosedPipeError):
        _drop_output()
        return 0  # the reader of our output went away (`| head`): not our failure
    if isinstance(error, OSError) and error.errno in _OUTPUT_ERRORS:
        _drop_output()
        return _say(
            f"The output could not be written: {error.strerror}. What was finished stands.", StorageError.exit_code
        )
    traceback.print_exception(error)
    return _say("This is a bug in robustreid; please report it with the traceback above.", BUG)


def _drop_output() -> None:
    """Lead standard output nowhere, so that Python does not stumble over the same error when it ends."""
    with contextlib.suppress(OSError, ValueError):  # there may be no such file, in a notebook or a test
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def _sentence(error: click.ClickException) -> str:
    if type(error).__name__ == "NoArgsIsHelpError":  # click 8.1 has none: it prints the same help by itself
        return error.format_message()
    text = " ".join(error.format_message().split()).rstrip(".")
    ctx = getattr(error, "ctx", None)
    if ctx is None:
        return f"{text}."
    return f"{text}{' See' if text.endswith('?') else '; see'} `{ctx.command_path} --help`."


def _say(text: str, code: int) -> int:
    """Say it on standard error. A word that no terminal has room for is cut: names come from files of others."""
    with contextlib.suppress(OSError):  # nobody may listen any more
        click.echo(_ENDLESS.sub(lambda word: f"{word[1]}... ({len(word[0])} characters)", text), err=True)
    return code
