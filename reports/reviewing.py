"""`robustreid submit review`: what a maintainer reads before a submission is accepted."""

from __future__ import annotations

from pathlib import Path

import click

from ..benchmark.commands import FolderPath


@click.command()
@click.argument("path", metavar="PATH", type=FolderPath())
@click.option("--board", type=FolderPath(), metavar="DIR", help="The leaderboard it would stand on: who it is beside.")
@click.option(
    "--beside",
    multiple=True,
    type=FolderPath(),
    metavar="DIR",
    help="A run of models of the zoo on its tracks, to hold the claim against; may be given several times.",
)
@click.option("--verification", type=FolderPath(), metavar="FILE", help="What `submit verify` found.")
@click.option("--track", "tracks", multiple=True, metavar="FILE", help="A track file that does not ship.")
def review(
    path: Path, board: Path | None, beside: tuple[Path, ...], verification: Path | None, tracks: tuple[str, ...]
) -> int:
    """Print a review of the submission at PATH as Markdown, for a pull request.

    Who sent what, every finding of the checks with its code, digests, what was recomputed, its scores and its place
    beside the entries of the board and the models of --beside, flags, and what to ask about: weights that are somebody
    else's, an attack that takes nothing, scores far from all others.

    \b
    Examples:
      robustreid submit review my-defence.zip --board boards/market --beside runs/zoo
      robustreid submit review my-defence.zip --verification my-defence.zip.verified.json > review.md

    Exit codes: 0 done, 2 the request is wrong, 4 the submission is refused (the review says why).
    """  # noqa: D301 (as for `run`)
    from ..leaderboards.entries import is_board, read_entries
    from ..leaderboards.submission.accepting import Board
    from ..leaderboards.submission.checking import check_submission
    from ..leaderboards.submission.description import read_folder
    from ..leaderboards.submission.opening import opened
    from ..leaderboards.submission.reviewing import make_review
    from ..leaderboards.submission.scoring import tracks_of
    from ..leaderboards.submission.track_rules import track_problems
    from ..leaderboards.submission.verifying import read_verification
    from .review import markdown_refusal, markdown_review

    known = None if verification is None else read_verification(verification)
    taken = Board(path=board).names if board is not None else ()
    report = check_submission(path, taken=taken, track_problems=track_problems)
    if not report.is_valid:
        click.echo(markdown_refusal(report), nl=False)
        return 4
    others = read_entries([*([board] if board is not None and is_board(board) else []), *beside])
    with opened(path, report) as submission:
        description = read_folder(submission.folder)
        made = make_review(submission, description, tracks_of(description, tracks), others, verification=known)
    click.echo(markdown_review(made), nl=False)
    return 0
