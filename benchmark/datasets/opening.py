"""From what a grid names to data sets that are open, and a list of those that are not there."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ..progress import Reporter, staged
from ..records import DatasetRef
from .catalogue import open_dataset
from .manifest import Manifest, read_manifest
from .retrieval import RetrievalSet


@dataclass(frozen=True, kw_only=True)
class DatasetRequest:
    """A retrieval set that a grid names; whether it is there is another question."""

    label: str
    format: str | None
    root: Path | None


@dataclass(frozen=True, kw_only=True)
class OpenSet:
    """A data set of the grid that is there."""

    data: RetrievalSet
    manifest: Manifest

    @cached_property
    def ref(self) -> DatasetRef:
        """How cells know it."""
        return DatasetRef(label=self.data.label, sha256=self.manifest.sha256, protocol=self.data.protocol)


def open_sets(
    requests: Collection[DatasetRequest], *, workers: int, reporter: Reporter, allow_absent: bool = False
) -> tuple[dict[str, OpenSet], list[DatasetRequest]]:
    """The data sets of a grid, and those that are not there.

    Raises:
        UserError: a set that is not there, unless `allow_absent`.
        InvalidFileError: a set that is not what it should be.
    """
    sets, absent = {}, []
    for request in requests:
        if allow_absent and (request.root is None or not request.root.is_dir()):
            absent.append(request)
            continue
        data = open_dataset(request.label, request.format, request.root)
        with staged(reporter, f"reading {request.label}", len(data.paths)) as stage:
            sets[request.label] = OpenSet(
                data=data, manifest=read_manifest(data, workers=workers, advance=stage.advance)
            )
    return sets, absent
