"""Baselines: the scores that later ones are held against, in one small file that can live in a repository. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ... import InvalidFileError, UserError
from ...benchmark.store.files import write_bytes
from ..measurements import Measurement, read_measurements
from .apart import decode_apart
from .joining import Pair, differences, join
from .scores import SCORES
from .stored import MAX_BYTES, encode

_NOTHING = "No cell is done, so there is nothing to hold later scores against; run the grid first."
#: How a baseline's name ends.
SUFFIX = ".parquet"


@dataclass(frozen=True, kw_only=True)
class Change:
    """What became of a baseline's cells."""

    #: Labels of cells that were not in it.
    added: tuple[str, ...]
    #: Labels of cells that have other values now, each with what changed.
    replaced: tuple[tuple[str, str], ...]
    #: How many stand as they were, asked or not.
    n_kept: int
    #: Labels of cells that have no score and so are not in it, each with the reason; what it held of them stays.
    left_out: tuple[tuple[str, str], ...]


def save_baseline(path: Path, measurements: Sequence[Measurement]) -> Change:
    """Put the cells that are done into a file, whole or not at all; a baseline that stands there is replaced.

    Raises:
        UserError: no cell is done, or the file that stands there is no baseline.
        InvalidFileError: a file behind a cell does not read back, or says what cannot be.
        StorageError: the file system failed.
    """
    if path.exists():
        try:
            read_baseline(path)
        except InvalidFileError:
            raise UserError(f"{str(path)!r} is there and is no baseline; give another name, as --out FILE.") from None
    done = [cell for cell in measurements if cell.status == "done"]
    _write(path, done)
    return Change(added=tuple(cell.label for cell in done), replaced=(), n_kept=0, left_out=_left_out(measurements))


def read_baseline(path: Path) -> tuple[Measurement, ...]:
    """The cells of a baseline, in its order.

    Raises:
        UserError: there is no such file.
        InvalidFileError: it does not read back.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(
            f"{str(path)!r} cannot be read: {error.strerror}; give a run directory or a baseline."
        ) from None
    return decode_apart(content, path)


def read_side(path: str | Path) -> tuple[Measurement, ...]:
    """The cells of a run directory's current grid, or those of a baseline.

    Raises:
        UserError: there is neither.
        InvalidFileError: a file does not read back.
    """
    place = Path(path)
    if not place.exists():
        raise UserError(f"There is no {str(path)!r}; give a run directory or a baseline (`robustreid baseline save`).")
    return read_measurements(place) if place.is_dir() else read_baseline(place)


def update_baseline(path: Path, measurements: Sequence[Measurement]) -> Change:
    """Put cells that are done in the place of their equals in a baseline, add the others, and keep the rest.

    Models are told apart by their labels. A cell without a score changes nothing: a failure lowers no bar.

    Raises:
        UserError: there is no such file, or no cell is done.
        InvalidFileError: the file, or one behind a cell, does not read back.
        StorageError: the file system failed; the baseline is as it was.
    """
    pairs = join(read_baseline(path), measurements, by_label=True)
    added, replaced, n_kept = [], [], 0
    for pair in pairs:
        if pair.new is None or pair.new.status != "done":
            n_kept += pair.base is not None
        elif pair.base is None:
            added.append(pair.new.label)
        elif what := _changes(pair):
            replaced.append((pair.new.label, what))
        else:
            n_kept += 1
    if not any(cell.status == "done" for cell in measurements):
        raise UserError(_NOTHING)
    _write(path, [cell for pair in pairs if (cell := _kept(pair)) is not None])
    return Change(added=tuple(added), replaced=tuple(replaced), n_kept=n_kept, left_out=_left_out(measurements))


def _kept(pair: Pair) -> Measurement | None:
    return pair.new if pair.new is not None and pair.new.status == "done" else pair.base


def _changes(pair: Pair) -> str:
    """What is another in NEW, in a few words; empty where nothing is."""
    if pair.base is None or pair.new is None:
        return ""
    found = list(differences(pair.base, pair.new))
    for name in SCORES:
        before, after = pair.base.score(name), pair.new.score(name)
        if (
            before is not None
            and after is not None
            and before != after
            and name.startswith(("mAP_clean", "mAP_att", "target_mAP"))
        ):
            found.append(f"{name} {100 * before:.2f} -> {100 * after:.2f}")
    if not found and pair.base.row.get("model_sha256") != pair.new.row.get("model_sha256"):
        found.append("other weights")
    return ", ".join(found)


def _write(path: Path, cells: Sequence[Measurement]) -> None:
    if not cells:
        raise UserError(_NOTHING)
    write_bytes(path, encode(cells))


def _left_out(measurements: Sequence[Measurement]) -> tuple[tuple[str, str], ...]:
    return tuple((cell.label, cell.reason or cell.status) for cell in measurements if cell.status != "done")
