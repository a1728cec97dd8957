"""What an attack costs on each camera, from the stored per-query average precision."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from ..benchmark.store.runs import read_queries

_COLUMNS = ("camera", "query_id", "ap_clean", "ap_attacked")


@dataclass(frozen=True, kw_only=True)
class CameraRow:
    """The queries of one camera."""

    camera: int
    #: Different ones: a query that stands in ten trials counts once.
    n_query: int
    #: Mean of the queries' step AP over all trials, fractions.
    clean: float
    attacked: float


def camera_rows(run: Path, cell_id: str) -> tuple[CameraRow, ...]:
    """A row a camera, ascending; empty where the run kept no queries of that cell.

    Raises:
        InvalidFileError: the queries file does not read back.
    """
    columns = read_queries(run, cell_id, _COLUMNS)
    if columns is None:
        return ()
    by_camera: dict[int, list[tuple[str, float, float]]] = defaultdict(list)
    for camera, query, clean, attacked in zip(*(columns[name] for name in _COLUMNS), strict=True):
        if None not in {camera, clean, attacked}:
            by_camera[int(camera)].append((str(query), clean, attacked))
    return tuple(
        CameraRow(
            camera=camera,
            n_query=len({query for query, _, _ in found}),
            clean=fmean(clean for _, clean, _ in found),
            attacked=fmean(attacked for _, _, attacked in found),
        )
        for camera, found in sorted(by_camera.items())
    )
