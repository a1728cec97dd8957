"""`manifest.json`: the digest of every other file of a packed submission."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .contents import Contents
from .findings import Fault
from .limits import MAX_FILES
from .paths import MANIFEST
from .strict_json import read_json

_SHA256 = re.compile(r"[0-9a-f]{64}")
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a manifest says, or why it says nothing."""

    #: sha256, hexadecimal, by path.
    digests: Mapping[str, str] = field(default_factory=dict)
    #: Empty where it reads back.
    problem: str = ""


def read_manifest(content: bytes) -> Manifest:
    """What stands in it."""
    try:
        return Manifest(digests=_digests(read_json(content)))
    except ValueError as error:
        return Manifest(problem=str(error))


def _digests(found: Any) -> Mapping[str, str]:
    if not isinstance(found, dict) or set(found) != {"version", "files"} or not isinstance(found["files"], dict):
        raise ValueError("is no mapping of version and files")
    if found["version"] != VERSION or isinstance(found["version"], bool):
        raise ValueError(f"has another version than {VERSION}, the only one that there is")
    if len(found["files"]) > MAX_FILES:
        raise ValueError(f"lists more than {MAX_FILES:,} files")
    if not all(isinstance(digest, str) and _SHA256.fullmatch(digest) for digest in found["files"].values()):
        raise ValueError("has a digest that is not 64 hexadecimal digits")
    return {str(name): digest for name, digest in found["files"].items()}


def wrong_digests(contents: Contents, digests: Mapping[str, str]) -> Iterator[Fault]:
    """Files that have another digest than a manifest says."""
    for name in contents.names():
        if name in digests and contents.sha256(name) != digests[name]:
            yield Fault(code="SUB303", place=name, problem=f"has another sha256 than {MANIFEST} says")


def manifest_bytes(digests: Mapping[str, str]) -> bytes:
    """A manifest; equal digests, equal bytes."""
    return json.dumps({"version": VERSION, "files": dict(sorted(digests.items()))}, indent=1).encode() + b"\n"
