"""From what a grid names to data sets that are open, and a list of those that are not there."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from ..progress import Reporter, staged
from ..records import DatasetRef, digest
from .about import notice
from .catalogue import DRAWN, open_dataset
from .manifest import Manifest, read_manifest
from .retrieval import RetrievalSet, with_queries


@dataclass(frozen=True, kw_only=True)
class DatasetRequest:
    """A retrieval set that a grid names; whether it is there is another question."""

    label: str
    format: str | None
    #: None for a set that the package draws itself.
    root: Path | None
    #: Who is in it, for a format that has options.
    options: Mapping[str, int | str | bool] = field(default_factory=dict)
    #: How many of its queries are used; None is all.
    queries: int | None = None

    @property
    def is_there(self) -> bool:
        """Whether opening it can succeed."""
        return self.root.exists() if self.root is not None else (self.format or self.label) in DRAWN


@dataclass(frozen=True, kw_only=True)
class OpenSet:
    """A data set of the grid that is there."""

    data: RetrievalSet
    manifest: Manifest

    @cached_property
    def ref(self) -> DatasetRef:
        """How cells know it: by its images, and by their labels and splits where paths do not decide those."""
        sha256 = self.manifest.sha256
        if self.data.format == "table" or self.data.protocol.has_splits:
            sha256 = digest([sha256, self.data.label_digest])
        return DatasetRef(label=self.data.label, sha256=sha256, protocol=self.data.protocol)


def open_sets(
    requests: Collection[DatasetRequest], *, workers: int | None, reporter: Reporter, allow_absent: bool = False
) -> tuple[dict[str, OpenSet], list[DatasetRequest]]:
    """The data sets of a grid, and those that are not there.

    Raises:
        UserError: a set that is not there, unless `allow_absent`.
        InvalidFileError: a set that is not what it should be, or has fewer queries than were asked for.
    """
    sets, absent = {}, []
    for request in requests:
        if allow_absent and not request.is_there:
            absent.append(request)
            continue
        data = open_dataset(request.label, request.format, request.root, request.options, reporter)
        if text := notice(data.format):
            reporter.note(text)
        if request.queries is not None:
            data = with_queries(data, request.queries)
        with staged(reporter, f"reading {request.label}", len(data.paths)) as stage:
            sets[request.label] = OpenSet(
                data=data, manifest=read_manifest(data, workers=workers, advance=stage.advance)
            )
    return sets, absent
