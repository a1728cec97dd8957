"""Running the tracks of a submission, all of their cells or a few, through the harness."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import UserError
from ...models.registry import unknown
from ..track import Track, load_track
from ..track_grid import DATA_VARIABLE, Pair, grid_values, make_grid
from .description import Description
from .paths import CACHES, RESULTS

if TYPE_CHECKING:
    from ...benchmark.config.grid import Grid
    from ...benchmark.progress import Reporter
    from ...benchmark.runner.run import Summary
    from ...benchmark.runtime import Settings


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A submission that is on this machine as a folder, its tracks, and where their images are."""

    folder: Path
    description: Description
    tracks: tuple[Track, ...]
    #: The folder of the data set; None for drawn people.
    root: Path | None
    #: `package:callable` that whoever runs this gave: nothing that came in a bundle may name code.
    plugin: str | None = None

    @property
    def adaptive(self) -> Mapping[str, Any] | None:
        """The submission's own adaptive attack, as a grid asks for it."""
        own = self.description.adaptive_attack
        return None if own is None else plain(own)

    def grid(self, only: Collection[Pair] | None = None) -> Grid:
        """The grid of its tracks, or of some of their cells."""
        root = None if self.root is None else str(self.root.resolve())
        values = grid_values(self.tracks, self._model(""), root=root, own=self.adaptive, only=only)
        variable = None if self.root is None else f"${{{DATA_VARIABLE}}}"
        model = self._model("../")
        model.pop("plugin", None)  # what is kept may be sent, and names no code
        shown = grid_values(self.tracks, model, root=variable, own=self.adaptive, only=only)
        return make_grid(values, self.folder.resolve(), shown=shown)

    def _model(self, up: str) -> dict[str, Any]:
        """Its entry of a grid's `models`, the weights found from a folder that lies `up` from it."""
        entry = {"name": self.description.name, **plain(self.description.model_entry)}
        if entry.get("weights"):
            entry["weights"] = f"{up}{entry['weights']}"
        if self.plugin is not None:
            entry.pop("architecture", None)
            entry["plugin"] = self.plugin
        return entry


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same in lists and dicts, which is what a grid file has."""

    def of(value: Any) -> Any:
        if isinstance(value, Mapping):
            return plain(value)
        return [of(each) for each in value] if isinstance(value, list | tuple) else value

    return {key: of(value) for key, value in values.items()}


def tracks_of(description: Description, given: Sequence[str | Path] = ()) -> tuple[Track, ...]:
    """The tracks that a submission names; a file of whoever runs this stands in for the name that it has.

    Raises:
        UserError: an unknown name, or a file for a track that the submission does not name.
    """
    files = {track.name: track for track in map(load_track, given)}
    for name in files:
        if name not in description.tracks:
            raise UserError(
                f"The submission {description.name!r} is about {', '.join(description.tracks)}, not about {name!r}; "
                f"leave --track out, or write `track: {name}` in its submission.yaml."
            )
    return tuple(files.get(name) or load_track(name) for name in description.tracks)


def only_track(subject: Subject, name: str | None) -> Subject:
    """The same about one of its tracks.

    Raises:
        UserError: it has several and none was named, or none of that name.
    """
    names = [track.name for track in subject.tracks]
    if name is None and len(names) > 1:
        raise UserError(f"{subject.description.name!r} is on {', '.join(names)}; say which one: --on {names[0]}.")
    if name is not None and name not in names:
        raise unknown("track of this entry", name, names)
    return replace(subject, tracks=tuple(track for track in subject.tracks if name in {None, track.name}))


def check_root(tracks: Sequence[Track], root: Path | None) -> None:
    """UserError where the images of a track are not said to be anywhere, or drawn ones are."""
    from ...benchmark.datasets.catalogue import DRAWN

    data = tracks[0].data
    is_drawn = (data.entry.get("format") or data.name) in DRAWN
    if is_drawn and root is not None:
        raise UserError(f"The people of track {tracks[0].name!r} are drawn by this package; leave --data out.")
    if not is_drawn and root is None:
        raise UserError(f"Track {tracks[0].name!r} needs its images: give --data ROOT, the folder of {data.name}.")


def score(subject: Subject, settings: Settings, reporter: Reporter) -> Summary:
    """Run every cell of the tracks into the submission's `results`; what stands there is not run again."""
    from ...benchmark.runner.run import run_grid

    check_root(subject.tracks, subject.root)
    out = subject.folder / RESULTS
    summary = run_grid(subject.grid(), out, settings, reporter)
    for name in CACHES - {"images"}:  # no part of a submission; features of a whole set are large
        shutil.rmtree(out / name, ignore_errors=True)
    (out / ".lock").unlink(missing_ok=True)
    return summary
