"""A contact sheet of a data set: a row a person, the queries and then the gallery, each with what it was taken by."""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ...models.base import MODALITIES
from .decoders import broken_image, by_pillow, read_file
from .faces import blurred
from .retrieval import SIDE_NAMES, Images, RetrievalSet, SideName

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

#: Images of a person on each side, at most.
MOST = {"query": 4, "gallery": 6}
#: Of an image on the sheet, in pixels; it keeps its proportions and is centred.
CELL = (192, 96)
#: Between cells, below an image for its caption, beside rows for the person, above all for the title.
_GAP, _CAPTION, _LABEL, _TITLE = 6, 16, 96, 54
#: Between the two sides.
_ALLEY = 18
_PAPER, _INK, _FAINT, _BLANK = (255, 255, 255), (32, 33, 36), (110, 113, 118), (238, 239, 241)
_SIZE, _SMALL = 15, 11


def contact_sheet(data: RetrievalSet, people: int, *, show_faces: bool, advance: Callable[[int], None]) -> bytes:
    """A PNG of some people of a set, always the same ones.

    Args:
        data: the set.
        people: how many; all where there are fewer.
        show_faces: leave heads as they are; otherwise they are blurred past recovery (see `faces`).
        advance: told of every image that is on the sheet.

    Raises:
        InvalidFileError: one of the images does not decode.
    """
    rows = [(who, _of_person(data, who)) for who in chosen_people(data, people)]
    sheet, draw = _canvas(len(rows))
    _title(draw, data, show_faces=show_faces)
    for index, (who, sides) in enumerate(rows):
        top = cell_top(index)
        draw.text((_GAP, top + CELL[0] // 2), f"person {who}", fill=_INK, font=_font(_SIZE), anchor="lm")
        for side, places in sides.items():
            images = data.side(side)
            for column, place in enumerate(places):
                pixels = _pixels(data.root / images.paths[place])
                _put(sheet, pixels if show_faces else blurred(pixels), (top, cell_left(side, column)))
                where = (cell_left(side, column) + CELL[1] // 2, top + CELL[0] + _CAPTION // 2)
                draw.text(where, _caption(images, place), fill=_FAINT, font=_font(_SMALL), anchor="mm")
                advance(1)
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()


def chosen_people(data: RetrievalSet, count: int) -> list[int]:
    """Who is shown, ascending: of those on both sides the ones whose numbers hash lowest."""
    both = set(data.query.identities.tolist()) & set(data.gallery.identities.tolist()) - {-1, 0}
    order = sorted(both, key=lambda who: hashlib.blake2b(str(who).encode()).digest())
    return sorted(order[:count])


def number_of_images(data: RetrievalSet, count: int) -> int:
    """How many images a sheet of so many people has."""
    sides = (_of_person(data, who) for who in chosen_people(data, count))
    return sum(len(places) for side in sides for places in side.values())


def cell_left(side: SideName, column: int) -> int:
    """The first column of pixels of a cell."""
    before = 0 if side == "query" else MOST["query"] * (CELL[1] + _GAP) + _ALLEY
    return _LABEL + before + column * (CELL[1] + _GAP)


def cell_top(row: int) -> int:
    """The first row of pixels of the cells of a person."""
    return _TITLE + row * (CELL[0] + _CAPTION + _GAP)


def _of_person(data: RetrievalSet, who: int) -> dict[SideName, list[int]]:
    """Places on each side: one image of every camera in turn, until there are enough."""
    found: dict[SideName, list[int]] = {}
    for side in SIDE_NAMES:
        images = data.side(side)
        by_eye: dict[tuple[int, int], list[int]] = defaultdict(list)
        for place in np.flatnonzero(images.identities == who).tolist():
            by_eye[int(images.cameras[place]), int(images.modalities[place])].append(place)
        turns = sorted((turn, eye, place) for eye, places in by_eye.items() for turn, place in enumerate(places))
        chosen = turns[: MOST[side]]
        found[side] = [place for _, _, place in sorted(chosen, key=lambda each: (each[1], each[0]))]
    return found


def _caption(images: Images, place: int) -> str:
    return f"camera {images.cameras[place]}, {MODALITIES[images.modalities[place]]}"


def _pixels(file: Path) -> NDArray[np.uint8]:
    try:
        return by_pillow(read_file(file))
    except Exception as error:
        raise broken_image(file, error) from error


def _canvas(rows: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    from PIL import Image, ImageDraw

    size = (cell_left("gallery", MOST["gallery"]), max(cell_top(rows), _TITLE))
    sheet = Image.new("RGB", size, _PAPER)
    return sheet, ImageDraw.Draw(sheet)


def _title(draw: ImageDraw.ImageDraw, data: RetrievalSet, *, show_faces: bool) -> None:
    faces = "" if show_faces else "; heads are blurred"
    text = f"{data.label}, protocol {data.protocol.name}{faces}"
    draw.text((_GAP, _TITLE // 4), text, fill=_INK, font=_font(_SIZE), anchor="lm")
    for side in SIDE_NAMES:
        draw.text((cell_left(side, 0), _TITLE * 3 // 4), side, fill=_FAINT, font=_font(_SIZE), anchor="lm")


def _put(sheet: Image.Image, pixels: NDArray[np.uint8], corner: tuple[int, int]) -> None:
    """Paste an image into its cell, as large as fits."""
    from PIL import Image

    height, width, _ = pixels.shape
    scale = min(CELL[0] / height, CELL[1] / width)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    top, left = corner
    sheet.paste(_BLANK, (left, top, left + CELL[1], top + CELL[0]))
    place = (left + (CELL[1] - size[0]) // 2, top + (CELL[0] - size[1]) // 2)
    sheet.paste(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC), place)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    from PIL import ImageFont

    return ImageFont.load_default(size)
