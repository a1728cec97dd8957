"""Folders of data sets as they lie about: an extra level, what systems leave behind, suffixes in other letters.

Nothing here goes down into folders of its own accord, so that links in a circle are never followed for long.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

from ... import InvalidFileError, UserError

#: What an image is called, in small letters.
SUFFIXES = frozenset({"jpg", "jpeg", "png", "bmp"})
#: How many folders too many a user may have around a data set.
_LEVELS = 4
#: What archives leave beside a data set's own folder.
_LEFT_BEHIND = frozenset({"__macosx", "$recycle.bin", "system volume information", "lost+found"})

#: Where what is wrong with single files is noted; None where it is refused at once.
_NOTED: ContextVar[list[str] | None] = ContextVar("_NOTED", default=None)


@contextmanager
def noting() -> Iterator[list[str]]:
    """While this lasts, single files that are absent or unreadable are noted and left out instead of refused."""
    problems: list[str] = []
    token = _NOTED.set(problems)
    try:
        yield problems
    finally:
        _NOTED.reset(token)


def refuse_file(message: str) -> None:
    """InvalidFileError, or a note of it within `noting`."""
    problems = _NOTED.get()
    if problems is None:
        raise InvalidFileError(message)
    if message not in problems:
        problems.append(message)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the folder of one data set is known."""

    #: As its authors call it.
    title: str
    #: What its own folder is usually called.
    folder_names: tuple[str, ...]
    #: Alternatives: a folder in which all of one's paths exist is it.
    signs: tuple[tuple[str, ...], ...]
    #: What it holds, in a sentence: "expected ...".
    expected: str

    def find(self, label: str, root: Path) -> Path:
        """The folder that has this layout: `root`, or one in it that a user may mean.

        Raises:
            UserError: no such folder, nothing of this layout in it, or several.
        """
        if not _exists(root) or not is_folder(root):
            raise UserError(
                f"Data set {label!r}: there is no folder {str(root)!r}; give the folder that holds {self.expected}."
            )
        found = self.search(root)
        if found is None:
            raise UserError(
                f"Data set {label!r}: {str(root)!r} is not laid out as {self.title}; expected {self.expected}."
            )
        return found

    def search(self, root: Path) -> Path | None:
        """As `find`; None where nothing has this layout."""
        place = root
        for _ in range(_LEVELS):
            if self._is_at(place):
                return place
            inside = _folders(place)
            known = [name for name in inside if name.lower() in {known.lower() for known in self.folder_names}]
            if len(known) > 1:
                known = [name for name in known if self._is_at(place / name)] or known
            if len(known) > 1:
                raise UserError(f"{str(place)!r} holds {' and '.join(known)}; give one of them as `root`.")
            if not known and len(inside) != 1:
                return None
            place = place / (known or inside)[0]
        return None

    def _is_at(self, place: Path) -> bool:
        return any(all(_exists(place / path) for path in sign) for sign in self.signs)


def _exists(path: Path) -> bool:
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


def is_folder(path: Path) -> bool:
    """Whether it is a folder that is there; False also where a link leads nowhere or in a circle."""
    try:
        return path.is_dir()
    except OSError:
        return False


def _folders(place: Path) -> list[str]:
    """The names of the folders in a folder, without what systems leave behind; none where it cannot be read."""
    try:
        names = sorted(entry.name for entry in place.iterdir())
    except OSError:
        return []
    return [n for n in names if n[0] != "." and n.lower() not in _LEFT_BEHIND and is_folder(place / n)]


def image_names(place: Path) -> list[str]:
    """The names of the images in a folder, sorted; hidden files and whatever has another suffix are passed over.

    Raises:
        UserError: it cannot be read.
        InvalidFileError: a link that leads nowhere, a folder called like an image, or a name that is no text.
        FileNotFoundError: there is no such folder.
    """
    names = []
    try:
        with os.scandir(place) as entries:
            for entry in entries:
                name = entry.name
                if name[0] == "." or name.rpartition(".")[2].lower() not in SUFFIXES:
                    continue
                if _is_file(entry):
                    names.append(name)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(str(place)) from None
    except OSError as error:
        raise UserError(f"{str(place)!r} cannot be read: {error.strerror}; check its permissions.") from error
    try:
        "".join(names).encode()
    except UnicodeEncodeError:
        names = [name for name in names if _is_text(place, name)]
    return sorted(names)


def _is_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is one; what is called an image and cannot be one is refused."""
    try:
        if entry.is_file():
            return True
        reason = "Is a directory" if stat.S_ISDIR(entry.stat().st_mode) else "Is no file"
    except OSError as error:  # a link that leads nowhere, or in a circle
        reason = str(error.strerror)
    refuse_file(f"The image {entry.path!r} cannot be read: {reason}; restore it or remove it from the set.")
    return False


def _is_text(place: Path, name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        readable = name.encode(errors="surrogateescape").decode(errors="replace")
        refuse_file(f"The name of {readable!r} in {str(place)!r} is no UTF-8 text; rename the file.")
        return False
    return True


class Tree:
    """The images under a root, looked up folder by folder: each is listed once, however many files lists name."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._folders: dict[str, tuple[frozenset[str], dict[str, str]]] = {}

    def present(self, paths: Sequence[str], named_by: Path) -> list[str | None]:
        """Each path as it is called on disk, where its suffix may be in other letters; None for one that is absent.

        Args:
            paths: relative to the root, with forward slashes.
            named_by: the list they are from.

        Raises:
            InvalidFileError: some are absent; how many, and the first. Within `noting` that is noted.
        """
        found = [self._actual(path) for path in paths]
        if absent := [path for path, actual in zip(paths, found, strict=True) if actual is None]:
            refuse_file(
                f"{str(named_by)!r} names {len(absent):,} images that are not there, the first is "
                f"{str(self._root / absent[0])!r}; restore them."
            )
        return found

    def _actual(self, path: str) -> str | None:
        folder, _, name = path.rpartition("/")
        if folder not in self._folders:
            try:
                names = image_names(self._root / folder)
            except FileNotFoundError:
                names = []
            self._folders[folder] = frozenset(names), {_key(name): name for name in names}
        names_there, by_key = self._folders[folder]
        if name in names_there:
            return path
        actual = by_key.get(_key(name))
        return None if actual is None else f"{folder}/{actual}" if folder else actual


def _key(name: str) -> str:
    """A name with its suffix in small letters, composed as other systems compose accents."""
    import unicodedata

    stem, _, suffix = name.rpartition(".")
    return f"{unicodedata.normalize('NFC', stem)}.{suffix.lower()}"
