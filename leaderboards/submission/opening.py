"""A submission that passed every check, as a folder, and what names its content."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ... import InvalidFileError
from .checking import check_submission
from .contents import open_contents, unpack
from .findings import Report, shown
from .paths import MANIFEST
from .track_rules import track_problems


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A submission on this machine."""

    #: Its files, and nothing else.
    folder: Path
    report: Report
    #: Of every file but the manifest: path and sha256, hexadecimal; the same for a folder and its archive.
    content_sha256: str
    n_files: int


@contextmanager
def opened(path: Path, report: Report | None = None, *, taken: Collection[str] = ()) -> Iterator[Opened]:
    """Check a submission and unpack it into a temporary folder for as long as this lasts.

    Args:
        path: a folder or an archive.
        report: of a check that was made already.
        taken: names that stand on a board already.

    Raises:
        InvalidFileError: it did not pass; one line a finding.
    """
    found = check_submission(path, taken=taken, track_problems=track_problems) if report is None else report
    if not found.is_valid:
        raise InvalidFileError("\n".join([*map(str, found.errors), f"{shown(path)!r} is refused."]))
    with tempfile.TemporaryDirectory(prefix="robustreid-submission-") as temporary:
        folder = unpack(path, Path(temporary) / "content")
        with open_contents(folder) as contents:
            names = sorted(name for name in contents.names() if name != MANIFEST)
            lines = [f"{name} {contents.sha256(name)}" for name in names]
        digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()
        yield Opened(folder=folder, report=found, content_sha256=digest, n_files=len(names))
