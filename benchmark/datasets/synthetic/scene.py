"""A camera and what it sees: place, light, colour cast, blur and noise; and one picture of one person."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .canvas import SCALE, Canvas, Colour, Whole
from .chance import Chance
from .figure import Figure, Pose, View
from .wardrobe import Person, dress

#: Of every image, in pixels.
HEIGHT, WIDTH = 128, 64

Wall = Literal["plain", "bricks", "panels", "hedge", "windows"]

_WALLS: tuple[Colour, ...] = (
    (150, 142, 132),
    (120, 126, 134),
    (164, 112, 90),
    (92, 112, 84),
    (182, 178, 168),
    (96, 92, 96),
)
_GROUNDS: tuple[Colour, ...] = ((124, 122, 120), (152, 144, 130), (96, 100, 104), (112, 124, 96), (172, 166, 156))
_THINGS: tuple[Colour, ...] = ((70, 74, 80), (140, 60, 52), (66, 92, 72), (184, 180, 170), (52, 66, 104))


@dataclass(frozen=True, kw_only=True)
class Camera:
    """One camera of a site: what is the same in all its pictures. Gains are in 1/256."""

    wall: Wall
    wall_colour: Colour
    ground_colour: Colour
    #: Row where wall and ground meet, in image pixels.
    horizon: int
    #: Gain of each channel.
    cast: tuple[int, ...]
    #: Added to every channel: haze, in counts of 0..255.
    haze: int
    exposure: int
    #: How much darker one edge of a body is than the other, and which.
    shading: int
    #: Passes of a 1-2-1 filter along both axes.
    blur: int
    #: Largest noise of a pixel, in counts.
    noise: int
    #: From which sides people are seen, and how often.
    views: tuple[tuple[View, int], ...]


def install(seed: int, camera: int) -> Camera:
    """The camera of a number."""
    chance = Chance(seed, "camera", camera)
    front = chance.between(1, 4)
    return Camera(
        wall=chance.pick(("plain", "bricks", "panels", "hedge", "windows")),
        wall_colour=chance.pick(_WALLS),
        ground_colour=chance.pick(_GROUNDS),
        horizon=chance.between(44, 84),
        cast=(chance.between(196, 316), chance.between(216, 296), chance.between(196, 316)),
        haze=chance.between(0, 26),
        exposure=chance.between(180, 316),
        shading=chance.between(-90, 90),
        blur=chance.between(0, 2),
        noise=chance.between(3, 10),
        views=(("front", front), ("back", 5 - front), ("left", chance.between(1, 2)), ("right", chance.between(1, 2))),
    )


def picture(seed: int, identity: int, camera: int, shot: int) -> NDArray[np.uint8]:
    """The image (128, 64, 3), RGB, of a person by a camera: these four numbers decide every bit of it."""
    chance = Chance(seed, "shot", identity, camera, shot)
    place = install(seed, camera)
    return taken(composed(partial(dress, seed), identity, place, chance), place, chance)


def composed(dressed: Callable[[int], Person], identity: int, place: Camera, chance: Chance) -> Whole:
    """The scene (128, 64, 3) in 0..255 before a camera takes it: the place, the person, maybe a passer-by.

    Args:
        dressed: what somebody of a number looks like.
        identity: who is in the middle.
        place: where.
        chance: of the picture.
    """
    person, canvas = dressed(identity), Canvas(HEIGHT, WIDTH)
    _background(canvas, place, chance)
    canvas.shading = place.shading
    if chance.one_in(5):
        passer = dressed(1_000_000 + chance.below(1_000_000))
        edge = chance.pick((-1, 1))
        _figure(passer, place, chance, canvas, shift=edge * chance.between(26, 36), shrink=chance.between(70, 92))
    _figure(person, place, chance, canvas, shift=0, shrink=100)
    canvas.shading = 0
    if chance.one_in(3):
        _obstacle(canvas, chance)
    return canvas.image()


def _figure(person: Person, place: Camera, chance: Chance, canvas: Canvas, *, shift: int, shrink: int) -> None:
    """Stand a person into the scene; `shift` in image pixels from the middle, `shrink` in percent."""
    size = canvas.height * person.height // 1000 * chance.between(84, 100) // 100 * shrink // 100
    pose = Pose(
        view=chance.weighted(place.views),
        stride=chance.between(20, 120),
        swing=chance.between(-60, 90),
        foot=chance.pick((-1, 1)),
    )
    feet = canvas.height - chance.between(0, 12)
    axis = canvas.width // 2 + SCALE * (shift + chance.around(0, 5))
    Figure(person=person, pose=pose, axis=axis, crown=feet - size, size=size).draw(canvas)


def _background(canvas: Canvas, place: Camera, chance: Chance) -> None:
    horizon = SCALE * (place.horizon + chance.between(-6, 6))
    shift = chance.below(64)
    wall = np.array(place.wall_colour, np.int32)

    def textured(xs: Whole, ys: Whole) -> Whole:
        x, y = xs + shift, ys + 1000 - horizon
        light = _brickwork(place.wall, x, y, horizon)
        colours: Whole = wall * light[..., None] // 256
        return colours

    canvas.rectangle(0, 0, canvas.width, horizon, textured)
    ground = np.array(place.ground_colour, np.int32)

    def paved(xs: Whole, ys: Whole) -> Whole:
        depth = ys - horizon
        lines = ((depth * depth // 90) % 14 < 2) | (
            (abs(xs - canvas.width // 2 + shift - 32) * 64 // (depth + 40)) % 30 < 2
        )
        colours: Whole = ground * np.where(lines, 226, 240 + depth // 16)[..., None] // 256
        return colours

    canvas.rectangle(0, horizon, canvas.width, canvas.height, paved)
    for _ in range(chance.below(3)):
        left, width = chance.between(-20, canvas.width - 10), chance.between(12, 46)
        bottom = horizon + chance.between(0, 36)
        canvas.rectangle(left, bottom - chance.between(24, 90), left + width, bottom, chance.pick(_THINGS))


def _brickwork(wall: Wall, x: Whole, y: Whole, horizon: int) -> Whole:
    """How light (h, w) a wall is, in 1/256; x (1, w), and y (h, 1) that is 1000 at the horizon."""
    even = np.full(np.broadcast_shapes(x.shape, y.shape), 256, dtype=np.int32)
    if wall == "bricks":
        return np.where((y % 12 < 2) | ((x + y // 12 * 9) % 26 < 2), 205, even)
    if wall == "panels":
        return np.where(x % 44 < 3, 180, even)
    if wall == "hedge":
        return even - 66 + np.mod(x * 37 + y * 101 + x * y * 7, 97, dtype=np.int32)
    if wall == "windows":
        return np.where((x % 48 < 30) & (y % 60 < 42), 130, even)
    return even - (y + horizon - 1000) * 40 // max(horizon, 1)


def _obstacle(canvas: Canvas, chance: Chance) -> None:
    """Something between the camera and the person."""
    colour = chance.pick(_THINGS)
    kind = chance.below(3)
    if kind == 0:  # a post
        left = chance.between(10, canvas.width - 22)
        canvas.rectangle(left, 0, left + chance.between(6, 13), canvas.height, colour)
    elif kind == 1:  # a box or a parked car, up to the knees or the hips
        top = canvas.height - chance.between(40, 96)
        left = chance.between(-30, 60)
        canvas.rectangle(left, top, left + chance.between(60, 120), canvas.height, colour)
    else:  # the door frame at one edge
        width = chance.between(14, 34)
        left = chance.pick((0, canvas.width - width))
        canvas.rectangle(left, 0, left + width, canvas.height, colour)


def taken(image: Whole, place: Camera, chance: Chance) -> NDArray[np.uint8]:
    """What the camera makes of a scene (H, W, C) in 0..255, C the channels it has a gain for."""
    for _ in range(place.blur + chance.below(2)):
        for axis in (0, 1):
            image = (_moved(image, 1, axis) + 2 * image + _moved(image, -1, axis) + 2) // 4
    exposure = place.exposure * chance.between(190, 322) // 256
    tint = [gain * chance.between(240, 272) // 256 for gain in place.cast]
    gain = np.array(tint, np.int32) * exposure // 256
    rows = np.arange(len(image), dtype=np.int32)[:, None, None]
    light = 256 + (rows - len(image) // 2) * chance.between(-64, 64) // len(image)
    image = image * gain // 256 * light // 256 + place.haze
    noise = (chance.field(*image.shape) % np.uint64(2 * place.noise + 1)).astype(np.int32) - place.noise
    pixels: NDArray[np.uint8] = np.clip(image + noise, 0, 255).astype(np.uint8)
    return pixels


def _moved(image: Whole, step: int, axis: int) -> Whole:
    """The image one pixel further along an axis, its edge repeated."""
    index = np.clip(np.arange(image.shape[axis]) + step, 0, image.shape[axis] - 1)
    return image.take(index, axis)
