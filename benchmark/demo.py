"""The demonstration: the shipped grid on drawn people with the shipped models, and its pages."""

from __future__ import annotations

from pathlib import Path

import click

from .. import UserError
from ..models.registry import load_reference
from .cli import COMMANDS, FAILED_CELLS
from .commands import FolderPath
from .runtime import Settings

#: Whose ranking lists the pages show, before and after: so many people's in the cells that match.
_SHOWN, _SHOWN_OF = 4, "ama-ifgsm and 4/255"


@click.command()
@click.option(
    "--out",
    type=FolderPath(),
    default=Path("robustreid-demo"),
    show_default=True,
    metavar="DIR",
    help="Folder for the rows (DIR/run) and the pages (DIR/site).",
)
def demo(out: Path) -> int:
    """Attack five small models on people drawn by this package, and make the pages.

    Needs no data, no weights and no network; about a minute on two cores. One model is undefended, and one the same
    behind a defence that only hides its gradients; one is metric-preserving, as the paper's defence; two were trained
    against an adversary of their own (metric-AT, GOAT). All three attacks of Bai et al. (TPAMI 2020) and noise of the
    same size change the gallery, then the queries, at five epsilons; to be quick, 24 of the 192 queries are asked. An
    interrupted demo goes on with the same command.

    \b
    Examples:
      robustreid demo
      robustreid demo --out /tmp/demo

    Exit codes: 0 done, 2 the request is wrong, 3 some cells failed, 74 the file system failed, 130 interrupted.
    """  # noqa: D301
    from .config.grid import load_grid
    from .progress import reporting
    from .runner.run import run_grid
    from .store.directory import RunDirectory
    from .tables import results_table

    if out.is_file():
        raise UserError(f"{str(out)!r} is a file; give a folder for the demonstration.")
    path = out / "run"
    grid = load_grid("demo")
    asked = [
        f"{data.queries} queries of {data.label}, drawn for a quick look" for data in grid.datasets if data.queries
    ]
    with reporting() as reporter:
        reporter.note(", ".join([f"{len(grid.models)} models", *asked]))
        run_grid(grid, path, Settings(keep_images=_SHOWN, keep_images_of=_SHOWN_OF), reporter)
    frame = RunDirectory(path).load()
    click.echo(results_table(frame))
    # By its name in the table: this floor knows no page.
    report: click.Command = load_reference(COMMANDS["report"][0])
    click.get_current_context().invoke(report, directories=(path,), out=out / "site")
    return FAILED_CELLS if (frame["status"] == "failed").any() else 0
