"""Rows of several runs made one: each cell once, and what only shares a label told apart."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..benchmark.store.runs import PlannedCell, RunFiles, read_run
from ..leaderboards.entries import is_board, read_entries
from ..leaderboards.flags import flags_across
from .results import Result, Results, Run, Status

#: What makes two rows of one label two models, data sets or attacks; the first is shown shortened.
_VARIANTS: Mapping[str, tuple[str, ...]] = {
    "model": ("model_sha256", "architecture", "defence", "metric", "precision"),
    "dataset": ("dataset_sha256", "protocol", "perturb_at", "metric_version", "engine_version"),
    "attack": ("attack_params", "attack_version", "references", "knowledge"),
}

_FROM = re.compile(r" from ([A-Za-z0-9._-]{1,64})\Z")
_NAME = re.compile(r"^name:[ \t]*[\"']?([^\n\"'#]+)", re.MULTILINE)


def load_results(directories: Sequence[Path]) -> Results:
    """The results of the current grids of some run directories, and of those in leaderboard directories.

    Raises:
        UserError: one is neither.
        InvalidFileError: a file in one does not read back.
    """
    sources = find_sources(directories)
    files = [_read(source) for source in sources]
    names = _Names(files)
    seen: dict[str, Result] = {}
    unplaced = []
    for index, run in enumerate(files):
        for cell in run.planned:
            row = run.rows.get(cell.cell_id)
            if row is None and not cell.place:
                unplaced.append(cell.label)
                continue
            result = _result(index, cell, row, names, sources[index].model)
            known = seen.get(cell.cell_id)
            # A cell that two runs share: the first row counts, and a row counts more than none.
            if known is None or (known.status == "missing" and row is not None):
                seen[cell.cell_id] = result
    beside = flags_across([{**result.row, "status": result.status} for result in seen.values() if result.row])
    return Results(
        runs=tuple(
            Run(
                name=source.model or _name(run),
                title=source.title or _name(run),
                path=run.path,
                grid=run.grid,
                labels=tuple(cell.label for cell in run.planned),
            )
            for source, run in zip(sources, files, strict=True)
        ),
        results=tuple(
            replace(result, beside_others=beside.get(result.cell_id, frozenset())) for result in seen.values()
        ),
        unplaced=tuple(dict.fromkeys(unplaced)),
    )


@dataclass(frozen=True, kw_only=True)
class Source:
    """A run directory that pages are made of."""

    path: Path
    #: The entry whose rows these are, and the leaderboard directory that it stands in; empty for a run of one's own.
    model: str = ""
    title: str = ""


def find_sources(directories: Sequence[Path]) -> tuple[Source, ...]:
    """The given run directories, and in place of a leaderboard directory those of its entries.

    Raises:
        InvalidFileError: a note of a leaderboard directory does not read back.
    """
    found: dict[Path, Source] = {}
    for path in directories:
        if not is_board(path):
            found.setdefault(path, Source(path=path))
            continue
        for entry in read_entries([path]):
            for place in dict.fromkeys(measurement.source for measurement in entry.measurements):
                found.setdefault(place, Source(path=place, model=entry.label, title=path.resolve().name))
    return tuple(found.values())


def _read(source: Source) -> RunFiles:
    run = read_run(source.path)
    if not source.model:
        return run
    return replace(run, planned=tuple(replace(cell, model=source.model) for cell in run.planned))


def _name(run: RunFiles) -> str:
    found = _NAME.search(run.grid)
    return found[1].strip() if found else run.path.resolve().name


def _result(index: int, cell: PlannedCell, row: Mapping[str, Any] | None, names: _Names, entry: str) -> Result:
    place = cell.place if row is None else row
    status: Status = "missing" if row is None else row["status"]
    reason = "" if row is None else str(row["reason"] or "")
    if row is not None and status == "done":
        column = "mAP_attacked" if row["goal"] == "untargeted" else "target_mAP"
        if row.get(column) is None:
            status, reason = "failed", f"its row says done and holds no {column}"
    return Result(
        cell_id=cell.cell_id,
        run=index,
        status=status,
        reason=reason,
        model=names.shown("model", index, cell, row),
        dataset=names.shown("dataset", index, cell, row),
        attack=names.shown("attack", index, cell, row),
        norm=str(place["norm"]),
        epsilon=float(place["epsilon"]),
        epsilon_label=str(place["epsilon_label"]),
        side=str(place["side"]),
        goal=str(place["goal"]),
        seed=int(place["seed"] or 0),
        preset=_label("attack", cell, row),
        surrogate=_surrogate(cell, row),
        entry=entry,
        label=cell.label,
        data=cell.dataset,
        row=row or {},
    )


def _surrogate(cell: PlannedCell, row: Mapping[str, Any] | None) -> str:
    """The model whose gradients were followed; of a missing cell the end of its label says it."""
    if row is not None:
        return str(row.get("surrogate") or "")
    found = _FROM.search(cell.label)
    return found[1] if found else ""


class _Names:
    """Labels with what tells their variants apart: `r50 (1f2e3d4c)` and `r50 (99aabbcc)`."""

    def __init__(self, files: Sequence[RunFiles]) -> None:
        #: kind -> label -> (run, label) -> variants; a missing cell is what its label means elsewhere in its run.
        self._variants: dict[tuple[str, str], dict[int, set[tuple[str, ...]]]] = defaultdict(lambda: defaultdict(set))
        for index, run in enumerate(files):
            for cell in run.planned:
                row = run.rows.get(cell.cell_id)
                for kind in _VARIANTS:
                    found = self._variants[kind, _label(kind, cell, row)][index]
                    if row is not None:
                        found.add(_variant(kind, row))

    def shown(self, kind: str, index: int, cell: PlannedCell, row: Mapping[str, Any] | None) -> str:
        """How pages call what a cell has of this kind."""
        label = _label(kind, cell, row)
        runs = self._variants[kind, label]
        known = sorted(set().union(*runs.values()))
        own = runs[index]
        if len(known) < 2:
            unknown_elsewhere = row is None and not own and bool(known)
            return f"{label} (no row yet)" if unknown_elsewhere and kind != "attack" else label
        variant = _variant(kind, row) if row is not None else (min(own) if len(own) == 1 else None)
        if variant is None:
            return f"{label} (no row yet)"
        varying = [place for place in range(len(variant)) if len({other[place] for other in known}) > 1]
        return f"{label} ({', '.join(variant[place][:60] or 'none' for place in varying)})"


def _label(kind: str, cell: PlannedCell, row: Mapping[str, Any] | None) -> str:
    if kind == "attack":
        return str(cell.place.get("attack") or (row or {}).get("attack") or "")
    return cell.model if kind == "model" else cell.dataset


def _variant(kind: str, row: Mapping[str, Any]) -> tuple[str, ...]:
    texts = [str(row.get(column) if row.get(column) is not None else "") for column in _VARIANTS[kind]]
    if kind != "attack":
        texts[0] = texts[0][:8]
    elif row.get("surrogate"):
        texts[-1] = f"from {row['surrogate']}"
    return tuple(texts)
