"""A site's folder, put in place whole; a folder that is not a site of ours is never touched."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from .. import UserError
from ..benchmark.store.files import file_system_errors

#: Lies in every site and lists its files.
MARKER = ".robustreid-site.json"


def check_target(out: Path, directories: Sequence[Path]) -> None:
    """Refuse a place that a site must not take.

    Raises:
        UserError: it is a file, holds files that are not of a site, or a run lies in it.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{str(out)!r} is a file; give a folder for the site, as --out site.")
    for directory in directories:
        if directory.resolve().is_relative_to(out.resolve()):
            raise UserError(
                f"The run {str(directory)!r} lies in {str(out)!r}, which the site would replace; give another folder."
            )
    if not out.is_dir() or not any(out.iterdir()):
        return
    try:
        known = set(json.loads((out / MARKER).read_bytes())["files"])
    except (OSError, ValueError, KeyError, TypeError):
        raise UserError(
            f"{str(out)!r} is not empty and is no site of `robustreid report`; give a new folder, as --out site."
        ) from None
    present = {path.relative_to(out).as_posix() for path in out.rglob("*") if not path.is_dir()}
    strange = sorted(present - known - {MARKER})
    if strange:
        raise UserError(
            f"{str(out)!r} holds {strange[0]!r}, which `robustreid report` did not write and would remove; "
            f"move it, or give another folder."
        )


def put_in_place(out: Path, files: Mapping[str, bytes]) -> None:
    """Write the site beside its place and rename it there; the one that was there goes.

    Raises:
        StorageError: the file system failed; the old site stands.
    """
    target = Path(os.path.abspath(out))  # noqa: PTH100 (a link to a folder is replaced, not followed)
    part = target.parent / f".{target.name}.{uuid.uuid4().hex}.part"
    old = part.with_suffix(".old")
    listing = json.dumps({"files": sorted(files)}, indent=0).encode()
    with file_system_errors(target):
        try:
            for path, content in {**files, MARKER: listing}.items():
                (part / path).parent.mkdir(parents=True, exist_ok=True)
                (part / path).write_bytes(content)
            if target.exists():
                target.rename(old)
            try:
                part.rename(target)
            except OSError:
                if old.exists():
                    old.rename(target)
                raise
        finally:
            shutil.rmtree(part, ignore_errors=True)
            shutil.rmtree(old, ignore_errors=True)


def static_files() -> Iterator[tuple[str, bytes]]:
    """Path and content of every static file of a site."""

    def walk(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
            if entry.is_dir():
                yield from walk(entry, f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}", entry.read_bytes()

    yield from walk(resources.files(__package__) / "static", "")
