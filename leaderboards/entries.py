"""Who stands for a place: the models of run directories and of leaderboard directories. No torch.

A leaderboard directory:
    entries/<name>/          a submission as it came, and `acceptance.json` beside it
    found/<digest>/          an attack that somebody found against an entry: a run directory and `found.json`
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .. import InvalidFileError
from .measurements import Measurement, read_measurements

#: Who computed the rows: whoever runs this command; a submitter alone; a submitter, and a sample or all of it again by
#: whoever accepted it.
Provenance = Literal["own run", "self-reported", "sampled and verified", "reproduced"]
PROVENANCES: tuple[Provenance, ...] = ("own run", "self-reported", "sampled and verified", "reproduced")

ENTRIES, FOUND, RESULTS = "entries", "found", "results"
ACCEPTANCE, FOUND_NOTE = "acceptance.json", "found.json"

#: What makes two rows of one label two models.
_IDENTITY = ("model_sha256", "architecture", "defence", "metric")


@dataclass(frozen=True, kw_only=True, eq=False)
class Entry:
    """One model and every cell that is known of it."""

    #: As boards call it; unique among the entries that are read together.
    label: str
    provenance: Provenance
    #: None where nobody was asked: the rows are one's own.
    is_adaptively_evaluated: bool | None
    measurements: tuple[Measurement, ...] = field(repr=False)
    #: By cell id: who found the attack, where that is not the submitter.
    finders: Mapping[str, str] = field(default_factory=dict)
    #: What its card says, for pages: title, licence, paper, code, authors.
    card: Mapping[str, str] = field(default_factory=dict)


def is_board(path: Path) -> bool:
    """Whether a folder is a leaderboard directory."""
    return (path / ENTRIES).is_dir()


def read_entries(paths: Sequence[Path]) -> tuple[Entry, ...]:
    """The entries of some run and leaderboard directories, in the order in which they come up.

    One model in two run directories is one entry; two models of one label are told apart by their digests.

    Raises:
        UserError: a path is neither a run nor a leaderboard directory.
        InvalidFileError: a file in one does not read back.
    """
    found: list[Entry] = []
    for path in dict.fromkeys(paths):
        found += _board_entries(path) if is_board(path) else _run_entries(path)
    merged: dict[tuple[str, ...], Entry] = {}
    for entry in found:
        key = (entry.label, *identity_of(entry.measurements))
        known = merged.get(key)
        merged[key] = entry if known is None else _joined(known, entry)
    return _told_apart(tuple(merged.values()))


def identity_of(measurements: Sequence[Measurement]) -> tuple[str, ...]:
    """What tells models of one label apart; texts without content where no row says."""
    row = next((m.row for m in measurements if m.status != "missing"), {})
    return tuple(str(row.get(column) or "") for column in _IDENTITY)


def _run_entries(path: Path) -> list[Entry]:
    by_model: dict[tuple[str, ...], list[Measurement]] = {}
    for found in read_measurements(path):
        by_model.setdefault((found.model,), []).append(found)
    return [
        Entry(label=key[0], provenance="own run", is_adaptively_evaluated=None, measurements=tuple(measurements))
        for key, measurements in by_model.items()
    ]


def _board_entries(path: Path) -> list[Entry]:
    notes = [(folder, _note(folder / FOUND_NOTE)) for folder in _folders(path / FOUND)]
    entries = []
    for folder in _folders(path / ENTRIES):
        note = _note(folder / ACCEPTANCE)
        name = folder.name
        measurements = [*read_measurements(folder / RESULTS)]
        finders: dict[str, str] = {}
        for place, found in notes:
            if found.get("entry") == name:
                added = read_measurements(place)
                finders |= {each.cell_id: str(found.get("finder", "unknown")) for each in added}
                measurements += added
        provenance = note.get("provenance")
        if provenance not in PROVENANCES:
            raise InvalidFileError(
                f"{str(folder / ACCEPTANCE)!r} names the provenance {provenance!r}; expected one of "
                f"{', '.join(PROVENANCES)}: accept the submission again."
            )
        card = note.get("card", {})
        entries.append(
            Entry(
                label=name,
                provenance=provenance,
                is_adaptively_evaluated=bool(note.get("is_adaptively_evaluated")),
                measurements=tuple(measurements),
                finders=finders,
                card={str(k): str(v) for k, v in card.items()} if isinstance(card, dict) else {},
            )
        )
    return entries


def _folders(path: Path) -> list[Path]:
    return sorted(entry for entry in path.iterdir() if entry.is_dir()) if path.is_dir() else []


def _note(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidFileError(f"{str(file)!r} does not read back ({error}); accept the submission again.") from error
    if not isinstance(found, dict):
        raise InvalidFileError(f"{str(file)!r} holds no object; accept the submission again.")
    return found


def _joined(one: Entry, other: Entry) -> Entry:
    """Both, a cell once: a row counts more than none, and the first row counts."""
    cells = {m.cell_id: m for m in one.measurements}
    for each in other.measurements:
        known = cells.get(each.cell_id)
        if known is None or (known.status == "missing" and each.status != "missing"):
            cells[each.cell_id] = each
    stronger = max(one, other, key=lambda entry: PROVENANCES.index(entry.provenance))
    return Entry(
        label=one.label,
        provenance=stronger.provenance,
        is_adaptively_evaluated=stronger.is_adaptively_evaluated,
        measurements=tuple(cells.values()),
        finders={**one.finders, **other.finders},
        card={**one.card, **other.card},
    )


def _told_apart(entries: tuple[Entry, ...]) -> tuple[Entry, ...]:
    labels = [entry.label for entry in entries]
    return tuple(
        entry
        if labels.count(entry.label) == 1
        else Entry(**{**vars(entry), "label": f"{entry.label} ({identity_of(entry.measurements)[0][:8] or 'no row'})"})
        for entry in entries
    )
