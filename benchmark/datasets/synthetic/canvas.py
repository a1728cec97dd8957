"""A canvas of whole numbers: ellipses, limbs and polygons painted twice as large as the image, then averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
Point = tuple[int, int]
Whole = NDArray[np.int32]
#: The colours (h, w, 3) of a part of the canvas, from its columns x (1, w) and rows y (h, 1).
Texture = Callable[[Whole, Whole], Whole]

#: Canvas pixels along one image pixel.
SCALE = 2


@dataclass(frozen=True)
class _Box:
    """A part of the canvas: columns (1, w), rows (h, 1), and where a shape begins and ends."""

    xs: Whole
    ys: Whole
    left: int
    right: int


class Canvas:
    """Pixels (height, width, 3), int32 in 0..255, in canvas coordinates: x to the right, y down.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
    """

    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height * SCALE, width * SCALE
        self.pixels: Whole = np.zeros((self.height, self.width, 3), dtype=np.int32)
        #: Where light comes from: brightness falls by so many 1/256 from the left edge of a shape to the right one.
        self.shading = 0

    def rectangle(self, left: int, top: int, right: int, bottom: int, paint: Colour | Texture) -> None:
        """Fill columns left..right-1 and rows top..bottom-1."""
        self._fill(self._box(left, top, right - 1, bottom - 1), None, paint)

    def ellipse(self, centre: Point, radius_x: int, radius_y: int, paint: Colour | Texture) -> None:
        """Fill an ellipse."""
        (x0, y0), rx, ry = centre, max(radius_x, 1), max(radius_y, 1)
        box = self._box(x0 - rx, y0 - ry, x0 + rx, y0 + ry)
        px, py = (box.xs - x0).astype(np.int64), (box.ys - y0).astype(np.int64)
        inside = px * px * (ry * ry) + py * py * (rx * rx) <= rx * rx * ry * ry
        self._fill(box, inside, paint)

    def limb(self, start: Point, end: Point, radius: int, paint: Colour | Texture) -> None:
        """Fill a line as thick as twice the radius, with round ends."""
        (x0, y0), (x1, y1), r = start, end, max(radius, 1)
        box = self._box(min(x0, x1) - r, min(y0, y1) - r, max(x0, x1) + r, max(y0, y1) + r)
        dx, dy = x1 - x0, y1 - y0
        px, py = (box.xs - x0).astype(np.int64), (box.ys - y0).astype(np.int64)
        length = dx * dx + dy * dy
        along, across = px * dx + py * dy, px * dy - py * dx
        beside = (along >= 0) & (along <= length) & (across * across <= r * r * length)
        at_ends = (px * px + py * py <= r * r) | ((px - dx) ** 2 + (py - dy) ** 2 <= r * r)
        self._fill(box, beside | at_ends, paint)

    def polygon(self, corners: Sequence[Point], paint: Colour | Texture) -> None:
        """Fill a convex polygon; its corners go round either way."""
        columns, rows = [x for x, _ in corners], [y for _, y in corners]
        box = self._box(min(columns), min(rows), max(columns), max(rows))
        one_way = other_way = np.array(True)  # noqa: FBT003 (a mask to begin with)
        for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
            turn = (box.xs - x0) * (y1 - y0) - (box.ys - y0) * (x1 - x0)
            one_way, other_way = one_way & (turn >= 0), other_way & (turn <= 0)
        self._fill(box, one_way | other_way, paint)

    def image(self) -> Whole:
        """(height, width, 3) of the image: means of SCALE x SCALE canvas pixels, rounded."""
        corners = [self.pixels[row::SCALE, column::SCALE] for row in range(SCALE) for column in range(SCALE)]
        total: Whole = np.add.reduce(corners)
        return (total + SCALE * SCALE // 2) // (SCALE * SCALE)

    def _box(self, left: int, top: int, right: int, bottom: int) -> _Box:
        """The part of a rectangle, edges included, that is on the canvas."""
        columns = np.arange(max(left, 0), max(min(right + 1, self.width), 0), dtype=np.int32)
        rows = np.arange(max(top, 0), max(min(bottom + 1, self.height), 0), dtype=np.int32)
        return _Box(xs=columns[None, :], ys=rows[:, None], left=left, right=right)

    def _fill(self, box: _Box, inside: NDArray[np.bool_] | None, paint: Colour | Texture) -> None:
        """Paint the pixels of a box that are inside (h, w) a shape; all of them where that is None."""
        if not (box.xs.size and box.ys.size):
            return
        colours = paint(box.xs, box.ys) if callable(paint) else np.array(paint, dtype=np.int32)
        if self.shading:
            place = (box.xs - box.left) * 256 // max(box.right - box.left, 1) - 128  # -128 to 128 from edge to edge
            colours = colours * (256 - place * self.shading // 256)[..., None] // 256
        top, left = box.ys[0, 0], box.xs[0, 0]
        part = self.pixels[top : top + box.ys.size, left : left + box.xs.size]
        np.copyto(part, np.clip(colours, 0, 255), where=True if inside is None else inside[..., None])
