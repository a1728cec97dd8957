"""safetensors files, looked at without loading one: the header first, then every number, a piece at a time.

The format: eight bytes with the length of a JSON header, the header, then the tensors one behind the other
(https://huggingface.co/docs/safetensors, read with version 0.4). Python's reader trusts a file that this one refuses
where it has gaps or names things twice.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .findings import Fault, shown
from .limits import CHUNK, MAX_HEADER, MAX_TENSORS
from .streams import Stream, read_exactly
from .strict_json import read_json

_HEADER, _PLACES, _KIND, _FINITE = "SUB202", "SUB203", "SUB204", "SUB205"
_MAX_AXES = 16
Raw = NDArray[Any]


def _floats(kind: str) -> Callable[[Raw], bool]:
    return lambda raw: bool(np.isfinite(raw.view(kind)).all())


def _bits(kind: str, mask: int) -> Callable[[Raw], bool]:
    """Finite where not all bits of the mask are set."""
    return lambda raw: not bool(((raw.view(kind) & mask) == mask).any())


def _any(raw: Raw) -> bool:
    del raw
    return True


#: Bytes of a number, and whether all numbers in some bytes are finite; NumPy has no type for the shorter floats.
_KINDS: Mapping[str, tuple[int, Callable[[Raw], bool]]] = {
    "BOOL": (1, _any),
    "U8": (1, _any),
    "I8": (1, _any),
    "U16": (2, _any),
    "I16": (2, _any),
    "U32": (4, _any),
    "I32": (4, _any),
    "U64": (8, _any),
    "I64": (8, _any),
    "F64": (8, _floats("<f8")),
    "F32": (4, _floats("<f4")),
    "F16": (2, _floats("<f2")),
    "BF16": (2, _bits("<u2", 0x7F80)),
    "F8_E5M2": (1, _bits("u1", 0x7C)),
    # This one has no infinity, and NaN where all bits but the sign are set.
    "F8_E4M3": (1, _bits("u1", 0x7F)),
}


@dataclass(frozen=True, kw_only=True)
class _Tensor:
    name: str
    kind: str
    begin: int
    end: int


def check_tensors(stream: Stream, name: str, n_bytes: int) -> Iterator[Fault]:
    """All that is wrong with a safetensors file of `n_bytes`; its numbers are read only where its header holds."""
    length = int.from_bytes(read_exactly(stream, 8), "little")
    if n_bytes < 8 or length > min(MAX_HEADER, n_bytes - 8):
        problem = f"says that its header has {length:,} bytes, at most {MAX_HEADER:,} of its own {n_bytes:,} are read"
        yield Fault(code=_HEADER, place=name, problem=problem)
        return
    try:
        header = read_json(read_exactly(stream, length), most=MAX_HEADER)
        tensors = _tensors(header)
    except ValueError as error:
        yield Fault(code=_HEADER, place=name, problem=f"its header {error}")
        return
    faults = [*_kinds(header, name)] or [*_places(header, tensors, name, n_bytes - 8 - length)]
    yield from faults
    if not faults:
        yield from _numbers(stream, tensors, name)


def _tensors(header: Any) -> list[_Tensor]:
    """In the order of their bytes. ValueError where the header is not made as it should be."""
    if not isinstance(header, dict) or len(header) > MAX_TENSORS:
        raise ValueError(f"is no mapping of at most {MAX_TENSORS:,} tensors")
    found = []
    for key, entry in header.items():
        if key == "__metadata__":
            if not isinstance(entry, dict) or not all(isinstance(text, str) for text in entry.values()):
                raise ValueError("has metadata other than texts")
            continue
        if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
            raise ValueError(f"has an entry {shown(key, 60)!r} that is no dtype, shape and data_offsets")
        offsets = entry["data_offsets"]
        if not isinstance(entry["dtype"], str):
            raise ValueError(f"has a dtype in {shown(key, 60)!r} that is no text")  # noqa: TRY004 (a file's fault)
        if not _are_counts(entry["shape"]) or not _are_counts(offsets) or len(offsets) != 2:
            raise ValueError(f"has a shape or offsets in {shown(key, 60)!r} that are no counts from 0")
        found.append(_Tensor(name=key, kind=entry["dtype"], begin=offsets[0], end=offsets[1]))
    if not found:
        raise ValueError("names no tensor")
    return sorted(found, key=lambda tensor: (tensor.begin, tensor.end))


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MAX_AXES and all(type(n) is int and 0 <= n < 2**48 for n in value)


def _kinds(header: Mapping[str, Any], name: str) -> Iterator[Fault]:
    for key, entry in header.items():
        if key != "__metadata__" and entry["dtype"] not in _KINDS:
            problem = f"has numbers of type {shown(entry['dtype'], 40)!r}, expected one of {', '.join(_KINDS)}"
            yield Fault(code=_KIND, place=f"{name}: {shown(key, 80)}", problem=problem)


def _places(header: Mapping[str, Any], tensors: list[_Tensor], name: str, n_bytes: int) -> Iterator[Fault]:
    """Each tensor has the bytes of its shape, and they lie one behind the other from the header to the end."""
    before = 0
    for tensor in tensors:
        place = f"{name}: {shown(tensor.name, 80)}"
        needed = math.prod(header[tensor.name]["shape"]) * _KINDS[tensor.kind][0]
        if tensor.end - tensor.begin != needed:
            problem = f"its shape needs {needed:,} bytes, its offsets give it {tensor.end - tensor.begin:,}"
            yield Fault(code=_PLACES, place=place, problem=problem)
        if tensor.end > n_bytes:
            problem = f"ends at byte {tensor.end:,} of {n_bytes:,} that there are"
            yield Fault(code=_PLACES, place=place, problem=problem)
        elif tensor.begin != before:
            what = "overlaps the one before it" if tensor.begin < before else "has a gap before it"
            yield Fault(code=_PLACES, place=place, problem=what)
        before = max(before, tensor.end)
    if before < n_bytes:
        problem = f"has {n_bytes - before:,} bytes behind its last tensor"
        yield Fault(code=_PLACES, place=name, problem=problem)


def _numbers(stream: Stream, tensors: list[_Tensor], name: str) -> Iterator[Fault]:
    for tensor in tensors:
        left, is_finite = tensor.end - tensor.begin, True
        while left:
            piece = read_exactly(stream, min(left, CHUNK))
            if not piece:
                return  # it ends before, which its container has said already
            left -= len(piece)
            is_finite = is_finite and _KINDS[tensor.kind][1](np.frombuffer(piece, dtype=np.uint8))
        if not is_finite:
            problem = "has NaN or infinite numbers"
            yield Fault(code=_FINITE, place=f"{name}: {shown(tensor.name, 80)}", problem=problem)
