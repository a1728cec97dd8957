"""The commands of this floor: report, plot."""

from __future__ import annotations

from pathlib import Path

import click

from ..benchmark.commands import FolderPath


@click.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...", type=FolderPath())
@click.option("--out", type=FolderPath(), default=Path("site"), show_default=True, help="Folder for the site.")
def report(directories: tuple[Path, ...], out: Path) -> None:
    """Make a static site of the runs in DIR...: boards, curves, a page per model, ranking lists.

    Everything is computed from rows, so this takes seconds and needs neither data nor weights; rows of several runs
    are shown together. Failed, skipped and missing cells are shown as such. The pages need no server and no network:
    open index.html, copy the folder to a colleague, or publish it as it is. The same rows give the same bytes.

    Ranking lists appear where the run kept images (`robustreid run GRID --keep-images 8`). A site that stands in the
    folder is replaced; any other folder that is not empty is refused.

    \b
    Examples:
      robustreid report runs/ama
      robustreid report runs/ama --out ama-site
      robustreid report runs/ama runs/fna --out both

    Exit codes: 0 done, 2 the request is wrong, 4 a file of a run does not read back, 74 the file system failed.
    """  # noqa: D301 (as for `run`)
    from ..benchmark.progress import reporting
    from .site import build_site

    with reporting() as reporter:
        index = build_site(directories, out, reporter)
    click.echo(index)


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
