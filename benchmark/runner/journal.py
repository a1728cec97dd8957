"""What a group has found so far, batch by batch, so that a killed run loses one batch at most."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...attacks.loss import Passes
from ..store.directory import RunDirectory


@dataclass(frozen=True, kw_only=True)
class BatchResult:
    """What one cell came to on one batch of n attacked images."""

    #: (n, D) features of the 8-bit attacked images.
    features: NDArray[np.float32]
    #: (n, D) features of the unrounded ones; None where they are the same images.
    unrounded: NDArray[np.float32] | None
    #: (n, D) features of further images, by name.
    also: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    #: (n,) largest change and Euclidean length of the change, in [0, 1] pixel units.
    linf: NDArray[np.float64]
    l2: NDArray[np.float64]
    passes: Passes
    seconds: float
    flags: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True, kw_only=True)
class Journal:
    """The finished batches of one group under `work/<group_id>/`, a file a batch."""

    run: RunDirectory
    group_id: str

    @property
    def folder(self) -> Path:
        """Where the files lie."""
        return self.run.work / self.group_id

    def cells(self, name: str) -> set[str]:
        """Ids of the cells whose results on the batch called `name` are kept; what does not read back is nothing."""
        return set(self._open(name)[0])

    def result(self, name: str, cell_id: str) -> BatchResult:
        """What a cell of `cells(name)` came to."""
        noted, read = self._open(name)
        values = noted[cell_id]
        return BatchResult(
            features=read(f"{cell_id}.features"),
            unrounded=read(f"{cell_id}.unrounded") if values["is_rounded"] else None,
            also={name: read(f"{cell_id}.also.{name}") for name in values.get("also", ())},
            linf=read(f"{cell_id}.linf"),
            l2=read(f"{cell_id}.l2"),
            passes=Passes(**values["passes"]),
            seconds=values["seconds"],
            flags=frozenset(values["flags"]),
        )

    def _open(self, name: str) -> tuple[dict[str, Any], Callable[[str], NDArray[Any]]]:
        from safetensors import SafetensorError, safe_open

        path = self.folder / f"{name}.safetensors"

        def read(key: str) -> NDArray[Any]:
            with safe_open(path, framework="numpy") as file:
                found: NDArray[Any] = file.get_tensor(key)
            return found

        try:
            with safe_open(path, framework="numpy") as file:
                noted: dict[str, Any] = json.loads((file.metadata() or {})["results"])
        except (OSError, SafetensorError, ValueError, KeyError):
            return {}, read
        return noted, read

    def write(self, name: str, results: Mapping[str, BatchResult]) -> None:
        """Keep the results of a batch beside those it has already, whole or not at all."""
        from safetensors.numpy import save

        results = {**{cell_id: self.result(name, cell_id) for cell_id in self.cells(name)}, **results}
        tensors: dict[str, NDArray[np.generic]] = {}
        noted = {}
        for cell_id, result in results.items():
            arrays = {"features": result.features, "linf": result.linf, "l2": result.l2, "unrounded": result.unrounded}
            arrays |= {f"also.{key}": rows for key, rows in result.also.items()}
            tensors |= {f"{cell_id}.{key}": np.ascontiguousarray(a) for key, a in arrays.items() if a is not None}
            noted[cell_id] = {
                "passes": vars(result.passes),
                "seconds": result.seconds,
                "flags": sorted(result.flags),
                "is_rounded": result.unrounded is not None,
                "also": list(result.also),
            }
        content = save(tensors, metadata={"results": json.dumps(noted)})
        self.run.write(self.folder / f"{name}.safetensors", content)

    def drop(self) -> None:
        """Remove everything: the rows stand."""
        shutil.rmtree(self.folder, ignore_errors=True)
        _remove_empty(self.run.work)


def sweep_journals(run: RunDirectory, wanted: set[str]) -> None:
    """Remove the journals of groups that the current plan does not run."""
    for folder in run.work.iterdir() if run.work.is_dir() else ():
        if folder.name not in wanted:
            shutil.rmtree(folder, ignore_errors=True)
    _remove_empty(run.work)


def _remove_empty(folder: Path) -> None:
    """Remove a folder unless something is left in it."""
    with contextlib.suppress(OSError):
        folder.rmdir()
