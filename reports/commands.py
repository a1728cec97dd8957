"""The commands of this floor: report, leaderboard, plot."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from ..benchmark.commands import FolderPath

#: What `leaderboard --format` takes.
FORMATS = ("table", "md", "csv", "json", "latex")


@click.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...", type=FolderPath())
@click.option("--out", type=FolderPath(), default=Path("site"), show_default=True, help="Folder for the site.")
@click.option(
    "--track",
    "tracks",
    multiple=True,
    metavar="T",
    help="A track of your own (.yml), or one that ships and has no row yet; may be given several times.",
)
@click.option(
    "--show-faces",
    is_flag=True,
    help="Leave the heads of real people in ranking lists as they are: for your own use, never for publication "
    "without the consent of everybody on them.",
)
def report(directories: tuple[Path, ...], out: Path, tracks: tuple[str, ...], show_faces: bool) -> None:
    """Make a static site of DIR...: tracks, boards, curves, pages of models, attacks and transfers, ranking lists.

    DIR is a run directory or a leaderboard directory (`robustreid submit accept`). A track has a page where rows
    belong to it: models with 95% intervals and the places that each may have.

    Everything is computed from rows, so this takes seconds and needs neither data nor weights; rows of several runs
    are shown together. Failed, skipped and missing cells are shown as such. The pages need no server and no network:
    open index.html, copy the folder to a colleague, or publish it as it is. The same rows give the same bytes.

    Ranking lists appear where the run kept images (`robustreid run GRID --keep-images 8`), with the heads of real
    people blurred past recovery; look at the pages before you publish them, and mind the terms of the set. A site
    that stands in the folder is replaced; any other folder that is not empty is refused.

    \b
    Examples:
      robustreid report runs/ama
      robustreid report runs/ama --out ama-site
      robustreid report runs/ama runs/fna --out both
      robustreid report board runs/mine --track my-track.yml

    Exit codes: 0 done, 2 the request is wrong, 4 a file of a run does not read back, 74 the file system failed.
    """  # noqa: D301 (as for `run`)
    from ..benchmark.progress import reporting
    from .site import build_site

    with reporting() as reporter:
        index = build_site(directories, out, reporter, tracks=tracks, show_faces=show_faces)
    click.echo(index)


@click.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...", type=FolderPath())
@click.option("--track", required=True, metavar="T", help="Of `robustreid ls tracks`, or a .yml file.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="table", show_default=True, help="What to print.")
def leaderboard(directories: tuple[Path, ...], track: str, form: str) -> None:
    """Rank the models in DIR... on a track: worst-case score, 95% intervals, and the places that each may have.

    DIR is a run directory or a leaderboard directory (`robustreid submit accept`); rows of all of them share one
    table where they agree in everything that the track says: data, protocol, radius, attacks with their versions,
    definition of mAP. What does not agree is listed below the table with its reason. A model without all its scores
    has no place, and its score is said to be "at most": nothing is averaged over what is missing.

    csv and json have full precision under stable names; md, latex and table have points and intervals, each text
    escaped. What the columns mean, and how to write a track file: docs/leaderboards.md.

    \b
    Examples:
      robustreid leaderboard runs/mine --track synthetic-query-4
      robustreid leaderboard board runs/mine --track market1501-query-4 --format md
      robustreid leaderboard board --track my-track.yml --format csv > board.csv

    Exit codes: 0 done, also where no row belongs to the track; 2 the request is wrong, 4 a file does not read back.
    """  # noqa: D301 (as for `run`)
    from ..leaderboards.entries import read_entries
    from ..leaderboards.ranking import make_standings
    from ..leaderboards.track import load_track
    from .formats import render
    from .leaderboard import why_empty

    loaded = load_track(track)
    entries = read_entries(directories)
    standings = make_standings(loaded, entries)
    empty = "" if standings.rows else why_empty(standings, entries)
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    click.echo(render(standings, form, empty=empty, columns=columns), nl=False)


@click.command()
@click.argument("directory", metavar="DIR", type=FolderPath())
def plot(directory: Path) -> None:
    """Draw the training in DIR: losses, and clean and attacked scores of the people who are kept out.

    `train` does this by itself after every scored epoch; the figure is DIR/training.svg.

    \b
    Examples:
      robustreid plot runs/train/mine

    Exit codes: 0 done, 2 the folder holds no training, 4 its log does not read back, 74 the file system failed.
    """  # noqa: D301 (as for `run`)
    from .training import plot_training

    click.echo(plot_training(directory))
