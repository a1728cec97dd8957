"""Decoders: the fastest that is installed for ordinary JPEG, Pillow for all else; every pixel is Pillow's.

Published scores rest on Pillow's pixels. So a faster decoder is used for a kind of JPEG (coding process and
subsampling) only after it gave the same pixels on images of that kind, and what it refuses Pillow decides.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ... import InvalidFileError

#: Fills (H, W, 3) uint8 RGB with the pixels of a JPEG; raises where that is not a whole image of this size.
Decode = Callable[[bytes, NDArray[np.uint8]], None]

_START, _END = b"\xff\xd8\xff", b"\xff\xd9"
#: Baseline, extended sequential and progressive, all with Huffman codes.
_FRAMES = (0xC0, 0xC1, 0xC2)
_SCAN, _ADOBE, _QUANTISATION = 0xDA, 0xEE, 0xDB
#: What else stands before a scan: tables, the restart interval, notes of applications, comments.
_SEGMENTS = frozenset({*_FRAMES, _SCAN, 0xC4, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xFE})
#: A frame's header: bits a sample, height, width, layers; what follows says how the layers are subsampled.
_FRAME = struct.Struct(">BHHB")
_BITS, _LAYERS = 8, 3
#: A marker among coded pixels, other than a restart's: the end, or a further scan.
_MARKER = re.compile(rb"\xff(?![\x00\xd0-\xd7])")


@dataclass(frozen=True)
class JpegHeader:
    """What stands before the pixels of an ordinary JPEG."""

    height: int
    width: int
    #: Coding process, layers with their subsampling, and Adobe's note on colours: all that chooses code paths.
    kind: bytes
    #: Where coded pixels begin.
    n_bytes: int


def jpeg_header(content: bytes) -> JpegHeader | None:
    """The header of an ordinary JPEG: three layers of 8 bits, Huffman codes; None for anything else.

    None also where it breaks off before the first scan.
    """
    if not content.startswith(_START):
        return None
    place, height, width, kind, last = 2, 0, 0, b"", len(content)
    while place + 4 <= last and content[place] == 0xFF:
        marker, body = content[place + 1], place + 4
        end = place + 2 + (content[place + 2] << 8 | content[place + 3])
        if marker not in _SEGMENTS or end > last:
            break
        if marker == _SCAN:
            return JpegHeader(height, width, kind, end) if height and width else None
        if marker == _QUANTISATION and not _are_tables(content[body:end]):
            break
        if marker in _FRAMES:
            if height or end - body < _FRAME.size:
                break
            bits, height, width, layers = _FRAME.unpack_from(content, body)
            if (bits, layers) != (_BITS, _LAYERS):
                break
            kind += content[place + 1 : place + 2] + content[body + _FRAME.size : end]
        elif marker == _ADOBE:
            kind += content[body:end]
        place = end
    return None


def _are_tables(segment: bytes) -> bool:
    """Whether a segment is quantisation tables of 8 bits: 64 entries after a byte that says which."""
    return bool(segment) and len(segment) % 65 == 0 and max(segment[::65]) < 16


def _simplejpeg() -> Decode:
    module: Any = import_module("simplejpeg")

    def decode(content: bytes, into: NDArray[np.uint8]) -> None:
        found = module.decode_jpeg(content, "RGB", fastdct=False, fastupsample=False, buffer=into, strict=True)
        if found.shape != into.shape:
            raise ValueError("expected a whole image")

    return decode


def _opencv() -> Decode:
    module: Any = import_module("cv2")
    flags = module.IMREAD_COLOR | module.IMREAD_IGNORE_ORIENTATION

    def decode(content: bytes, into: NDArray[np.uint8]) -> None:
        # OpenCV gives what it has of a file that is cut off or damaged, without a word; so it only gets files of one
        # scan with nothing amiss between the header and the end.
        header = jpeg_header(content)
        stop = header and _MARKER.search(content, header.n_bytes)
        if not stop or content[stop.start() :] != _END:
            raise ValueError("expected one whole scan")
        found = module.imdecode(np.frombuffer(content, np.uint8), flags)
        if found is None or found.shape != into.shape:
            raise ValueError("expected a whole image")
        module.cvtColor(found, module.COLOR_BGR2RGB, dst=into)

    return decode


#: By name, the fastest first; a function that gives the decoder, or raises where it is not installed.
JPEG_DECODERS: Mapping[str, Callable[[], Decode]] = {"simplejpeg": _simplejpeg, "cv2": _opencv}


@dataclass(frozen=True, kw_only=True)
class JpegDecoder:
    """A fast decoder, and what it may decode."""

    name: str
    decode: Decode
    #: The kinds of JPEG on which it was seen to give Pillow's pixels.
    kinds: frozenset[bytes]

    def fills(self, into: NDArray[np.uint8], content: bytes) -> bool:
        """Whether `into` (H, W, 3) holds the image now; where not, Pillow decides what it is."""
        header = jpeg_header(content)
        if header is None or header.kind not in self.kinds or (header.height, header.width) != into.shape[:2]:
            return False
        try:
            self.decode(content, into)
        except Exception:  # noqa: BLE001 (whatever it makes of a broken file: Pillow says what is wrong)
            return False
        return True


def fast_decoder(contents: Iterable[bytes]) -> JpegDecoder | None:
    """The fastest decoder that gives Pillow's pixels on a sample of files; None where Pillow is to decode all.

    Args:
        contents: files of a set, spread over it; those that are no ordinary JPEG say nothing.
    """
    sample = [(header.kind, content) for content in contents if (header := jpeg_header(content))]
    known: list[tuple[bytes, bytes, NDArray[np.uint8]]] = []
    for kind, content in sample:
        try:
            known.append((kind, content, by_pillow(content)))
        except Exception:  # noqa: BLE001, S112 (it is named when its turn comes)
            continue
    for name, make in JPEG_DECODERS.items() if known else ():
        try:
            decode = make()
        except Exception:  # noqa: BLE001, S112 (not installed, or not able to start: the next one)
            continue
        wrong = {kind for kind, content, pixels in known if not _agrees(decode, content, pixels)}
        if kinds := {kind for kind, _, _ in known} - wrong:
            return JpegDecoder(name=name, decode=decode, kinds=frozenset(kinds))
    return None


def _agrees(decode: Decode, content: bytes, pixels: NDArray[np.uint8]) -> bool:
    found = np.zeros_like(pixels)
    try:
        decode(content, found)
    except Exception:  # noqa: BLE001 (another release of it, with other arguments)
        return False
    return np.array_equal(found, pixels)


def by_pillow(content: bytes) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of a file of any format; raises whatever Pillow raises."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as image:
        image.load()
        return np.asarray(image if image.mode == "RGB" else image.convert("RGB"), dtype=np.uint8)


def decode_file(file: Path | str, size: Sequence[int], decoder: JpegDecoder | None) -> NDArray[np.uint8]:
    """(H, W, 3) RGB of one file of a set.

    Args:
        file: the file.
        size: its (height, width), as the manifest says.
        decoder: what decodes ordinary JPEG.

    Raises:
        InvalidFileError: it does not decode to the end, or has another size.
    """
    pixels = np.empty((*size, _LAYERS), dtype=np.uint8)
    try:
        content = read_file(file)
        if decoder is None or not decoder.fills(pixels, content):
            pixels = by_pillow(content)
    except Exception as error:
        raise broken_image(file, error) from error
    if pixels.shape[:2] != tuple(size):
        raise broken_image(file, ValueError("it changed while it was read"))
    return pixels


def read_file(file: Path | str) -> bytes:
    """All of a file, in one call to the system: images are many and small."""
    with open(file, "rb", buffering=0) as opened:  # noqa: PTH123 (a Path costs as much as the reading)
        return opened.read()


def broken_image(file: Path | str, error: Exception) -> InvalidFileError:
    """The one sentence for a file that does not decode."""
    # Pillow names what it was given, and that is our buffer.
    unknown = type(error).__name__ == "UnidentifiedImageError"
    reason = "no image format that is known" if unknown else f"{type(error).__name__}: {error}"
    return InvalidFileError(f"{str(file)!r} is not a readable image ({reason}); restore it or remove it from the set.")


def default_workers() -> int:
    """How many threads decode where nothing else was asked for: one a core, and at most eight.

    What is Python's own of the work, one thread does at a time, so that many would wait for each other.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores, 8)
