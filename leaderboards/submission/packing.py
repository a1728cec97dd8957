"""One archive of a submission: the same bytes for the same content, whoever packs it and when."""

from __future__ import annotations

import hashlib
import os
import uuid
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ... import UserError
from ...benchmark.store.files import file_system_errors
from .checking import check_submission
from .contents import Contents, open_contents
from .description import read_folder
from .findings import Report
from .manifest import manifest_bytes
from .paths import MANIFEST
from .streams import chunks
from .track_rules import track_problems

#: The earliest time that a zip can tell, and files that their owner may write and everybody read.
_TIME, _RIGHTS = (1980, 1, 1, 0, 0, 0), 0o100644
#: The rule whose files are left out: rows that the plan does not list.
_LEFT_OUT = "SUB405"


@dataclass(frozen=True, kw_only=True)
class Packed:
    """What was packed."""

    path: Path
    #: Of the archive, hexadecimal.
    sha256: str
    #: Paths inside, the manifest among them.
    names: tuple[str, ...]
    #: Of the archive.
    n_bytes: int


def pack(folder: Path, out: Path | None = None) -> tuple[Report, Packed | None]:
    """Check a folder, and write the archive where nothing is wrong with it.

    Args:
        folder: of the submission.
        out: the archive; by default `NAME.zip` beside the folder.

    Returns:
        What was found, and what was packed; None where there are errors.

    Raises:
        UserError: `folder` is none, or `out` lies in it.
        StorageError: the file system failed; `out` is as it was.
    """
    if not folder.is_dir():
        raise UserError(f"{str(folder)!r} is no folder; give the folder of a submission.")
    report = check_submission(folder, track_problems=track_problems)
    if not report.is_valid:
        return report, None
    place = folder.resolve().parent / f"{read_folder(folder).name}.zip" if out is None else out
    if place.resolve().is_relative_to(folder.resolve()) or place.is_dir():
        raise UserError(f"{str(place)!r} is a folder, or lies in the submission; give a file elsewhere with --out.")
    left_out = {finding.place for finding in report.notes if finding.code == _LEFT_OUT}
    with open_contents(folder) as contents, file_system_errors(place):
        names = [name for name in contents.names() if name not in left_out and name != MANIFEST]
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.parent / f".{uuid.uuid4().hex}.part"
        try:
            with part.open("wb") as file:
                _write(file, contents, names)
                file.flush()
                os.fsync(file.fileno())
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
        with place.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return report, Packed(path=place, sha256=sha256, names=(MANIFEST, *names), n_bytes=place.stat().st_size)


def _write(file: BinaryIO, contents: Contents, names: list[str]) -> None:
    """A zip in which nothing is packed tighter: deflate's bytes depend on the library's version, these do not."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_info(MANIFEST), manifest_bytes({name: contents.sha256(name) for name in names}))
        for name in names:
            info = _info(name)
            info.file_size = contents.size(name)
            with archive.open(info, "w") as target:
                for piece in chunks(contents.open(name)):
                    target.write(piece)


def _info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, _TIME)
    info.create_system = 3
    info.external_attr = _RIGHTS << 16
    return info
