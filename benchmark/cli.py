"""The one table of commands, and what every command line of this tool has in common.

Names load late: `--help` imports no torch. What the user can mend is one sentence and an exit code
(docs/exit-codes.md); a bug keeps its traceback.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from typing import Any

import click

from .. import UserError
from ..models.registry import load_reference, nearest
from .runtime import quiet_threads

#: name -> ("module:command", one line for `robustreid --help`); every floor has its own `commands.py`.
COMMANDS: Mapping[str, tuple[str, str]] = {
    "run": ("robustreid.benchmark.commands:run", "Run a grid: models x data sets x attacks x epsilons."),
    "plan": ("robustreid.benchmark.commands:plan", "What a grid would run, and what it costs."),
    "status": ("robustreid.benchmark.commands:status", "How far a run directory is."),
    "ls": ("robustreid.benchmark.commands:ls", "List models, attacks or data sets."),
    "version": ("robustreid.benchmark.commands:version", "Versions of this tool and what it runs on."),
}

#: What `robustreid ls KIND` lists: a function that gives records, each with `name`.
LISTS: Mapping[str, str] = {
    "models": "robustreid.models.commands:list_models",
    "attacks": "robustreid.attacks.commands:list_attacks",
    "datasets": "robustreid.benchmark.commands:list_datasets",
}

INTERRUPTED, BUG = 130, 70


class LateGroup(click.Group):
    """A group that imports a command when it is asked for, and not before."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command behind a name."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = load_reference(COMMANDS[cmd_name][0])
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The same, with the nearest name for a misspelt one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            raise UserError(
                f"Unknown command {args[0]!r}.{nearest(args[0], COMMANDS)} Available: {', '.join(COMMANDS)}."
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """Their one-liners, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(
    cls=LateGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Start with `robustreid ls attacks`, then `robustreid plan GRID` and `robustreid run GRID`.",
)
def cli() -> None:
    """Measure how robust person re-identification models are: attack, rank, and keep what came out in parquet."""


def main(arguments: Sequence[str] | None = None) -> int:  # noqa: PLR0911 (one return an outcome)
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
    except BrokenPipeError:
        # The reader of our output went away (`| head`): not our failure.
        sys.stderr.close()
        return 0
    except MemoryError:
        return _say("Out of memory; run again with a smaller --batch-size.", BUG)
    except Exception:  # noqa: BLE001 (a bug: its traceback is kept)
        traceback.print_exc()
        return _say("This is a bug in robustreid; please report it with the traceback above.", BUG)
    return result if isinstance(result, int) else 0


def _sentence(error: click.ClickException) -> str:
    text = error.format_message().rstrip(".")
    ctx = getattr(error, "ctx", None)
    return f"{text}; see `{ctx.command_path} --help`." if ctx else f"{text}."


def _say(text: str, code: int) -> int:
    click.echo(text, err=True)
    return code
