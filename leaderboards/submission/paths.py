"""Which files a submission has, and what a path inside one may look like. Nothing here opens a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from .findings import Fault, shown
from .limits import MAX_DEPTH, MAX_FILES, MAX_JSON, MAX_PATH, MAX_ROW, MAX_TABLE, MAX_TEXT, MAX_TOTAL, MAX_WEIGHTS

EntryKind = Literal["file", "folder", "link", "device"]
#: What a file of a submission is for.
Part = Literal["description", "manifest", "weights", "program", "grid", "plan", "cell", "queries"]

DESCRIPTION, MANIFEST, RESULTS = "submission.yaml", "manifest.json", "results"
GRID, PLAN = f"{RESULTS}/grid.yml", f"{RESULTS}/plan.json"
_FIXED: dict[str, Part] = {DESCRIPTION: "description", MANIFEST: "manifest", GRID: "grid", PLAN: "plan"}
_PATTERNS: tuple[tuple[re.Pattern[str], Part], ...] = (
    (re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.safetensors"), "weights"),
    (re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*\.onnx"), "program"),
    (re.compile(r"results/cells/[0-9A-Za-z_-]{1,64}\.parquet"), "cell"),
    (re.compile(r"results/queries/[0-9A-Za-z_-]{1,64}\.parquet"), "queries"),
)
#: Bytes that a file of each part may have.
LIMITS: dict[Part, int] = {
    "description": MAX_TEXT,
    "manifest": MAX_JSON,
    "weights": MAX_WEIGHTS,
    "program": MAX_WEIGHTS,
    "grid": MAX_TEXT,
    "plan": MAX_JSON,
    "cell": MAX_ROW,
    "queries": MAX_TABLE,
}
#: What a run directory keeps for itself: never part of a submission, and not looked at in a folder.
CACHES = frozenset({"features", "checks", "work", "tmp", "images"})

_PICKLES = frozenset(
    {
        *(".pt", ".pth", ".pt2", ".ptl", ".pkl", ".pickle", ".p", ".ckpt", ".bin"),
        *(".joblib", ".dill", ".npy", ".npz", ".h5", ".hdf5", ".keras", ".mar", ".model"),
    }
)
_ARCHIVES = frozenset(
    {
        *(".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z"),
        *(".rar", ".whl", ".egg", ".jar", ".lzma", ".lz4", ".cab", ".iso"),
    }
)
_DRIVE = re.compile(r"[A-Za-z]:")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file, folder or something worse, as a container lists it."""

    #: As it stands there, parts joined by `/`.
    name: str
    kind: EntryKind
    #: Bytes, as it says.
    size: int = 0


def part_of(name: str) -> Part | None:
    """What a file is for, by its path; None where it is no part of a submission."""
    if name in _FIXED:
        return _FIXED[name]
    return next((part for pattern, part in _PATTERNS if pattern.fullmatch(name)), None)


def is_kept_back(name: str) -> bool:
    """Whether a file or folder of a working folder is its owner's business: hidden, or a cache of a run."""
    parts = name.split("/")
    return any(part.startswith(".") for part in parts) or (
        len(parts) > 1 and parts[0] == RESULTS and parts[1] in CACHES
    )


def faults_of(entries: Sequence[Entry]) -> Iterator[Fault]:
    """Everything about paths, kinds, counts and declared sizes that a container must not have."""
    if len(entries) > MAX_FILES:
        yield Fault(code="SUB004", place="the whole", problem=f"has more than {MAX_FILES:,} files")
        return
    yield from _links(entries)
    for entry in entries:
        yield from _path(entry.name)
    yield from _twice(entries)
    total = sum(entry.size for entry in entries if entry.kind == "file")
    if total > MAX_TOTAL:
        yield Fault(
            code="SUB005", place="the whole", problem=f"unpacks to {total:,} bytes, at most {MAX_TOTAL:,} are read"
        )


def strange_files(entries: Iterable[Entry]) -> Iterator[Fault]:
    """Files that are no part of a submission, and those that are larger than their part ever is."""
    for entry in entries:
        if entry.kind != "file":
            continue
        part = part_of(entry.name)
        if part is None:
            yield _strange(entry.name)
        elif entry.size > LIMITS[part]:
            problem = f"has {entry.size:,} bytes, at most {LIMITS[part]:,} are read of such a file"
            yield Fault(code="SUB005", place=shown(entry.name), problem=problem)


def _strange(name: str) -> Fault:
    place, suffix = shown(name), f".{name.rpartition('.')[2].lower()}"
    if suffix in _PICKLES:
        problem = f"files such as {shown(suffix)} can hold a pickle, which runs code when it is read"
        return Fault(code="SUB013", place=place, problem=problem)
    if suffix in _ARCHIVES:
        return Fault(code="SUB014", place=place, problem="is an archive inside the submission")
    return Fault(code="SUB012", place=place, problem="is no file of a submission")


def _links(entries: Iterable[Entry]) -> Iterator[Fault]:
    for entry in entries:
        if entry.kind == "link":
            yield Fault(code="SUB003", place=shown(entry.name), problem="is a link")
        elif entry.kind == "device":
            yield Fault(code="SUB003", place=shown(entry.name), problem="is a device, a pipe or a socket")


def _path(name: str) -> Iterator[Fault]:
    parts = name.split("/")
    problem = ""
    if name.startswith("/") or _DRIVE.match(name):
        problem = "is an absolute path"
    elif "\\" in name:
        problem = "has a backslash"
    elif ".." in parts:
        problem = "leads out of the folder"
    elif not name or "" in parts or "." in parts:
        problem = "has an empty part"
    elif not (name.isascii() and name.isprintable()):
        problem = "has characters other than printable ASCII"
    elif any(part != part.strip() or part.endswith(".") for part in parts):
        problem = "has a part that begins or ends with a space or ends with a dot"
    if problem:
        yield Fault(code="SUB002", place=shown(name), problem=f"the path {problem}")
    if len(name) > MAX_PATH or len(parts) > MAX_DEPTH:
        problem = (
            f"the path has {len(name)} characters in {len(parts)} parts, at most {MAX_PATH} in {MAX_DEPTH} are read"
        )
        yield Fault(code="SUB009", place=shown(name, 80), problem=problem)


def _twice(entries: Sequence[Entry]) -> Iterator[Fault]:
    """A path that is listed twice, or once as a file and once as a folder; and paths that differ in case alone."""
    names = Counter(entry.name for entry in entries)
    files = {entry.name for entry in entries if entry.kind == "file"}
    folders = {parent for name in names for parent in _parents(name)}
    for name, count in names.items():
        if count > 1 or (name in files and name in folders):
            yield Fault(code="SUB010", place=shown(name), problem="stands in it twice")
    first: dict[str, str] = {}
    for name in sorted({*names, *folders}):
        other = first.setdefault(name.casefold(), name)
        if other != name:
            yield Fault(code="SUB011", place=shown(name), problem=f"differs from {shown(other)!r} in case alone")


def _parents(name: str) -> Iterator[str]:
    parts = name.split("/")[:MAX_DEPTH]
    return ("/".join(parts[:end]) for end in range(1, len(parts)))
