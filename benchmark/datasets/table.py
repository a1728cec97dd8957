"""A table that says of each image who is on it: `path, identity, camera, split` and, if need be, `modality`."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ... import InvalidFileError, UserError
from ...models.base import MODALITIES
from ..evaluation import PROTOCOLS
from .assembly import Row, assembled, collected, present
from .listing import Tree, is_folder
from .lists import relative
from .retrieval import Images, RetrievalSet

_SUFFIXES = (".csv", ".parquet")
_SPLITS = ("train", "query", "gallery")
#: Every column, and what else it may be called.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "path": (),
    "identity": ("person_id", "pid"),
    "camera": ("camera_id", "camid"),
    "split": (),
    "modality": (),
}
_OPTIONAL = frozenset({"modality"})
_DELIMITERS = ",;\t"
#: 64 bits hold every one.
_LARGEST = 2**63
#: What a row counts as where the table leaves `modality` out.
_DEFAULT = "visible"


def read_table(label: str, root: Path, *, protocol: str = "market") -> RetrievalSet:
    """The rows whose split is `query` or `gallery`, under any protocol that needs no splits of its own.

    Identity -1 is junk and 0 a distractor, as in Market-1501.

    Args:
        label: what the user calls it.
        root: a `.csv` or `.parquet` file, or a folder that holds exactly one; paths are relative to its folder.
        protocol: a name of `PROTOCOLS`.

    Raises:
        UserError: no such file, or no query or gallery in it.
        InvalidFileError: a column that is absent, a value that is wrong (with row and column), images that are listed
            but absent, or sides that are not of the modalities that the protocol names.
    """
    file = table_file(label, root)
    parts = _parts(file)
    wanted = PROTOCOLS[protocol].modalities
    for side, modality in zip(("query", "gallery"), wanted, strict=True) if wanted else ():
        for number, row in parts[side]:
            if row.modality != MODALITIES.index(modality):
                _refuse(file, number, "modality", f"{modality} (each {side} image under {protocol})", "another one")
    query, gallery = (_images(file, parts[side]) for side in ("query", "gallery"))
    return assembled(label, "table", file.parent, query, gallery, protocol=protocol)


def training_table(root: Path) -> Images:
    """The rows whose split is `train`. UserError where there are none."""
    file = table_file("table", root)
    images = _images(file, _parts(file)["train"])
    if not len(images):
        raise UserError(f"{str(file)!r} has no rows whose split is train; add some.")
    return images


def table_file(label: str, root: Path) -> Path:
    """The table: `root` itself, or the only one in it.

    Raises:
        UserError: there is none, or several.
    """
    if is_folder(root):
        found = sorted(
            file for file in root.iterdir() if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")
        )
        if len(found) == 1:
            return found[0]
        names = ", ".join(file.name for file in found) or "none"
        raise UserError(
            f"Data set {label!r}: expected one .csv or .parquet file in {str(root)!r}, found {names}; give the file "
            f"itself as `root`."
        )
    if root.suffix.lower() not in _SUFFIXES or not root.exists():
        raise UserError(
            f"Data set {label!r}: there is no table {str(root)!r}; give a .csv or .parquet file, or a folder that "
            f"holds one."
        )
    return root


def _images(file: Path, numbered: Sequence[tuple[int, Row]]) -> Images:
    return collected(present(Tree(file.parent), [row for _, row in numbered], file))


def _parts(file: Path) -> dict[str, list[tuple[int, Row]]]:
    """The rows by split, each with its number."""
    parts: dict[str, list[tuple[int, Row]]] = {split: [] for split in _SPLITS}
    seen: set[tuple[str, str]] = set()
    for number, values in _rows(file):
        split = _one_of(file, number, "split", values["split"], _SPLITS)
        modality = _one_of(file, number, "modality", values.get("modality", _DEFAULT), MODALITIES)
        path = _text(values["path"])
        if not path:
            _refuse(file, number, "path", "a path", path)
        row = Row(
            relative(path, f"{str(file)!r}, row {number}, column path"),
            _whole(file, number, "identity", values["identity"], -1),
            _whole(file, number, "camera", values["camera"], 0),
            MODALITIES.index(modality),
        )
        if (split, row.path) in seen:
            _refuse(file, number, "path", f"each image once in split {split}", row.path)
        seen.add((split, row.path))
        parts[split].append((number, row))
    return parts


def _rows(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(number, values by column): as spreadsheets count, the header of a CSV is row 1; in parquet the first row is."""
    return _of_csv(file) if file.suffix.lower() == ".csv" else _of_parquet(file)


def _of_csv(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            first = opened.readline()
            opened.seek(0)
            delimiter = max(_DELIMITERS, key=first.count)
            reader = csv.reader(opened, delimiter=delimiter, strict=True)
            places = _places(file, next(reader, []))
            for number, values in enumerate(reader, start=2):
                if not any(value.strip() for value in values):
                    continue
                missing = next((name for name, place in places.items() if place >= len(values)), None)
                if missing is not None:
                    _refuse(file, number, missing, "a value", "none")
                yield number, {name: values[place] for name, place in places.items()}
    except UnicodeDecodeError as error:
        raise InvalidFileError(f"{str(file)!r} is no UTF-8 text (byte {error.start}); save it as UTF-8.") from error
    except csv.Error as error:
        raise InvalidFileError(f"{str(file)!r} is no CSV ({error}); save it again.") from error
    except OSError as error:
        raise UserError(f"{str(file)!r} cannot be read: {error.strerror}; check its permissions.") from error


def _of_parquet(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(file) as opened:
            names = opened.schema_arrow.names
            places = _places(file, names)
            number = 0
            for batch in opened.iter_batches(columns=[names[place] for place in places.values()]):
                columns = {name: batch.column(names[place]).to_pylist() for name, place in places.items()}
                for values in zip(*columns.values(), strict=True):
                    number += 1
                    yield number, dict(zip(columns, values, strict=True))
    except (pa.ArrowException, OSError) as error:
        raise InvalidFileError(f"{str(file)!r} is no readable parquet file ({error}); write it again.") from error


def _places(file: Path, header: Sequence[str]) -> dict[str, int]:
    """Where each column is."""
    names = [name.strip().lower() for name in header]
    places = {}
    for column, others in _COLUMNS.items():
        found = [place for place, name in enumerate(names) if name in (column, *others)]
        if len(found) > 1:
            raise InvalidFileError(f"{str(file)!r} has several columns for {column}; keep one of them.")
        if found:
            places[column] = found[0]
        elif column not in _OPTIONAL:
            raise InvalidFileError(
                f"{str(file)!r} has no column {' or '.join((column, *others))}; expected {', '.join(_COLUMNS)} "
                f"(modality is optional), got {', '.join(header) or 'nothing'}."
            )
    return places


def _text(value: Any) -> str:
    return "" if value is None else str(value).strip()


def _one_of(file: Path, number: int, column: str, value: Any, choices: Sequence[str]) -> str:
    word = _text(value).lower()
    if word not in choices:
        _refuse(file, number, column, " or ".join(choices), value)
    return word


def _whole(file: Path, number: int, column: str, value: Any, least: int) -> int:
    try:
        found = int(_text(value))
    except ValueError:
        found = None
    if found is None or isinstance(value, bool) or not least <= found < _LARGEST:
        _refuse(file, number, column, f"a whole number from {least}", value)
    return found


def _refuse(file: Path, number: int, column: str, expected: str, value: Any) -> NoReturn:
    raise InvalidFileError(f"{str(file)!r}, row {number}, column {column}: expected {expected}, got {value!r}.")
