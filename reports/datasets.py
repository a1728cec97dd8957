"""What pages say of each data set: its size, what its owners allow, whether they still give it out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from ..benchmark.datasets.about import ABOUT
from ..leaderboards.track import Track, TrackData
from .results import Result

#: What is known of a status where nobody says one.
_USUAL = "available"


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """One data set of a site."""

    #: As tables call it.
    name: str
    n_query: int | None
    n_gallery: int | None
    #: Empty where nobody here knows.
    terms: str
    status: str
    source: str


def make_data_facts(results: Sequence[Result], tracks: Sequence[Track]) -> tuple[DataFacts, ...]:
    """A line a data set: from the track that is about it, else from what is known of its format."""
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results:
        groups[result.dataset].append(result)
    return tuple(_facts(name, found, tracks) for name, found in groups.items())


def _facts(name: str, results: Sequence[Result], tracks: Sequence[Track]) -> DataFacts:
    row = next((result.row for result in results if result.status == "done"), {})
    label = str(row.get("dataset") or name)
    of_track = _track_data(str(row.get("dataset_sha256") or ""), label, tracks)
    known = ABOUT.get(label, {})
    return DataFacts(
        name=name,
        n_query=row.get("n_query"),
        n_gallery=row.get("n_gallery"),
        terms=of_track.terms if of_track else known.get("terms", ""),
        status=of_track.status if of_track else known.get("status", _USUAL if known else ""),
        source=(of_track.source if of_track else "") or known.get("source", ""),
    )


def _track_data(sha256: str, label: str, tracks: Sequence[Track]) -> TrackData | None:
    """By digest before name: whoever calls a set by a known name may mean another one."""
    by_digest = (track.data for track in tracks if sha256 and track.data.sha256 == sha256)
    by_name = (track.data for track in tracks if track.data.sha256 is None and track.data.name == label)
    return next(by_digest, None) or next(by_name, None)
