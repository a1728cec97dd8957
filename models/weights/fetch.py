"""Published weights onto this machine: with progress, going on where it stopped, kept only if the digest is right.

pooch keeps the folder: it leaves a right file alone, checks a digest before a file gets its name, and puts it in place
in one step. What it lacks, going on with a part of a file after a cut connection, is the downloader below.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ... import InvalidFileError, StorageError, UserError
from .entry import ZooEntry, ZooFile
from .files import file_digest, made_of

#: How often an address is asked, and seconds before the second time; twice as long before each further one.
ATTEMPTS, FIRST_PAUSE = 4, 0.5
#: Seconds to wait for a connection, and for the next bytes.
_PATIENCE = (10.0, 30.0)
_BLOCK = 2**16
#: Bytes of a file whose size is not known; a server must not fill the disk.
_MAX_BYTES = 2**30
#: Answers that may be another one the next time.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})


class Meter(Protocol):
    """Shows how far one download is."""

    def advance(self, units: float) -> None:
        """So many more bytes are there."""
        ...

    def finish(self) -> None:
        """It is over, whether all is there or not."""
        ...


#: Begins to show a download: a title and the bytes in all.
Start = Callable[[str, float], Meter]


class NotFetchedError(Exception):
    """The address did not give the file; the text says why."""


class _CutError(Exception):
    """It may work the next time."""


@dataclass
class Resuming:
    """A downloader as pooch calls it, for one file: what arrived stays in `part`, also after a failure.

    Args:
        file: what is wanted.
        part: where bytes are collected until all are there.
        start: shows progress.
        pause: waits so many seconds between two attempts.

    """

    file: ZooFile
    part: Path
    start: Start
    pause: Callable[[float], object] = time.sleep
    #: Whether some of the bytes came from an earlier attempt.
    resumed: bool = field(default=False, init=False)
    #: The digest of what arrived.
    digest: str = field(default="", init=False)

    def __call__(self, url: str, output_file: str, pooch: Any, check_only: bool = False) -> None:  # noqa: ARG002
        """Fetch all of the file into `output_file`.

        Raises:
            NotFetchedError: where the address does not give it, after several attempts where one may help.
            InvalidFileError: where more bytes come than the file has; none is kept.

        """
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                self.pause(FIRST_PAUSE * 2 ** (attempt - 1))
            try:
                self._go_on(url)
            except _CutError as cut:
                reason = str(cut)
                continue
            self.digest = file_digest(self.part, self.file.algorithm)
            self.part.replace(output_file)
            return
        raise NotFetchedError(f"{reason}, {ATTEMPTS} times")

    def _go_on(self, url: str) -> None:
        """One request for what is not there yet."""
        import requests

        n_have = self.part.stat().st_size if self.part.exists() else 0
        wanted = {"Accept-Encoding": "identity", "User-Agent": "robustreid"}
        if n_have:
            wanted["Range"] = f"bytes={n_have}-"
        try:
            with requests.get(url, headers=wanted, stream=True, timeout=_PATIENCE) as answer:
                n_kept = self._judge(answer, n_have)
                if n_kept is not None:
                    self._take(answer, n_kept)
        except requests.exceptions.RequestException as error:
            raise _CutError(_why(error)) from error

    def _judge(self, answer: Any, n_have: int) -> int | None:
        """How many of the bytes that are there stay; None where they are all."""
        if answer.status_code == 416 and n_have == self.file.size:
            return None
        if answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {n_have}-"):
            self.resumed = self.resumed or n_have > 0
            return n_have
        if answer.status_code == 200:
            return 0
        if answer.status_code in {206, 416}:
            self.part.unlink(missing_ok=True)
            raise _CutError(f"the server does not go on at byte {n_have}")
        said = f"the server answers {answer.status_code} {answer.reason or ''}".rstrip()
        raise _CutError(said) if answer.status_code in _PASSING else NotFetchedError(said)

    def _take(self, answer: Any, n_kept: int) -> None:
        """Write what comes behind the first `n_kept` bytes, and onto the disk."""
        length = str(answer.headers.get("Content-Length", ""))
        total = self.file.size or (n_kept + int(length) if length.isdigit() else 0)
        meter = self.start(f"fetching {self.file.name}", total)
        n_there = n_kept
        try:
            meter.advance(n_kept)
            with self.part.open("r+b" if n_kept else "wb") as file:
                file.seek(n_kept)
                for block in answer.iter_content(_BLOCK):
                    n_there += len(block)
                    if n_there > (self.file.size or _MAX_BYTES):
                        break
                    file.write(block)
                    meter.advance(len(block))
                file.flush()
                os.fsync(file.fileno())
        finally:
            meter.finish()
        if n_there > (self.file.size or _MAX_BYTES):
            self.part.unlink()
            raise InvalidFileError(
                f"What is at {answer.url} has more than the {self.file.size or _MAX_BYTES} bytes of {self.file.name}, "
                f"so it is another file; nothing was kept."
            )
        if self.file.size is not None and n_there < self.file.size:
            raise _CutError(f"the connection ended after {n_there} of {self.file.size} bytes")


def _why(error: Exception) -> str:
    """The innermost reason of a failed request, in one line."""
    while error.__context__ is not None and isinstance(error.__context__, Exception):
        error = error.__context__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}".rstrip(": ")


def fetch(entry: ZooEntry, folder: Path, *, start: Start, pause: Callable[[float], object] = time.sleep) -> Path:
    """The file to load of a published model, in `folder`: fetched, checked and converted as far as it is not there.

    Args:
        entry: a model with addresses and digests, or one whose files lie in `folder`.
        folder: made where it does not exist.
        start: shows progress.
        pause: waits so many seconds between two attempts.

    Raises:
        UserError: where an address does not answer, or there is none, with what to do by hand.
        InvalidFileError: where what it gives has another digest, which is not kept.
        StorageError: where the folder cannot be written.

    """
    from filelock import FileLock

    from ..zoo import by_hand

    manual = f"by hand: {by_hand(entry, folder)}"
    target = folder / entry.file
    try:
        if entry.converted and target.is_file() and made_of(target) == entry.files[0].digest:
            return target
        missing = [file for file in entry.files if not _is_right(folder / file.name, file)]
        if missing and not (entry.is_pinned and entry.is_published):
            raise UserError(f"The weights of {entry.name!r} cannot be fetched: {by_hand(entry, folder)}")
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / f".{entry.name}.lock"):
            for file in missing:
                _fetch_one(file, folder, manual, start, pause)
            if entry.converted:
                from .convert import convert

                convert(folder / entry.files[0].name, target, entry)
    except NotFetchedError as error:
        raise UserError(f"The weights of {entry.name!r} could not be fetched ({error}); {manual}") from error
    except OSError as error:
        raise StorageError(
            f"The weights of {entry.name!r} could not be written ({error.strerror or error}); make room and run the "
            f"same command again, or {manual}"
        ) from error
    return target


def _is_right(path: Path, file: ZooFile) -> bool:
    return bool(file.digest) and path.is_file() and file_digest(path, file.algorithm) == file.digest


def _fetch_one(file: ZooFile, folder: Path, manual: str, start: Start, pause: Callable[[float], object]) -> None:
    """One file into the folder. A wrong digest of what was put together from two answers is given a second chance."""
    import pooch

    keeper = pooch.create(
        path=folder,
        base_url="",
        registry={file.name: f"{file.algorithm}:{file.digest}"},
        urls={file.name: file.url},
    )
    for _ in range(2):
        downloader = Resuming(file, folder / f"{file.name}.part", start, pause)
        try:
            with _quiet(pooch):
                keeper.fetch(file.name, downloader=downloader)
        except ValueError as error:
            if downloader.resumed:
                continue
            raise InvalidFileError(
                f"What is at {file.url} has {file.algorithm} {downloader.digest}, expected {file.digest}, so it is not "
                f"{file.name}; nothing was kept; {manual}"
            ) from error
        return


@contextlib.contextmanager
def _quiet(pooch: Any) -> Iterator[None]:
    """Without what pooch says on standard error: the reporter says it already."""
    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(before)
