"""The commands of this floor: run, plan, status, ls, version."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ..models.registry import load_reference
from .cli import FAILED_CELLS, LISTS
from .runtime import Settings

if TYPE_CHECKING:
    from .planner import Plan


def list_datasets() -> list[dict[str, Any]]:
    """One record a format, each with `name`."""
    from .datasets.about import ABOUT
    from .datasets.catalogue import FORMATS

    return [{"name": name, **ABOUT.get(name, {"summary": "installed plug-in"})} for name in FORMATS.names()]


def print_json(value: Any) -> None:
    """JSON on standard output, for pipes; what is not a number is null."""
    click.echo(json.dumps(value, indent=2, default=str, allow_nan=False))


class FolderPath(click.Path):
    """A path that can be looked at, whether anything is there or not."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value)
        try:
            path.exists()
        except OSError as error:
            self.fail(f"{str(path)!r}: {error.strerror}", param, ctx)
        return path


_SET = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Set a top-level key of GRID, as precision=fast or folding=false; may be given several times.",
)


@click.command()
@click.argument("grid")
@click.option("--out", type=FolderPath(), help="Run directory. [default: runs/NAME]")
@_SET
@click.option(
    "--again",
    type=click.Choice(["never", "failed", "always"]),
    default="never",
    show_default=True,
    help="Which cells that stand are run once more.",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option(
    "--batch-size",
    type=click.IntRange(1),
    help="Images a forward; halved where memory ends. [default: 32 on a CPU, on a GPU what fits]",
)
@click.option(
    "--fast-with",
    type=click.Choice(["auto", "bf16", "tf32", "float32"]),
    default="auto",
    show_default=True,
    help="What gradients are computed in where the grid says `precision: fast`.",
)
@click.option("--compile", is_flag=True, help="Compile what `precision: fast` follows: a minute a model, then faster.")
@click.option("--workers", type=click.IntRange(1), help="Threads that decode images. [default: one a core, at most 8]")
@click.option("-k", "select", metavar="EXPR", help="Only cells whose label matches, as 'ama-ifgsm and not query'.")
@click.option("--limit", type=click.IntRange(0), metavar="N", help="At most N cells.")
@click.option(
    "--keep-images",
    type=click.IntRange(0),
    default=0,
    metavar="N",
    help="Keep, of each cell, the first N attacked images as PNG and the ranking lists of N people, before and after.",
)
@click.option("--keep-images-of", metavar="EXPR", help="Keep images only of cells whose label matches, as with -k.")
@click.option("--trust-code", is_flag=True, help="Run plug-in code named in the grid, with your rights.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as a JSON array.")
def run(grid: str, out: Path | None, changes: tuple[str, ...], as_json: bool, **settings: Any) -> int:
    """Run every cell of GRID that does not stand yet.

    GRID is a YAML file (docs/grid.md) or the name of a shipped one. Rows go to the run directory one by one, so an
    interrupted run goes on where it was: issue the same command. A cell that fails leaves a row with its reason.

    \b
    Examples:
      robustreid run grid.yml
      robustreid run grid.yml --device cuda --batch-size 512
      robustreid run grid.yml -k "ama-ifgsm and gallery" --limit 3
      robustreid run grid.yml --set precision=fast --out runs/fast
      robustreid run grid.yml --keep-images 4 --keep-images-of "ama-ifgsm and 4/255"

    Exit codes: 0 done, 2 the request is wrong, 3 some cells failed, 4 a data set or weights file is invalid,
    74 the file system failed, 130 interrupted.
    """  # noqa: D301 (in a raw one click does not find its \b, which leaves the lines after it as they are)
    from .config.grid import load_grid
    from .progress import reporting
    from .runner.run import run_grid
    from .store.directory import RunDirectory

    loaded = load_grid(grid, changes)
    path = out or Path("runs") / loaded.name
    with reporting() as reporter:
        summary = run_grid(loaded, path, Settings(**settings), reporter)
    frame = RunDirectory(path).load()
    if as_json:
        print_json(json.loads(frame.to_json(orient="records")))
    else:
        from .tables import results_table

        click.echo(results_table(frame))
    click.echo(
        f"{path}: {summary.n_done} done, {summary.n_failed} failed, {summary.n_skipped} skipped now; "
        f"{len(frame)} of {summary.n_cells} cells stand.",
        err=True,
    )
    return FAILED_CELLS if (frame["status"] == "failed").any() else 0


@click.command()
@click.argument("grid")
@click.option("--out", type=FolderPath(), help="Run directory to compare with. [default: runs/NAME]")
@_SET
@click.option("-k", "select", metavar="EXPR", help="Only cells whose label matches, as 'ama-ifgsm and not query'.")
@click.option("--json", "as_json", is_flag=True, help="Print the cells as a JSON array.")
def plan(grid: str, out: Path | None, changes: tuple[str, ...], select: str | None, as_json: bool) -> None:
    """Show what GRID would run: its cells, what stands already, and image passes with and without sharing.

    Runs nothing, imports no plug-in, and needs no data: a data set that is not there is listed as such.
    A gradient is a forward and a backward of one image; forwards are those without a gradient.
    """
    from .config.grid import load_grid
    from .datasets.opening import open_sets
    from .planner import make_plan
    from .progress import reporting
    from .selection import select_cells
    from .store.directory import RunDirectory

    loaded = load_grid(grid, changes)
    with reporting() as reporter:
        sets, absent = open_sets(loaded.datasets, workers=None, reporter=reporter, allow_absent=True)
    made = make_plan(loaded, sets, absent)
    path = out or Path("runs") / loaded.name
    stands = RunDirectory(path).stands()
    chosen = {cell.cell_id for cell in select_cells(made.cells, select)}
    if as_json:
        print_json(_plan_records(made, stands, chosen))
        return
    from .tables import plan_table

    click.echo(plan_table(made, stands, chosen))


def _plan_records(made: Plan, stands: dict[str, str], chosen: set[str]) -> list[dict[str, Any]]:
    missing = {request.label for request in made.absent}
    return [
        {
            "name": cell.label,
            "cell_id": None if cell.dataset.label in missing else cell.cell_id,
            "status": stands.get(cell.cell_id, "to run"),
            "model": cell.model.label,
            "dataset": cell.dataset.label,
            "attack": cell.attack.name,
            "epsilon": cell.threat.label,
            "norm": cell.threat.norm,
            "side": cell.side,
            "goal": cell.goal,
            "seed": cell.seed,
            "perturb_at": cell.perturb_at,
        }
        for cell in made.cells
        if cell.cell_id in chosen
    ]


@click.command()
@click.argument("directory", type=FolderPath())
@click.option("--json", "as_json", is_flag=True, help="Print the cells as a JSON array.")
def status(directory: Path, as_json: bool) -> None:
    """Show how far the run in DIRECTORY is: cells by status, what failed and why, what is still to run."""
    from .store.directory import RunDirectory
    from .tables import status_text

    run_directory = RunDirectory(directory)
    planned = run_directory.planned()
    frame = run_directory.load()
    found = {row.cell_id: (str(row.status), str(row.reason)) for row in frame.itertuples()}
    records = []
    for cell in planned:
        state, reason = found.get(cell["cell_id"], ("to run", ""))
        records.append({"name": cell["label"], "cell_id": cell["cell_id"], "status": state, "reason": reason})
    if as_json:
        print_json(records)
    else:
        click.echo(status_text(records, is_running=run_directory.is_being_written))


@click.command()
@click.argument("kind", type=click.Choice(list(LISTS)), metavar="KIND")
@click.option("--json", "as_json", is_flag=True, help="Print one array of objects, each with `name`.")
def ls(kind: str, as_json: bool) -> None:
    """List what can stand in a grid (models: architectures and zoo, attacks, data set formats, defences), or tracks."""
    from .tables import listing

    records = load_reference(LISTS[kind])()
    if as_json:
        print_json(records)
    else:
        click.echo(listing(records))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def version(as_json: bool) -> None:
    """Show the versions that decide numbers: of the tool, its engine, its metric, and what it runs on."""
    import platform
    from importlib.metadata import version as installed

    from .. import __version__
    from .evaluation import METRIC_VERSION
    from .store.reading import SCHEMA_VERSION
    from .versions import ENGINE_VERSION

    facts = {
        "robustreid": __version__,
        "engine": ENGINE_VERSION,
        "metric": METRIC_VERSION,
        "schema": SCHEMA_VERSION,
        "python": platform.python_version(),
        "torch": installed("torch"),
        "torchattacks": installed("torchattacks"),
    }
    if as_json:
        print_json(facts)
    else:
        click.echo("\n".join(f"{name} {value}" for name, value in facts.items()))
