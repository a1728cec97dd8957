"""Shapes of whole numbers, against their own definitions point by point."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from robustreid.benchmark.datasets.synthetic.canvas import SCALE, Canvas

WHITE = (255, 255, 255)


def painted(canvas: Canvas) -> set[tuple[int, int]]:
    """The (x, y) that are not black."""
    return {(int(x), int(y)) for y, x in np.argwhere(canvas.pixels.any(2))}


def test_an_ellipse_is_its_equation() -> None:
    """Every point inside, none outside."""
    canvas = Canvas(16, 16)
    canvas.ellipse((14, 12), 9, 5, WHITE)
    expected = {
        (x, y) for x in range(32) for y in range(32) if Fraction((x - 14) ** 2, 81) + Fraction((y - 12) ** 2, 25) <= 1
    }
    assert painted(canvas) == expected


def test_a_limb_is_all_points_near_its_line() -> None:
    """A point belongs to it exactly when its distance from the segment is at most the radius."""
    canvas = Canvas(16, 16)
    start, end, radius = (8, 7), (22, 19), 4
    canvas.limb(start, end, radius, WHITE)
    dx, dy = end[0] - start[0], end[1] - start[1]
    expected = set()
    for x in range(32):
        for y in range(32):
            along = Fraction((x - start[0]) * dx + (y - start[1]) * dy, dx * dx + dy * dy)
            t = min(max(along, Fraction(0)), Fraction(1))
            distance2 = (x - start[0] - t * dx) ** 2 + (y - start[1] - t * dy) ** 2
            if distance2 <= radius * radius:
                expected.add((x, y))
    assert painted(canvas) == expected


def test_a_polygon_goes_round_either_way() -> None:
    """The same corners in reverse paint the same points, and all corners are among them."""
    corners = [(3, 4), (20, 6), (24, 25), (5, 18)]
    one, other = Canvas(16, 16), Canvas(16, 16)
    one.polygon(corners, WHITE)
    other.polygon(corners[::-1], WHITE)
    assert painted(one) == painted(other)
    assert set(corners) <= painted(one)


def test_what_lies_beyond_the_edge_is_cut() -> None:
    """Shapes that leave the canvas, wholly or in part, are no error."""
    canvas = Canvas(8, 8)
    canvas.ellipse((-40, -40), 5, 5, WHITE)
    canvas.rectangle(50, 0, 60, 4, WHITE)
    canvas.rectangle(5, 9, 2, 12, WHITE)
    assert not painted(canvas)
    canvas.limb((-10, 8), (30, 8), 2, WHITE)
    assert {y for _, y in painted(canvas)} == {6, 7, 8, 9, 10}


def test_the_image_is_the_rounded_mean_of_its_blocks() -> None:
    """Averages are exact and round half up."""
    canvas = Canvas(4, 2)
    canvas.pixels[:] = np.arange(canvas.pixels.size).reshape(canvas.pixels.shape) % 251
    blocks = canvas.pixels.reshape(4, SCALE, 2, SCALE, 3).mean((1, 3))
    assert np.array_equal(canvas.image(), np.floor(blocks + 0.5).astype(int))
