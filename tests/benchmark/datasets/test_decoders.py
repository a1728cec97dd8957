"""Fast decoders: Pillow's pixels and Pillow's refusals, whatever is installed and whatever a file is."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from robustreid import InvalidFileError
from robustreid.benchmark.datasets import decoders
from robustreid.benchmark.datasets.decoders import (
    JPEG_DECODERS,
    JpegDecoder,
    by_pillow,
    decode_file,
    default_workers,
    fast_decoder,
    jpeg_header,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from robustreid.benchmark.datasets.decoders import Decode

SIZE = (29, 22)
#: Files that a fast decoder may take.
ORDINARY = ("444", "422", "420", "restarts", "optimised", "orientation", "profile")


def jpeg(image: Image.Image, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, "JPEG", **options)
    return content.getvalue()


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """Smooth colours and a noisy corner: every part of a coder has something to do."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    pixels = np.stack([rows * 8, columns * 11, 255 - rows * columns % 256], axis=-1).astype(np.uint8)
    pixels[:9, :9] = np.random.default_rng(5).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def files(picture: Image.Image) -> dict[str, bytes]:
    """Files of every kind that a data set may hold, by what is special about them."""
    orientation = Image.Exif()
    orientation[0x0112] = 6
    png, deep = io.BytesIO(), io.BytesIO()
    picture.save(png, "PNG")
    Image.fromarray(np.arange(SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE) * 90).save(deep, "PNG")
    return {
        "444": jpeg(picture, subsampling=0),
        "422": jpeg(picture, subsampling=1),
        "420": jpeg(picture, subsampling=2),
        "restarts": jpeg(picture, restart_marker_blocks=1),
        "optimised": jpeg(picture, optimize=True, quality=30),
        "orientation": jpeg(picture, exif=orientation),
        "profile": jpeg(picture, icc_profile=b"a profile" * 30, comment=b"a comment"),
        "progressive": jpeg(picture, progressive=True),
        "grey": jpeg(picture.convert("L")),
        "cmyk": jpeg(picture.convert("CMYK")),
        "png": png.getvalue(),
        "16 bits": deep.getvalue(),
    }


@pytest.fixture(params=list(JPEG_DECODERS))
def decode(request: pytest.FixtureRequest) -> Decode:
    """Every fast decoder that is installed."""
    pytest.importorskip(request.param, reason=f"{request.param} is not installed")
    return JPEG_DECODERS[request.param]()


def all_kinds(decode: Decode, files: Mapping[str, bytes]) -> JpegDecoder:
    """A decoder that is trusted with every kind of JPEG among the files."""
    headers = [header for content in files.values() if (header := jpeg_header(content))]
    return JpegDecoder(name="all", decode=decode, kinds=frozenset(header.kind for header in headers))


def differing(decoder: JpegDecoder, files: Mapping[str, bytes]) -> list[str]:
    """The files of which a decoder makes other pixels than Pillow."""
    wrong = []
    for name, content in files.items():
        found = np.zeros((*SIZE, 3), dtype=np.uint8)
        if decoder.fills(found, content) and not np.array_equal(found, by_pillow(content)):
            wrong.append(name)
    return wrong


def accepted(decoder: JpegDecoder, damaged: Mapping[str, bytes]) -> list[str]:
    """The damaged files that Pillow refuses and a decoder takes, or of which it makes something else."""
    wrong = []
    for name, content in damaged.items():
        found = np.zeros((*SIZE, 3), dtype=np.uint8)
        if not decoder.fills(found, content):
            continue
        try:
            expected = by_pillow(content)
        except Exception:  # noqa: BLE001 (whatever it is that Pillow says)
            wrong.append(name)
        else:
            wrong += [name] * (not np.array_equal(found, expected))
    return wrong


def damages(content: bytes) -> dict[str, bytes]:
    """A file cut off at every place, with and without an end put on, and with single bytes changed."""
    rng = np.random.default_rng(9)
    found = {f"cut at {end}": content[:end] for end in range(len(content))}
    found |= {f"cut at {end}, ended": content[:end] + b"\xff\xd9" for end in range(0, len(content), 5)}
    for place in rng.integers(0, len(content), 400).tolist():
        found[f"changed at {place}"] = content[:place] + rng.bytes(1) + content[place + 1 :]
    return found


def pillows(content: bytes, into: NDArray[np.uint8]) -> None:
    """A double of a right decoder."""
    into[...] = by_pillow(content)


def rotating(content: bytes, into: NDArray[np.uint8]) -> None:
    """A wrong twin: it applies the orientation, as OpenCV does where it is not told otherwise."""
    pillows(content, into)
    with Image.open(io.BytesIO(content)) as image:
        if image.getexif():
            into[...] = into[::-1, ::-1]


def lenient(content: bytes, into: NDArray[np.uint8]) -> None:
    """A wrong twin: what is missing of a file stays black."""
    whole = content + b"\0" * 100 + b"\xff\xd9"
    pillows(whole, into)


def test_headers_are_pillows(files: dict[str, bytes]) -> None:
    """Ordinary files have the size that Pillow says; others have no header here."""
    headers = {name: jpeg_header(content) for name, content in files.items()}
    assert {name for name, header in headers.items() if header} == {*ORDINARY, "progressive"}
    for header in headers.values():
        assert header is None or (header.height, header.width) == SIZE


