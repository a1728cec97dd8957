"""Lists that come with data sets: text by line, whatever system wrote its line ends."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from ... import InvalidFileError, UserError

#: Wide enough for any number a data set has, and 64 bits hold every one.
_NUMBER = re.compile(r"[0-9]{1,18}")


def read_lines(file: Path) -> list[tuple[int, str]]:
    """(number, text) of the lines of a list that say something; a byte order mark and any line ends are taken.

    Raises:
        UserError: it is not there, or cannot be read.
        InvalidFileError: it is no UTF-8 text.
    """
    try:
        content = file.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"There is no list {str(file)!r}, which comes with the data set; restore it.") from None
    except OSError as error:
        raise UserError(f"{str(file)!r} cannot be read: {error.strerror}; check its permissions.") from error
    except UnicodeDecodeError as error:
        raise InvalidFileError(f"{str(file)!r} is no UTF-8 text (byte {error.start}); restore it.") from error
    lines = enumerate(re.split(r"\r\n|\r|\n", content), start=1)
    return [(number, text.strip()) for number, text in lines if text.strip()]


@dataclass(frozen=True, slots=True)
class Listed:
    """One line of a list."""

    number: int
    #: Relative, with forward slashes.
    path: str
    label: int


def read_list(file: Path) -> list[Listed]:
    """The lines `path label` of a list.

    Raises:
        UserError: it is not there.
        InvalidFileError: a line that is something else; its number is told.
    """
    found, name = [], repr(str(file))
    for number, text in read_lines(file):
        path, _, label = text.replace("\t", " ").rpartition(" ")
        if not path or not _NUMBER.fullmatch(label):
            raise InvalidFileError(f"{name}, line {number}: expected a path and a number, got {text!r}.")
        found.append(Listed(number, relative(path, f"{name}, line {number}"), int(label)))
    if not found:
        raise InvalidFileError(f"{str(file)!r} is empty; expected lines of a path and a number; restore it.")
    return found


def relative(path: str, where: str) -> str:
    """A relative path with forward slashes. InvalidFileError for one that leads out of its folder."""
    found = path.strip().replace("\\", "/")
    parts = found.split("/")
    if found.startswith("/") or ".." in parts or parts[0].endswith(":") or not any(parts):
        raise InvalidFileError(f"{where}: expected a path below the data set's folder, got {path!r}.")
    return "/".join(part for part in parts if part not in {"", "."}) if "." in parts or "" in parts else found


def read_people(file: Path) -> list[int]:
    """The numbers of a list of people, `1,2,3` on its first line, ascending.

    Raises:
        UserError: it is not there.
        InvalidFileError: something else than numbers, or nobody.
    """
    words = [(number, word) for number, text in read_lines(file) for word in re.split(r"[,\s]+", text) if word]
    for number, word in words:
        if not _NUMBER.fullmatch(word):
            raise InvalidFileError(f"{str(file)!r}, line {number}: expected numbers and commas, got {word!r}.")
    if not words:
        raise InvalidFileError(f"{str(file)!r} names nobody; expected numbers such as 1,2,3; restore it.")
    return sorted({int(word) for _, word in words})


def number_in(text: str) -> int | None:
    """The number that a name consists of; None where it is something else."""
    return int(text) if _NUMBER.fullmatch(text) else None
