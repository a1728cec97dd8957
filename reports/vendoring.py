"""The scripts of others that a page needs: pinned npm packages, copied here with their licences by `make vendor`.

`static/vendor/vendor.json` says what is here: name, version, licence, integrity of the package as its registry states
it, and for each file where in the package it came from and its sha256.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import InvalidFileError, UserError

MANIFEST = "vendor.json"
FOLDER = Path(__file__).parent / "static" / "vendor"


@dataclass(frozen=True, kw_only=True)
class VendoredFile:
    """One file of a package."""

    #: Where it lies in the package, and here, relative to the vendor folder.
    source: str
    path: str
    #: Hexadecimal digits.
    sha256: str


@dataclass(frozen=True, kw_only=True)
class VendoredPackage:
    """A package that was copied."""

    name: str
    version: str
    licence: str
    #: `sha512-` and base64 of the digest of the packed archive.
    integrity: str
    files: tuple[VendoredFile, ...]


def read_manifest(folder: Path = FOLDER) -> tuple[VendoredPackage, ...]:
    """The packages that `vendor.json` lists."""
    listed = json.loads((folder / MANIFEST).read_bytes())["packages"]
    return tuple(
        VendoredPackage(**{**package, "files": tuple(VendoredFile(**file) for file in package["files"])})
        for package in listed
    )


def differences(folder: Path = FOLDER) -> list[str]:
    """What in the folder is not as its manifest says, a line each; empty where all agrees."""
    listed = {file.path: file.sha256 for package in read_manifest(folder) for file in package.files}
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {MANIFEST}
    found = [f"{path}: not listed" for path in sorted(present - set(listed))]
    for path, sha256 in sorted(listed.items()):
        if path not in present:
            found.append(f"{path}: not there")
        elif hashlib.sha256((folder / path).read_bytes()).hexdigest() != sha256:
            found.append(f"{path}: another digest")
    return found


def fetch(folder: Path = FOLDER) -> None:
    """Copy every listed file from its package, which npm packs from the registry that it is set up with.

    Raises:
        UserError: npm does not run.
        InvalidFileError: a package or a file in it is not the one that was pinned; nothing was written.
    """
    contents: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as temporary:
        for package in read_manifest(folder):
            contents |= dict(_unpacked(package, Path(temporary)))
    for path, content in contents.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)


def _unpacked(package: VendoredPackage, temporary: Path) -> Iterator[tuple[str, bytes]]:
    wanted = f"{package.name}@{package.version}"
    command = ["npm", "pack", wanted, "--silent", "--pack-destination", str(temporary)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError) as error:
        raise UserError(f"npm could not pack {wanted} ({error}); install npm 10 or newer and try again.") from error
    archive = temporary / done.stdout.split()[-1]
    integrity = f"sha512-{base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()}"
    if integrity != package.integrity:
        raise InvalidFileError(f"{wanted} has integrity {integrity}, expected {package.integrity}; do not use it.")
    with tarfile.open(archive) as packed:
        for file in package.files:
            member = packed.extractfile(f"package/{file.source}")
            content = member.read() if member else b""
            if hashlib.sha256(content).hexdigest() != file.sha256:
                raise InvalidFileError(f"{file.source} of {wanted} is not the file that was pinned; do not use it.")
            yield file.path, content
