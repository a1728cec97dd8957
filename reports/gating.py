"""The commands of the gate: compare, baseline. They load what they need when they run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..benchmark.commands import FolderPath

if TYPE_CHECKING:
    from ..leaderboards.gate.baseline import Change
    from ..leaderboards.gate.policy import Policy
    from ..leaderboards.gate.verdicts import Comparison

#: Where a baseline goes if nobody says otherwise.
_BASELINE = Path("robustreid-baseline.parquet")


@click.command()
@click.argument("base", type=FolderPath())
@click.argument("new", type=FolderPath())
@click.option(
    "--metric", "metrics", metavar="A,B", help="Scores to compare. [default: mAP_attacked,mAP_clean,target_mAP]"
)
@click.option("--max-drop", type=float, metavar="POINTS", help="The largest drop that is allowed. [default: 1.0]")
@click.option(
    "--policy", type=click.Path(path_type=Path), metavar="FILE", help="YAML with metrics, max_drop, strict and rules."
)
@click.option("--strict", is_flag=True, help="Fail where a drop is too small to tell, with exit code 6.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "md", "json", "junit"]),
    default="table",
    show_default=True,
    help="What is printed.",
)
@click.option("--explain", is_flag=True, help="Name the identities, cameras and attacks behind each drop.")
def compare(
    base: Path,
    new: Path,
    metrics: str | None,
    max_drop: float | None,
    policy: Path | None,
    strict: bool,
    form: str,
    explain: bool,
) -> int:
    """Say whether NEW is less robust than BASE: each is a run directory or a baseline.

    Cells are joined on what they mean (data, protocol, attack, epsilon, side, seed ...), queries one by one. A score
    is worse where it fell by more than --max-drop and by more than chance: p < 0.05, paired over identities and
    adjusted over all comparisons. Where nobody can tell, the smallest detectable drop is printed. Where BASE is the
    name of a .parquet file that is not there, NEW becomes the baseline.

    \b
    Examples:
      robustreid compare robustreid-baseline.parquet runs/smoke
      robustreid compare runs/before runs/after --max-drop 2 --explain
      robustreid compare base.parquet runs/smoke --metric rank1_attacked,mAP_clean --strict
      robustreid compare base.parquet runs/smoke --policy gate.yml --format junit > gate.xml

    Exit codes: 0 no regression, 1 a regression was found, 2 the request is wrong, 4 a file does not read back,
    6 not comparable: cells are missing or failed, or were measured otherwise. Of several, 4 wins over 6, 6 over 1.
    """  # noqa: D301 (as for `run`)
    from .comparing import metric_names
    from .verdicts import FORMATS

    asked = _policy(policy, metric_names(metrics), max_drop, strict)
    found = _compared(base, new, asked)
    click.echo(FORMATS[form](found, with_explanation=explain).rstrip("\n"))
    return found.exit_code()


def _policy(path: Path | None, metrics: list[str] | None, max_drop: float | None, strict: bool) -> Policy:
    from ..leaderboards.gate.policy import Policy, overridden, read_policy

    read = Policy() if path is None else read_policy(path)
    return overridden(read, metrics=metrics, max_drop=max_drop, strict=strict or None)


def _compared(base: Path, new: Path, policy: Policy) -> Comparison:
    from ..leaderboards.gate.baseline import SUFFIX, read_side, save_baseline
    from ..leaderboards.gate.comparing import compare as compare_cells
    from ..leaderboards.gate.verdicts import Comparison

    if base.suffix == SUFFIX and not base.exists():
        saved = save_baseline(base, read_side(new))
        notes = tuple(f"{label} has no score and is not in it: {why}." for label, why in saved.left_out)
        return Comparison(verdicts=(), policy=policy, added=saved.added, notes=notes, wrote=base)
    return compare_cells(read_side(base), read_side(new), policy)


@click.group()
def baseline() -> None:
    """Keep the scores that later ones are held against, in one small parquet file that can live in a repository."""


@baseline.command()
@click.argument("run", type=FolderPath())
@click.option(
    "--out", type=click.Path(path_type=Path), default=_BASELINE, show_default=True, help="The file; one is replaced."
)
def save(run: Path, out: Path) -> None:
    """Write the cells of RUN that are done, with the scores of every query.

    \b
    Examples:
      robustreid baseline save runs/smoke
      robustreid baseline save runs/smoke --out gate/base.parquet

    Exit codes: 0 done, 2 the request is wrong, 4 a file of the run does not read back, 74 the file system failed.
    """  # noqa: D301 (as for `run`)
    from ..leaderboards.gate.baseline import read_side, save_baseline

    _report(out, save_baseline(out, read_side(run)))


@baseline.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one array of objects, each with `name` and its row.")
def show(file: Path, as_json: bool) -> None:
    """Show what the baseline in FILE holds: its cells, their scores, and what they were made with.

    \b
    Examples:
      robustreid baseline show robustreid-baseline.parquet
      robustreid baseline show robustreid-baseline.parquet --json

    Exit codes: 0 done, 2 there is no such file, 4 it does not read back.
    """  # noqa: D301 (as for `run`)
    from ..benchmark.commands import print_json
    from ..leaderboards.gate.baseline import read_baseline
    from .verdicts import baseline_table

    cells = read_baseline(file)
    if as_json:
        print_json([{"name": cell.label, **cell.row} for cell in cells])
    else:
        click.echo(baseline_table(cells))


@baseline.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("run", type=FolderPath())
def update(file: Path, run: Path) -> None:
    """Put the cells of RUN in the place of their equals in FILE, add the others, keep the rest; say what changed.

    Models are told apart by label. A cell of RUN that failed or is missing changes nothing.

    \b
    Examples:
      robustreid baseline update robustreid-baseline.parquet runs/smoke

    Exit codes: 0 done, 2 the request is wrong, 4 a file does not read back, 74 the file system failed; then the file
    is as it was.
    """  # noqa: D301 (as for `run`)
    from ..leaderboards.gate.baseline import read_side, update_baseline

    _report(file, update_baseline(file, read_side(run)))


def _report(file: Path, change: Change) -> None:
    """Print what became of a baseline, a line a cell that is another now."""
    from .verdicts import change_text

    click.echo(change_text(file, change))
