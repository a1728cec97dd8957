"""Files written whole or not at all: a temporary file, fsync, rename.

A reader sees the old file or the new one, never a part; after a crash leftovers lie only where they are swept. On
file systems without atomic rename (some network mounts) this holds as far as they do.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ... import StorageError

_REASONS = {
    errno.ENOSPC: "the disk is full; free some space and run the same command again",
    errno.EDQUOT: "the disk quota is used up; free some space and run the same command again",
    errno.EFBIG: "the file-size limit is reached; raise it (ulimit -f) and run the same command again",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EACCES: "permission is denied; choose another folder or change its permissions",
    errno.EPERM: "permission is denied; choose another folder or change its permissions",
}


@contextmanager
def file_system_errors(place: Path) -> Iterator[None]:
    """Turn what the operating system says about `place` into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        code = error.errno or 0
        reason = _REASONS.get(code, f"{error.strerror or error}; check the folder and run the same command again")
        raise StorageError(f"{str(place)!r} could not be written: {reason}. What was finished stands.") from error


def write_bytes(path: Path, content: bytes, *, temporary: Path | None = None) -> None:
    """Put `content` at `path`, whole or not at all.

    Args:
        path: where it goes; missing folders are made.
        content: all of it.
        temporary: the folder for the unfinished file, on the same file system; beside `path` by default.

    Raises:
        StorageError: the file system failed; `path` is as it was.
    """
    with file_system_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = (temporary or path.parent) / f".{uuid.uuid4().hex}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
