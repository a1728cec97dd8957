"""`robustreid submit score | verify | accept | attack`: what computes, and what puts a submission on a board."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ... import InvalidFileError, UserError
from ...benchmark.commands import FolderPath

if TYPE_CHECKING:
    from ...benchmark.runtime import Settings
    from .scoring import Subject
    from .verifying import Verification

_DATA = click.option(
    "--data", "root", type=FolderPath(), metavar="ROOT", help="Folder of the track's images; not for drawn people."
)
_TRACK = click.option(
    "--track",
    "tracks",
    multiple=True,
    metavar="FILE",
    help="A track file of your own, for a track that the submission names and that does not ship with the package.",
)
_DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
_BATCH = click.option("--batch-size", type=click.IntRange(1), help="Images a forward. [default: 32 on a CPU]")
_WORKERS = click.option("--workers", type=click.IntRange(1), help="Threads that decode images.")
_PLUGIN = click.option(
    "--plugin", metavar="PACKAGE:CALLABLE", help="Code that builds the network, with the weights' path as its argument."
)
_TRUST = click.option("--trust-code", is_flag=True, help="Run the code that --plugin names; it runs with your rights.")
_BOARD = click.option("--board", type=FolderPath(), required=True, metavar="DIR", help="The leaderboard directory.")


def _settings(*, plugin: str | None, trust_code: bool, **given: Any) -> Settings:
    from ...benchmark.runtime import Settings

    if plugin is not None and not trust_code:
        raise UserError(f"The code {plugin!r} runs with your rights; add --trust-code if you trust it.")
    return Settings(**given, trust_code=trust_code)


def _subject(folder: Path, root: Path | None, tracks: tuple[str, ...], plugin: str | None) -> Subject:
    from .description import read_folder
    from .scoring import Subject, tracks_of

    description = read_folder(folder)
    return Subject(
        folder=folder, description=description, tracks=tracks_of(description, tracks), root=root, plugin=plugin
    )


@click.command()
@click.argument("directory", metavar="DIR", type=FolderPath())
@_DATA
@_TRACK
@_DEVICE
@_BATCH
@_WORKERS
@_PLUGIN
@_TRUST
def score(
    directory: Path, root: Path | None, tracks: tuple[str, ...], plugin: str | None, trust_code: bool, **settings: Any
) -> int:
    """Run the tracks of the submission in DIR on your machine, into DIR/results.

    Every attack of the track is run at the track's radius, the curve's attack at the radii of the curve, and your own
    adaptive attack beside them. An interrupted scoring goes on with the same command; what stands is not run again.

    \b
    Examples:
      robustreid submit score my-defence
      robustreid submit score my-defence --data ~/data/Market-1501-v15.09.15 --device cuda

    Exit codes: 0 done, 2 the request is wrong, 3 some cells failed, 4 a file is invalid, 74 the file system failed,
    130 interrupted.
    """  # noqa: D301 (as for `run`)
    from ...benchmark.cli import FAILED_CELLS
    from ...benchmark.progress import reporting
    from ..entries import read_entries
    from ..ranking import make_standings
    from .paths import RESULTS
    from .scoring import score as run_score

    chosen = _settings(plugin=plugin, trust_code=trust_code, **settings)
    subject = _subject(directory, root, tracks, plugin)
    with reporting() as reporter:
        summary = run_score(subject, chosen, reporter)
    for track in subject.tracks:
        for row in make_standings(track, read_entries([directory / RESULTS])).rows:
            worst = "no score" if row.worst is None else f"{100 * row.worst.value:.2f}"
            clean = "-" if row.clean is None else f"{100 * row.clean.value:.2f}"
            state = "" if row.is_complete else f" (incomplete: {', '.join(s.attack for s in row.missing)})"
            click.echo(f"{track.key}: {row.label} keeps {worst} of {clean} points of mAP{state}")
    click.echo(f"Next: robustreid submit pack {directory}", err=True)
    return FAILED_CELLS if summary.n_failed else 0


@click.command()
@click.argument("path", metavar="PATH", type=FolderPath())
@click.option("--sample", type=click.IntRange(1), default=3, show_default=True, metavar="K", help="Cells to recompute.")
@click.option("--seed", type=click.IntRange(0), help="What the sample is drawn by. [default: drawn, and printed]")
@click.option(
    "--out", type=FolderPath(), metavar="FILE", help="Where what was found goes. [default: PATH.verified.json]"
)
@_DATA
@_TRACK
@_DEVICE
@_BATCH
@_WORKERS
@_PLUGIN
@_TRUST
def verify(
    path: Path,
    sample: int,
    seed: int | None,
    out: Path | None,
    root: Path | None,
    tracks: tuple[str, ...],
    plugin: str | None,
    trust_code: bool,
    **settings: Any,
) -> None:
    """Compute K of the cells that the submission at PATH claims again, drawn by a seed that you choose.

    It fails where a model keeps less mAP than it claims by more than a point (or three times the noise between
    machines, where that is more), where its clean score is another one, or where a row is about something else.

    \b
    Examples:
      robustreid submit verify my-defence.zip --sample 5
      robustreid submit verify my-defence.zip --sample 5 --seed 17 --data ~/data/Market-1501-v15.09.15

    Exit codes: 0 every claim holds, 2 the request is wrong, 4 the submission is invalid or a claim does not hold.
    """  # noqa: D301 (as for `run`)
    from ...benchmark.progress import reporting
    from ...benchmark.store.files import write_bytes
    from .opening import opened
    from .verifying import verify as recompute

    chosen = _settings(plugin=plugin, trust_code=trust_code, **settings)
    drawn = secrets.randbelow(2**31) if seed is None else seed
    with opened(path) as submission, reporting() as reporter:
        subject = _subject(submission.folder, root, tracks, plugin)
        found = recompute(
            subject, submission.content_sha256, sample=sample, seed=drawn, settings=chosen, reporter=reporter
        )
    place = out or path.with_name(f"{path.name}.verified.json")
    write_bytes(place, found.as_text().encode())
    click.echo(_verification_table(found))
    click.echo(f"{place}: {len(found.cells)} of {found.n_cells} cells, seed {drawn}: {found.provenance}.", err=True)
    if not found.agrees:
        wrong = [cell for cell in found.cells if cell.problem]
        raise InvalidFileError(
            f"{len(wrong)} of {len(found.cells)} recomputed cells do not support the claim, first {wrong[0].label!r}: "
            f"{wrong[0].problem}."
        )


def _verification_table(found: Verification) -> str:
    from ...benchmark.tables import text_table

    rows = [
        (
            cell.label,
            f"{100 * cell.claimed:.2f}",
            "-" if cell.attacked is None else f"{100 * cell.attacked:.2f}",
            cell.problem or "agrees",
        )
        for cell in found.cells
    ]
    return text_table(("cell", "claimed", "recomputed", ""), rows)


@click.command()
@click.argument("path", metavar="PATH", type=FolderPath())
@_BOARD
@click.option("--verification", type=FolderPath(), metavar="FILE", help="What `submit verify` found.")
@click.option("--replace", is_flag=True, help="Take the place of an entry of the same name.")
def accept(path: Path, board: Path, verification: Path | None, replace: bool) -> None:
    """Put the submission at PATH on the leaderboard in DIR, checked once more; the folder is made where it is missing.

    Without --verification its rows are shown as self-reported.

    \b
    Examples:
      robustreid submit accept my-defence.zip --board boards/market --verification my-defence.zip.verified.json

    Exit codes: 0 done, 2 the request is wrong, 4 the submission is invalid, 74 the file system failed.
    """  # noqa: D301 (as for `run`)
    from .accepting import Board
    from .accepting import accept as put
    from .description import read_folder
    from .opening import opened
    from .verifying import read_verification

    known = None if verification is None else read_verification(verification)
    place = Board(path=board)
    taken = [] if replace else place.names
    with opened(path, taken=taken) as submission:
        description = read_folder(submission.folder)
        made = put(place, submission, description, verification=known, replace=replace)
    click.echo(made)


@click.command()
@click.argument("images", metavar="IMAGES", type=FolderPath())
@_BOARD
@click.option("--model", required=True, metavar="NAME", help="The entry that the images were made against.")
@click.option("--finder", required=True, metavar="NAME", help="Who found the attack: the board gives credit.")
@click.option("--on", metavar="TRACK", help="Which of the entry's tracks, where it has several.")
@_DATA
@_TRACK
@_DEVICE
@_BATCH
@_WORKERS
@_PLUGIN
@_TRUST
def attack(
    images: Path,
    board: Path,
    model: str,
    finder: str,
    on: str | None,
    root: Path | None,
    tracks: tuple[str, ...],
    plugin: str | None,
    trust_code: bool,
    **settings: Any,
) -> None:
    """Score attacked images against an entry of a leaderboard; what they take counts in its worst case, with credit.

    IMAGES is a folder of 8-bit RGB PNG and a manifest.json with `image_id`, `file`, `side` and `sha256` of each (what
    `robustreid run --keep-images` writes). Every image is held against the clean file: one pixel beyond the radius,
    another size, a stranger's image, and all of them are refused. Images that are not listed stay clean.

    \b
    Examples:
      robustreid submit attack found/ --board boards/market --model my-defence --finder "A. Finder" --data ~/data/market

    Exit codes: 0 done, 2 the request is wrong, 4 the images are refused, 74 the file system failed.
    """  # noqa: D301 (as for `run`)
    from ...benchmark.prepared import read_prepared
    from ...benchmark.progress import reporting
    from .accepting import Board, add_found
    from .scoring import only_track

    chosen = _settings(plugin=plugin, trust_code=trust_code, **settings)
    place = Board(path=board)
    subject = only_track(_subject(place.entry(model), root, tracks, plugin), on)
    prepared = read_prepared(images)
    with reporting() as reporter:
        row = add_found(place, subject, prepared, finder, chosen, reporter)
    click.echo(
        f"{model} keeps {100 * row['mAP_attacked']:.2f} of {100 * row['mAP_clean']:.2f} points of mAP under these "
        f"{len(prepared.files)} images; credit goes to {finder}."
    )
