"""What a file is by its first bytes, whatever it is called: a pickle, a file that holds one, or an archive."""

from __future__ import annotations

import re

from .findings import Fault, shown
from .paths import part_of

#: Bytes that are looked at.
N_FIRST = 520

_TEXTS = frozenset({"description", "manifest", "grid", "plan"})
#: A zip is what `torch.save`, `torch.jit.save`, `torch.export.save` and `numpy.savez` write.
_PICKLES: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\x80[\x02-\x05]"), "a pickle"),
    (re.compile(rb"(?:\(dp?\d|\(lp?\d|\(ip?\d|c[A-Za-z_][\w.]*\n[A-Za-z_]|[\]\}\)][q\x94]|\x80\x01)"), "a pickle"),
    (re.compile(rb"\x93NUMPY"), "a NumPy array, which can hold pickled objects"),
    (re.compile(rb"\x89HDF\r\n\x1a\n"), "an HDF5 file, which can hold code"),
    (re.compile(rb"PK[\x03\x05\x07][\x04\x06\x08]"), "a zip, which is how torch writes pickles"),
)
_ARCHIVES: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\x1f\x8b"), "gzip"),
    (re.compile(rb"BZh[1-9]"), "bzip2"),
    (re.compile(rb"\xfd7zXZ\x00"), "xz"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "7z"),
    (re.compile(rb"Rar!\x1a\x07"), "rar"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "zstd"),
    (re.compile(rb"(?s).{257}ustar"), "tar"),
)


def disguise(name: str, first: bytes) -> Fault | None:
    """What is wrong with a file that begins so; None where it may be what its name says.

    Args:
        name: its path in the submission.
        first: its first `N_FIRST` bytes.
    """
    part = part_of(name)
    # Texts are read as such; the first eight bytes of safetensors are a number that may look like anything.
    if part in _TEXTS or (part == "weights" and first[8:9] == b"{"):
        return None
    for pattern, what in _PICKLES:
        if pattern.match(first):
            return Fault(code="SUB013", place=shown(name), problem=f"is {what}")
    for pattern, what in _ARCHIVES:
        if pattern.match(first):
            return Fault(code="SUB014", place=shown(name), problem=f"is an archive ({what})")
    return None
