"""Putting a submission on a leaderboard, and a found attack against an entry of it."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ... import UserError
from ...benchmark.store.files import file_system_errors, write_bytes
from ...models.registry import unknown
from ..entries import ACCEPTANCE, ENTRIES, FOUND, FOUND_NOTE
from .adapting import is_adaptively_evaluated
from .description import Description
from .opening import Opened
from .verifying import Verification

if TYPE_CHECKING:
    from ...benchmark.prepared import PreparedImages
    from ...benchmark.progress import Reporter
    from ...benchmark.runtime import Settings
    from .scoring import Subject


@dataclass(frozen=True, kw_only=True)
class Board:
    """A leaderboard directory; it may not be there yet."""

    path: Path

    @property
    def names(self) -> tuple[str, ...]:
        """The entries that stand on it."""
        folder = self.path / ENTRIES
        return tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir())) if folder.is_dir() else ()

    def entry(self, name: str) -> Path:
        """The folder of an entry.

        Raises:
            UserError: there is none of that name.
        """
        if name not in self.names:
            raise unknown("entry", name, self.names)
        return self.path / ENTRIES / name


def card_of(description: Description) -> dict[str, str]:
    """What pages show of a submission beside its numbers."""
    listed = {
        "title": description.title,
        "authors": ", ".join(description.authors),
        "licence": description.licence,
        "paper": description.paper or "",
        "code": description.code or "",
        "trained on": ", ".join(description.trained_on),
    }
    return {name: text for name, text in listed.items() if text}


def accept(
    board: Board,
    submission: Opened,
    description: Description,
    *,
    verification: Verification | None,
    replace: bool = False,
) -> Path:
    """Put a submission that was checked on a board, whole or not at all.

    Raises:
        UserError: the name is taken, or the verification is about another content or did not agree.
        StorageError: the file system failed.
    """
    place = board.path / ENTRIES / description.name
    if place.exists() and not replace:
        raise UserError(
            f"The board {str(board.path)!r} has an entry {description.name!r}; give another name, or --replace it."
        )
    if verification is not None and verification.content_sha256 != submission.content_sha256:
        raise UserError(
            f"The verification is about another content ({verification.content_sha256[:12]}, this submission is "
            f"{submission.content_sha256[:12]}); verify this one."
        )
    if verification is not None and not verification.agrees:
        raise UserError(f"The verification of {description.name!r} did not agree; a refused claim gets no place.")
    note = {
        "version": 1,
        "name": description.name,
        "accepted_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "content_sha256": submission.content_sha256,
        "provenance": verification.provenance if verification else "self-reported",
        "verification": None if verification is None else json.loads(verification.as_text()),
        "is_adaptively_evaluated": is_adaptively_evaluated(description, submission.folder),
        "card": card_of(description),
    }
    with file_system_errors(board.path):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=board.path, prefix=".accepting-") as temporary:
            made = Path(temporary) / description.name
            shutil.copytree(submission.folder, made)
            (made / ACCEPTANCE).write_text(json.dumps(note, indent=1))
            replaced = Path(temporary) / "replaced"
            if place.exists():
                place.rename(replaced)
            try:
                made.rename(place)
            except OSError:
                if replaced.exists():
                    replaced.rename(place)  # nothing is lost
                raise
    return place


def add_found(
    board: Board, subject: Subject, images: PreparedImages, finder: str, settings: Settings, reporter: Reporter
) -> Mapping[str, Any]:
    """Score somebody's attacked images against an entry, and keep the row on the board.

    The images themselves are not kept: they show people, and their data set's terms are not ours.

    Returns:
        The row.

    Raises:
        UserError, InvalidFileError: the images are refused; the board is as it was.
    """
    from ...benchmark.runner.preparing import score_prepared
    from ..measurements import read_measurements

    track = subject.tracks[0]
    grid = subject.grid([(track.attacks[0].name, track.threat.label)])
    place = board.path / FOUND / f"{subject.description.name}-{track.name}-{images.sha256[:16]}"
    if place.exists():
        raise UserError(f"These images stand on the board already ({place.name}); nothing was changed.")
    with file_system_errors(board.path):
        place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=board.path, prefix=".finding-") as temporary:
        run = Path(temporary) / "run"
        score_prepared(grid, images, finder, run, settings, reporter)
        (found,) = read_measurements(run)
        if found.status != "done":
            raise UserError(f"The images could not be scored: {found.reason}.")
        for name in ("features", "checks", "work", "tmp", ".lock"):
            target = run / name
            shutil.rmtree(target, ignore_errors=True) if target.is_dir() else target.unlink(missing_ok=True)
        note = {
            "version": 1,
            "entry": subject.description.name,
            "track": track.key,
            "finder": finder,
            "images_sha256": images.sha256,
            "n_images": len(images.files),
            "found_at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        }
        write_bytes(run / FOUND_NOTE, json.dumps(note, indent=1).encode(), temporary=Path(temporary))
        with file_system_errors(place):
            run.rename(place)
    return found.row
