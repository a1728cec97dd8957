"""Boards of tracks for a site: which tracks some rows belong to, who stands where, their curves with intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from .. import UserError
from ..leaderboards.belonging import differences
from ..leaderboards.entries import Entry
from ..leaderboards.ranking import make_standings
from ..leaderboards.standing import CurvePoint, Standing, Standings
from ..leaderboards.track import Track, load_track, track_names
from .curves import Chart, Line, Panel, Point
from .leaderboard import why_empty
from .results import Results
from .standings import of_track

#: How many lines of a chart with bands stand out: more bands than that hide each other.
N_BANDS = 8


@dataclass(frozen=True, kw_only=True)
class TrackFile:
    """A track, and the file that says it."""

    track: Track
    text: str
    #: Whether the user asked for it by `--track`: its page stands even where no row belongs.
    is_asked: bool
    #: Whether it is a file of the user's: a command needs that file then.
    is_own: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class TrackBoard:
    """A track's page."""

    standings: Standings
    #: Of its page, without the ending: its name, and its version where two share that.
    stem: str
    text: str
    #: Whether the track is the user's own: a command needs its file then.
    is_own: bool
    #: Why nobody stands on it; empty where somebody does.
    empty: str
    #: By label of an entry: the model's name on other pages; a model without a page is left out.
    models: Mapping[str, str]

    @property
    def track(self) -> Track:
        """What it is about."""
        return self.standings.track

    @property
    def address(self) -> str:
        """Where its page lies in the site."""
        return f"tracks/{self.stem}.html"

    @property
    def n_first(self) -> int:
        """How many models may have the first place."""
        return sum(row.places is not None and row.places[0] == 1 for row in self.standings.rows)

    @property
    def n_complete(self) -> int:
        """How many models have a place."""
        return sum(row.is_complete for row in self.standings.rows)

    def standing_of(self, model: str) -> Standing | None:
        """Where a model stands, by its name on other pages."""
        return next((row for row in self.standings.rows if self.models.get(row.label) == model), None)


def leading(boards: Sequence[TrackBoard], count: int) -> tuple[TrackBoard, ...]:
    """Those that a front page speaks of first: with the most models, then the nearest to 4/255."""
    usual = sorted(boards, key=lambda b: (-b.n_complete, abs(float(b.track.threat.epsilon) - 4 / 255), b.stem))
    return tuple(board for board in usual if board.n_complete)[:count]


def find_tracks(asked: Sequence[Path | str]) -> tuple[TrackFile, ...]:
    """The tracks that were asked for by file or name, and all that ship; what was asked for goes before its namesake.

    Raises:
        UserError: a file is no track, a name is none, or two have one name and version.
    """
    given = [_track_file(name, is_asked=True) for name in dict.fromkeys(map(str, asked))]
    twice = [key for key, count in Counter(_folded(found.track) for found in given).items() if count > 1]
    if twice:
        raise UserError(f"Two of --track are {twice[0]!r}; give each once, or another name or version.")
    known = {_folded(found.track) for found in given}
    shipped = [_track_file(name, is_asked=False) for name in track_names()]
    return (*given, *(found for found in shipped if _folded(found.track) not in known))


def _track_file(name: str, *, is_asked: bool) -> TrackFile:
    track, path = load_track(name), Path(name)
    is_own = path.suffix in {".yml", ".yaml"}
    text = path if is_own else resources.files("robustreid.leaderboards.tracks") / f"{name}.yml"
    return TrackFile(track=track, text=text.read_text(encoding="utf-8"), is_asked=is_asked, is_own=is_own)


def _folded(track: Track) -> str:
    """Its key as file systems that ignore case see it."""
    return track.key.casefold()


def wanted_tracks(results: Results, tracks: Sequence[TrackFile]) -> tuple[TrackFile, ...]:
    """The tracks to which some row may belong, and those that were asked for."""
    rows = _kinds(results)
    return tuple(t for t in tracks if t.is_asked or any(not differences(row, t.track) for row in rows))


def entry_models(results: Results, entries: Sequence[Entry]) -> dict[str, str]:
    """By label of an entry: the name under which other pages have its rows; one without rows is left out."""
    by_cell = {result.cell_id: result.model for result in results.results}
    found = {e.label: next((by_cell[m.cell_id] for m in e.measurements if m.cell_id in by_cell), "") for e in entries}
    return {label: model for label, model in found.items() if model}


def make_track_boards(
    tracks: Sequence[TrackFile], entries: Sequence[Entry], models: Mapping[str, str]
) -> tuple[TrackBoard, ...]:
    """The boards of tracks whose attacks were all planned for somebody, and of those that were asked for.

    Args:
        tracks: from `wanted_tracks`.
        entries: who may stand on them.
        models: from `entry_models`.

    Raises:
        InvalidFileError: the queries of a cell do not read back.
    """
    names = Counter(found.track.name.casefold() for found in tracks)
    boards = []
    for found in tracks:
        standings = make_standings(found.track, entries)
        if not found.is_asked and not any(map(_is_planned, standings.rows)):
            continue
        is_alone = names[found.track.name.casefold()] == 1
        boards.append(
            TrackBoard(
                standings=standings,
                stem=found.track.name if is_alone else found.track.key,
                text=found.text,
                is_own=found.is_own,
                empty="" if standings.rows else why_empty(standings, entries),
                models=models,
            )
        )
    return tuple(boards)


def _is_planned(row: Standing) -> bool:
    """Whether somebody meant to run the whole track for a model: the curve of another radius is no grid of this one."""
    return all(score.status != "absent" for score in of_track(row))


def _kinds(results: Results) -> list[Mapping[str, object]]:
    """One row of each kind that a track can tell apart: ten thousand rows are a few kinds."""
    columns = (
        *("dataset_sha256", "n_query", "n_gallery", "n_identity", "protocol", "side", "goal", "norm"),
        *("perturb_at", "precision", "metric_version", "engine_version", "seed", "status"),
    )
    kinds: dict[tuple[object, ...], Mapping[str, object]] = {}
    for result in results.results:
        if result.row:
            kinds.setdefault(tuple(result.row.get(column) for column in columns), result.row)
    return list(kinds.values())


def track_chart(standings: Standings) -> Chart | None:
    """What is left against the radius, a line a model with its 95% band; None where no radius has a score."""
    track = standings.track
    drawn = [row for row in standings.rows if any(point.mAP is not None for point in row.curve[1:])]
    if not drawn:
        return None
    scale = 255.0 if track.threat.norm == "linf" else 1.0
    lines = tuple(
        Line(
            name=row.label,
            points=tuple(_point(point, scale) for point in row.curve),
            style=place if place < N_BANDS else None,
        )
        for place, row in enumerate(drawn)
    )
    panel = Panel(title=f"under {track.curve_attack.name}", metric="mAP", lines=lines, chance=standings.chance)
    return Chart(
        panels=(panel,),
        x_title="epsilon (1/255)" if track.threat.norm == "linf" else "epsilon (L2)",
        summary=f"mAP against epsilon under {track.curve_attack.name}: a line a model, with a 95% band.",
    )


def _point(point: CurvePoint, scale: float) -> Point:
    found = point.mAP
    return Point(
        radius=round(scale * point.epsilon, 6),
        epsilon_label=point.epsilon_label,
        status=point.status,
        mAP=None if found is None else found.value,
        rank1=None,
        ends=None if found is None else (found.low, found.high),
    )
