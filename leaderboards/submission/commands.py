"""`robustreid submit`: the table of its commands, and those that look at a submission and compute nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import click

from ...benchmark.cli import LateGroup
from ...benchmark.commands import FolderPath, print_json

#: name -> ("module:command", one line for `robustreid submit --help`).
SUBMIT_COMMANDS: Mapping[str, tuple[str, str]] = {
    "init": ("robustreid.leaderboards.submission.commands:init", "Write a submission.yaml to begin with."),
    "check": ("robustreid.leaderboards.submission.commands:check", "Say everything that is wrong with a submission."),
    "score": ("robustreid.leaderboards.submission.board_commands:score", "Run its tracks on your machine."),
    "pack": ("robustreid.leaderboards.submission.commands:pack", "Make one archive of it, with checksums."),
    "verify": ("robustreid.leaderboards.submission.board_commands:verify", "Compute some of its cells again."),
    "review": ("robustreid.reports.reviewing:review", "Sum it up in Markdown, for whoever accepts it."),
    "accept": ("robustreid.leaderboards.submission.board_commands:accept", "Put it on a leaderboard."),
    "attack": ("robustreid.leaderboards.submission.board_commands:attack", "Lower an entry by images you attacked."),
}

#: What an invalid submission exits with.
INVALID = 4


@click.group(cls=LateGroup, table=SUBMIT_COMMANDS)
def submit() -> None:
    """Send a model to a leaderboard, or take one in.

    A submission is a folder with submission.yaml, weights.safetensors or model.onnx, and results; or one archive of it
    (docs/submitting.md). Whoever submits walks init, check, score, pack; whoever keeps a board walks check, verify,
    review, accept.

    \b
    Examples:
      robustreid submit init mine
      robustreid submit check mine
      robustreid submit pack mine --out mine.zip
    """  # noqa: D301 (in a raw one click does not find its \b)


@submit.command()
@click.argument("directory", metavar="DIR", type=FolderPath())
@click.option("--yes", is_flag=True, help="Ask nothing, and write what is proposed.")
@click.option("--name", help="Name on the board. [default: that of the folder]")
@click.option("--track", help="The track that it is for. [default: market1501-query-4]")
def init(directory: Path, name: str | None, track: str | None, yes: bool) -> None:
    """Write DIR/submission.yaml with every key and what it is for; DIR is made where it is not there.

    On a terminal it asks for the few things that only you know. It points at weights.safetensors, which you put beside
    it. A file that is there already is never overwritten.

    \b
    Examples:
      robustreid submit init mine
      robustreid submit init mine --yes --name osnet-metric-at --track market1501-query-4

    Exit codes: 0 done, 2 the request is wrong, 74 the file system failed.
    """  # noqa: D301
    from .starting import ask, proposed, start

    answers = proposed(directory, name, track)
    if not yes and sys.stdin.isatty():
        answers = ask(answers, lambda question, default: str(click.prompt(question, default=default, err=True)))
    path = start(directory, answers)
    click.echo(str(path))
    click.echo(f"Put weights.safetensors beside it, then: robustreid submit check {directory}", err=True)


@submit.command()
@click.argument("path", metavar="PATH", type=FolderPath())
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON array.")
def check(path: Path, as_json: bool) -> int:
    """Say everything that is wrong with the submission at PATH, a folder or an archive.

    Each line has a code (docs/submitting.md), the place, what is wrong and what to do. A note does not make a
    submission invalid. Nothing of it is run, and nothing is written.

    \b
    Examples:
      robustreid submit check mine
      robustreid submit check mine.zip --json

    Exit codes: 0 valid, 2 there is nothing at PATH, 4 not valid.
    """  # noqa: D301
    from .checking import check_submission
    from .track_rules import track_problems

    report = check_submission(path, track_problems=track_problems)
    if as_json:
        print_json([finding.as_record() for finding in report.findings])
    else:
        for line in report.lines:
            click.echo(line)
    _sum_up(path, len(report.errors), len(report.notes))
    return 0 if report.is_valid else INVALID


@submit.command()
@click.argument("directory", metavar="DIR", type=FolderPath())
@click.option("--out", type=FolderPath(), metavar="FILE", help="The archive. [default: NAME.zip beside DIR]")
def pack(directory: Path, out: Path | None) -> int:
    """Check the submission in DIR and pack it into one zip, with the sha256 of every file in its manifest.json.

    The same content gives the same bytes. Caches of a run, hidden files and rows that no plan lists stay behind.

    \b
    Examples:
      robustreid submit pack mine
      robustreid submit pack mine --out ~/sent/mine.zip

    Exit codes: 0 done, 2 the request is wrong, 4 the submission is not valid, 74 the file system failed.
    """  # noqa: D301
    from .packing import pack as pack_folder

    report, packed = pack_folder(directory, out)
    for line in report.lines:
        click.echo(line, err=True)
    if packed is None:
        _sum_up(directory, len(report.errors), len(report.notes))
        return INVALID
    for name in packed.names:
        click.echo(name)
    click.echo(f"{packed.path}: {len(packed.names)} files, {packed.n_bytes:,} bytes, sha256 {packed.sha256}", err=True)
    return 0


def _sum_up(path: Path, n_errors: int, n_notes: int) -> None:
    said = "valid" if not n_errors else f"not valid, {n_errors} {'error' if n_errors == 1 else 'errors'}"
    click.echo(f"{path}: {said}, {n_notes} {'note' if n_notes == 1 else 'notes'}.", err=True)
