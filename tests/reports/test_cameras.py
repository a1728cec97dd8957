"""What an attack costs on each camera."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from robustreid.reports.cameras import CameraRow, camera_rows


def test_means_of_each_cameras_queries(make_run: Callable[..., Path], tmp_path: Path) -> None:
    """Cameras ascending, with their count and the means of their queries; no file, no rows."""
    given = [(2, 0.5, 0.25), (1, 1.0, 0.0), (2, 1.0, 0.75)]
    queries = [
        {"query_id": f"{place}.png", "identity": 1, "camera": c, "ap_clean": a, "ap_attacked": b}
        for place, (c, a, b) in enumerate(given)
    ]
    run = make_run(tmp_path / "run", [{"queries": queries}])
    cell_id = next((run / "queries").iterdir()).stem
    assert camera_rows(run, cell_id) == (
        CameraRow(camera=1, n_query=1, clean=1.0, attacked=0.0),
        CameraRow(camera=2, n_query=2, clean=0.75, attacked=0.5),
    )
    assert camera_rows(run, "other") == ()