def test_kinds_tell_code_paths_apart(files: dict[str, bytes]) -> None:
    """Subsampling and coding process are in a kind; tables, profiles and orientation are not."""
    kinds = {name: header.kind for name, content in files.items() if (header := jpeg_header(content))}
    assert len({kinds[name] for name in ("444", "422", "420", "progressive")}) == 4
    assert {kinds[name] for name in ("restarts", "optimised", "orientation", "profile")} == {kinds["420"]}


def test_pixels_are_pillows(decode: Decode, files: dict[str, bytes]) -> None:
    """Of every file that an installed decoder takes; and it takes the ordinary ones."""
    decoder = all_kinds(decode, files)
    assert differing(decoder, files) == []
    into = np.zeros((*SIZE, 3), dtype=np.uint8)
    assert [name for name in ORDINARY if not decoder.fills(into, files[name])] == []


def test_a_decoder_that_rotates_is_caught(files: dict[str, bytes]) -> None:
    """The same check refuses a decoder that applies the orientation."""
    assert differing(all_kinds(pillows, files), files) == []
    assert differing(all_kinds(rotating, files), files) == ["orientation"]


@pytest.mark.parametrize("name", ["420", "444", "progressive", "restarts"])
def test_damaged_files_are_left_to_pillow(decode: Decode, files: dict[str, bytes], name: str) -> None:
    """What Pillow refuses no decoder takes; what it takes has Pillow's pixels."""
    assert accepted(all_kinds(decode, files), damages(files[name])) == []


def test_a_decoder_that_takes_parts_is_caught(files: dict[str, bytes]) -> None:
    """The same check refuses a decoder that gives what it has of a file that is cut off."""
    decoder = all_kinds(lenient, files)
    wrong = accepted(decoder, damages(files["420"]))
    assert len([name for name in wrong if name.startswith("cut")]) > 100
    assert accepted(all_kinds(pillows, files), damages(files["420"])) == []


def test_a_cut_file_has_the_same_sentence(decode: Decode, files: dict[str, bytes], tmp_path: Path) -> None:
    """With a fast decoder and without, the refusal reads the same."""
    said = []
    for end in (2, 300, len(files["420"]) - 150, len(files["420"]) - 1):
        file = tmp_path / "0001_c1s1_000001_00.jpg"
        file.write_bytes(files["420"][:end])
        for decoder in (None, all_kinds(decode, files)):
            with pytest.raises(InvalidFileError) as caught:
                decode_file(file, SIZE, decoder)
            said.append(str(caught.value))
    assert said[::2] == said[1::2]
    assert "truncated" in said[-1]


def test_another_size_is_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    """Rows and columns swapped hold as many pixels, and are another image all the same."""
    file = tmp_path / "0001_c1s1_000001_00.jpg"
    file.write_bytes(files["420"])
    for decoder in (None, all_kinds(pillows, files)):
        np.testing.assert_array_equal(decode_file(file, SIZE, decoder), by_pillow(files["420"]))
        with pytest.raises(InvalidFileError, match="it changed while it was read"):
            decode_file(file, SIZE[::-1], decoder)


def install(monkeypatch: pytest.MonkeyPatch, **found: Callable[[], Decode]) -> None:
    monkeypatch.setattr(decoders, "JPEG_DECODERS", found)


def absent() -> Decode:
    raise ImportError("no such module")


def test_the_first_that_agrees_is_used(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is not installed and one with other pixels are passed over."""

    def brighter(content: bytes, into: NDArray[np.uint8]) -> None:
        into[...] = by_pillow(content) | 1

    install(monkeypatch, none=absent, brighter=lambda: brighter, right=lambda: pillows, later=lambda: pillows)
    found = fast_decoder(files.values())
    assert found is not None
    assert found.name == "right"
    install(monkeypatch, none=absent, brighter=lambda: brighter)
    assert fast_decoder(files.values()) is None
    install(monkeypatch, right=lambda: pillows)
    assert fast_decoder([files["png"], files["grey"], b""]) is None


def test_a_kind_that_disagrees_or_was_not_seen_is_pillows(
    files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A decoder with another upsampling is used for the rest alone, and never for what the sample lacks."""

    def coarse(content: bytes, into: NDArray[np.uint8]) -> None:
        pillows(content, into)
        if content == files["420"]:
            into[0, 0] ^= 1

    install(monkeypatch, coarse=lambda: coarse)
    found = fast_decoder([files["444"], files["420"], files["orientation"]])
    assert found is not None
    into = np.zeros((*SIZE, 3), dtype=np.uint8)
    assert [name for name in files if found.fills(into, files[name])] == ["444"]


def test_a_damaged_file_in_the_sample_says_nothing(files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its turn to be named comes later; the others decide."""
    install(monkeypatch, right=lambda: pillows)
    found = fast_decoder([files["420"][:-90], files["444"]])
    assert found is not None
    assert found.kinds == {header.kind for header in [jpeg_header(files["444"])] if header}


def test_there_is_a_thread() -> None:
    """A number of threads that a pool accepts, and no more than help."""
    assert 1 <= default_workers() <= 8
