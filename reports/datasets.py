"""What pages say of each data set: its size, what its owners allow, whether they still give it out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..benchmark.datasets.about import ABOUT, page_notice
from ..benchmark.datasets.about import status as status_of
from ..leaderboards.track import Track, TrackData
from .grids import AskedData, asked_data
from .results import Result, Results

_WITHDRAWN = "withdrawn"
#: The format of people that this package draws (`datasets.catalogue.DRAWN`, which needs torch).
_DRAWN = "synthetic"


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """One data set of a site."""

    #: As tables call it.
    name: str
    #: A key of `ABOUT`; empty where nobody here knows.
    format: str
    #: With their versions where there is a row; empty where nobody here knows.
    protocols: tuple[str, ...]
    n_query: int | None
    n_gallery: int | None
    #: Empty where nobody here knows.
    terms: str
    status: str
    source: str

    @property
    def is_drawn(self) -> bool:
        """Whether this package made its images."""
        return self.format == _DRAWN

    @property
    def is_withdrawn(self) -> bool:
        """Whether its authors took it back."""
        return self.status.startswith(_WITHDRAWN)

    @property
    def notice(self) -> str:
        """What stands above its scores, in one sentence; empty where there is nothing to say."""
        if not self.is_withdrawn:
            return ""
        return page_notice(self.format) or (
            f"{self.name} was withdrawn by its authors; nobody can get it from them to check a score, so prefer "
            f"another set."
        )


def make_data_facts(results: Results, tracks: Sequence[Track]) -> tuple[DataFacts, ...]:
    """A line a data set: from the track that is about it, else from what is known of the format in its grid.

    Any set can have any label, so a label counts for a format only where no grid says which one it is.
    """
    groups: dict[str, list[Result]] = defaultdict(list)
    for result in results.results:
        groups[result.dataset].append(result)
    asked = [asked_data(run.grid) for run in results.runs]
    return tuple(_facts(name, found, asked, tracks) for name, found in groups.items())


def _facts(
    name: str, results: Sequence[Result], asked: Sequence[Mapping[str, AskedData]], tracks: Sequence[Track]
) -> DataFacts:
    row = next((result.row for result in results if result.status == "done"), {})
    said = [asked[result.run].get(result.data) for result in results]
    layout = _format([result.data if each is None else each.format for result, each in zip(results, said, strict=True)])
    of_track = _track_data(str(row.get("dataset_sha256") or ""), results[0].data, layout, tracks)
    known = ABOUT.get(layout, {})
    status = status_of(layout)
    if of_track and not status.startswith(_WITHDRAWN):  # a track cannot give out what its authors took back
        status = of_track.status
    measured = _once(str(result.row["protocol"]) for result in results if result.row.get("protocol"))
    planned = _once((each.protocol if each else "") or known.get("protocol", "") for each in said)
    return DataFacts(
        name=name,
        format=layout,
        protocols=measured or planned,
        n_query=row.get("n_query"),
        n_gallery=row.get("n_gallery"),
        terms=of_track.terms if of_track else known.get("terms", ""),
        status=status,
        source=(of_track.source if of_track else "") or known.get("source", ""),
    )


def _once(texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for text in texts if text))


def _format(layouts: Sequence[str]) -> str:
    """The one that is known; of several a withdrawn one, which no other name for the same images hides."""
    known = _once(layout for layout in layouts if layout in ABOUT)
    return next((layout for layout in known if status_of(layout).startswith(_WITHDRAWN)), known[0] if known else "")


def _track_data(sha256: str, label: str, layout: str, tracks: Sequence[Track]) -> TrackData | None:
    """By digest before name: whoever calls a set by a known name may mean another one."""
    by_digest = (track.data for track in tracks if sha256 and track.data.sha256 == sha256)
    by_name = (
        track.data
        for track in tracks
        if track.data.sha256 is None
        and track.data.name == label
        and layout in {"", track.data.entry.get("format", track.data.name)}
    )
    return next(by_digest, None) or next(by_name, None)
