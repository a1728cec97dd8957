"""A person on a canvas: trunk, limbs, clothes and bag, seen from four sides, standing or walking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from .canvas import Canvas, Colour, Point, Texture, Whole
from .wardrobe import Person, in_second_colour

View = Literal["front", "back", "left", "right"]

_LONG_SLEEVES = frozenset({"shirt", "jacket", "coat", "hoodie"})
_OPEN = frozenset({"jacket", "coat"})


@dataclass(frozen=True, kw_only=True)
class Pose:
    """How a person stands in one picture."""

    view: View
    #: How far the feet are apart in a step, in thousandths of the body's height.
    stride: int
    #: How far the hands swing.
    swing: int
    #: 1 or -1: which leg is in front.
    foot: int


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A person placed on a canvas; body coordinates are (u, v) in thousandths: right of the axis, below the crown."""

    person: Person
    pose: Pose
    #: Canvas column of the body's axis, canvas row of the crown, canvas pixels of the whole height.
    axis: int
    crown: int
    size: int

    def draw(self, canvas: Canvas) -> None:
        """Paint it, the far parts first."""
        person, pose = self.person, self.pose
        far, near = (-1, 1)
        canvas.ellipse(self._at(0, 985), self._len(190), self._len(22), _dark(_pixel(canvas, self._at(150, 992)), 170))
        if pose.view == "front" and person.hair in {"long", "tail"}:
            self._mane(canvas)
        if pose.view != "back" and person.bag == "backpack":
            self._backpack(canvas)
        if self._is_side:
            self._arm(canvas, far)
        for side in (far * pose.foot, near * pose.foot):
            self._leg(canvas, side)
        self._trunk(canvas)
        if not self._is_side:
            self._arm(canvas, far)
        self._head(canvas)
        self._arm(canvas, near)
        if pose.view == "back" and person.bag == "backpack":
            self._backpack(canvas)
        self._carried_bag(canvas)

    @property
    def _is_side(self) -> bool:
        return self.pose.view in {"left", "right"}

    @property
    def _ahead(self) -> int:
        """Where the nose points in the picture: -1 left, 1 right, 0 to or from the viewer."""
        return {"left": -1, "right": 1}.get(self.pose.view, 0)

    @property
    def _shoulder(self) -> int:
        width = self.person.shoulder * (900 + self.person.girth // 10) // 1000
        return width * 62 // 100 if self._is_side else width

    def _at(self, u: int, v: int) -> Point:
        return self.axis + u * self.size // 1000, self.crown + v * self.size // 1000

    def _len(self, length: int) -> int:
        return max(length * self.size // 1000, 1)

    def _thick(self, radius: int) -> int:
        return self._len(radius * self.person.girth // 1000)

    def _leg(self, canvas: Canvas, side: int) -> None:
        person, pose = self.person, self.pose
        if self._is_side:
            hip, knee, ankle = 0, side * pose.stride * 6 // 10 + 14 * self._ahead, side * pose.stride
            lift = 12 if side * self._ahead < 0 else 0
        else:
            spread = self._shoulder * 46 // 100
            hip, knee, ankle = side * spread, side * (spread + 3), side * (spread + 4)
            lift = pose.stride // 5 if side == pose.foot else 0
        joints = [self._at(hip, 500), self._at(knee, 725 - lift), self._at(ankle, 945 - lift)]
        above = person.lower_colour if person.lower != "skirt" else person.skin
        below = person.lower_colour if person.lower in {"trousers", "jeans"} else person.skin
        if self._is_side and side * self._ahead < 0:
            above, below = _dark(above, 205), _dark(below, 205)
        canvas.limb(joints[1], joints[2], self._thick(33), below)
        canvas.limb(joints[0], joints[1], self._thick(46), above)
        if person.lower == "shorts":
            canvas.limb(joints[1], self._at(knee, 750 - lift), self._thick(42), above)
        toe = ankle + 22 * self._ahead
        canvas.ellipse(self._at(toe, 966 - lift), self._len(46 if self._is_side else 36), self._len(24), person.shoes)

    def _trunk(self, canvas: Canvas) -> None:
        person, w = self.person, self._shoulder
        waist = w * (78 + person.girth // 100) // 100
        cloth = self._cloth()
        hem = {"coat": 700, "hoodie": 555}.get(person.upper, 535)
        hips = [self._at(-w * 86 // 100, 480), self._at(w * 86 // 100, 480)]
        canvas.polygon([*hips, self._at(w * 82 // 100, 560), self._at(-w * 82 // 100, 560)], person.lower_colour)
        if person.lower == "skirt":
            flare = w * 120 // 100
            bottom = [self._at(flare, 715), self._at(-flare, 715)]
            canvas.polygon([*hips, *bottom], person.lower_colour)
        canvas.limb(self._at(0, 120), self._at(0, 168), self._len(36), _dark(person.skin, 225))
        if person.upper == "hoodie":
            canvas.ellipse(
                self._at(-16 * self._ahead, 165), self._len(78), self._len(46), _dark(person.upper_colour, 215)
            )
        # Two slabs, since polygons are convex: shoulders to waist, waist to hem.
        canvas.limb(self._at(-w + 38, 200), self._at(w - 38, 200), self._len(40), cloth)
        middle = [self._at(waist, 390), self._at(-waist, 390)]
        canvas.polygon([self._at(-w, 200), self._at(w, 200), *middle], cloth)
        low = w * (104 if person.upper == "coat" else 90) // 100
        canvas.polygon([*reversed(middle), self._at(low, hem), self._at(-low, hem)], cloth)
        if person.upper in _OPEN and self.pose.view == "front":
            canvas.polygon(
                [self._at(-34, 166), self._at(34, 166), self._at(24, hem), self._at(-24, hem)], person.second_colour
            )
        if person.upper == "hoodie" and self.pose.view == "front":
            pocket = [self._at(-58, 430), self._at(58, 430), self._at(74, 510), self._at(-74, 510)]
            canvas.polygon(pocket, _dark(person.upper_colour, 205))

    def _cloth(self) -> Texture:
        person, pose = self.person, self.pose
        first, second = np.array(person.upper_colour, np.int32), np.array(person.second_colour, np.int32)

        def texture(xs: Whole, ys: Whole) -> Whole:
            # Shifted, so that no coordinate is negative.
            u = (xs - self.axis) * 1000 // self.size + 2000
            v = (ys - self.crown) * 1000 // self.size + 2000
            is_second = in_second_colour(person, u, v, faces=pose.view == "front")
            return np.where(is_second[..., None], second, first)

        return texture

    def _arm(self, canvas: Canvas, side: int) -> None:
        person, pose, w = self.person, self.pose, self._shoulder
        if self._is_side:
            swing = side * pose.swing * self._ahead
            joints = [(0, 205), (swing // 2 - 10 * self._ahead, 345), (swing + 16 * self._ahead, 470)]
        else:
            bend = pose.swing // 5 * (1 if side == pose.foot else -1)
            joints = [(side * (w - 16), 205), (side * (w + 22), 345 - bend // 3), (side * (w + 16), 475 - bend)]
        shoulder, elbow, hand = (self._at(u, v) for u, v in joints)
        dim = 205 if self._is_side and side < 0 else 238
        sleeve, skin = _dark(person.upper_colour, dim), _dark(person.skin, dim)
        canvas.ellipse(hand, self._len(24), self._len(30), skin)
        canvas.limb(elbow, hand, self._thick(25), sleeve if person.upper in _LONG_SLEEVES else skin)
        canvas.limb(shoulder, elbow, self._thick(32), skin if person.upper == "vest" else sleeve)

    def _head(self, canvas: Canvas) -> None:
        person, ahead, view = self.person, self._ahead, self.pose.view
        hair = person.hair_colour
        covered = person.hair != "bald"
        if person.hair == "hood":
            canvas.ellipse(self._at(-10 * ahead, 78), self._len(72), self._len(88), hair)
        if view == "back":
            canvas.ellipse(self._at(0, 72), self._len(54), self._len(70), hair if covered else person.skin)
            if person.hair in {"long", "tail"}:
                self._mane(canvas)
        else:
            if covered:
                canvas.ellipse(self._at(-8 * ahead, 62), self._len(56), self._len(62), hair)
            canvas.ellipse(self._at(10 * ahead, 84), self._len(44), self._len(56), person.skin)
            if covered:
                fringe = [self._at(-46, 44), self._at(46, 44), self._at(34, 16), self._at(-34, 16)]
                canvas.polygon(fringe, hair)
            for eye in (-18, 18) if not ahead else (26 * ahead,):
                canvas.ellipse(self._at(eye, 80), self._len(6), self._len(5), _dark(person.skin, 90))
            if ahead and person.hair in {"long", "tail"}:
                self._mane(canvas)
        if person.hair == "bun":
            canvas.ellipse(self._at(-52 * ahead, 8 if not ahead else 40), self._len(26), self._len(24), hair)
        if person.hair == "cap" and view != "back":
            brim = [self._at(-48 + 40 * ahead, 46), self._at(48 + 40 * ahead, 46)]
            canvas.limb(brim[0], brim[1], self._len(9), _dark(hair, 200))

    def _mane(self, canvas: Canvas) -> None:
        """Hair that falls on the back."""
        person, behind = self.person, -self._ahead
        if person.hair == "long":
            canvas.limb(
                self._at(38 * behind - 30 * (not behind), 90),
                self._at(40 * behind - 34 * (not behind), 215),
                self._len(26),
                person.hair_colour,
            )
            canvas.limb(
                self._at(38 * behind + 30 * (not behind), 90),
                self._at(40 * behind + 34 * (not behind), 215),
                self._len(26),
                person.hair_colour,
            )
            if self.pose.view == "back":
                canvas.limb(self._at(0, 90), self._at(0, 225), self._len(40), person.hair_colour)
        elif self.pose.view != "front":
            canvas.limb(self._at(58 * behind, 70), self._at(76 * behind, 230), self._len(17), person.hair_colour)

    def _backpack(self, canvas: Canvas) -> None:
        person, w = self.person, self._shoulder
        if self.pose.view == "back":
            canvas.limb(self._at(-w // 2 + 12, 250), self._at(w // 2 - 12, 250), self._len(56), person.bag_colour)
            corners = [self._at(-w * 68 // 100, 250), self._at(w * 68 // 100, 250)]
            canvas.polygon([*corners, self._at(w * 64 // 100, 450), self._at(-w * 64 // 100, 450)], person.bag_colour)
            canvas.limb(self._at(-40, 390), self._at(40, 390), self._len(22), _dark(person.bag_colour, 190))
        elif self._is_side:
            canvas.limb(
                self._at(-88 * self._ahead, 245), self._at(-88 * self._ahead, 395), self._len(62), person.bag_colour
            )
        else:
            canvas.limb(self._at(-w * 80 // 100, 235), self._at(w * 80 // 100, 235), self._len(62), person.bag_colour)

    def _carried_bag(self, canvas: Canvas) -> None:
        person, w = self.person, self._shoulder
        colour = person.bag_colour
        side = person.bag_side * (-1 if self.pose.view == "back" else 1)
        if person.bag == "backpack" and self.pose.view == "front":
            for strap in (-1, 1):
                canvas.limb(
                    self._at(strap * w * 62 // 100, 172), self._at(strap * w * 70 // 100, 400), self._len(13), colour
                )
        elif person.bag == "shoulder":
            if not self._is_side:
                canvas.limb(
                    self._at(-side * w * 55 // 100, 172), self._at(side * w * 96 // 100, 480), self._len(11), colour
                )
            place = side * (w + 4) if not self._is_side else 10 * side
            self._pouch(canvas, place, 470, 52, 92)
        elif person.bag == "hand":
            place = side * (w + 22) if not self._is_side else 30 * side
            canvas.limb(self._at(place, 490), self._at(place, 540), self._len(16), _dark(colour, 190))
            self._pouch(canvas, place, 535, 60, 100)

    def _pouch(self, canvas: Canvas, u: int, v: int, half: int, height: int) -> None:
        top = [self._at(u - half * 88 // 100, v), self._at(u + half * 88 // 100, v)]
        bottom = [self._at(u + half, v + height), self._at(u - half, v + height)]
        canvas.polygon([*top, *bottom], self.person.bag_colour)
        canvas.polygon(
            [*top, self._at(u + half, v + height // 3), self._at(u - half, v + height // 3)],
            _dark(self.person.bag_colour, 200),
        )


def _dark(colour: Colour, light: int) -> Colour:
    """The colour at light/256 of its brightness."""
    red, green, blue = (value * light // 256 for value in colour)
    return red, green, blue


def _pixel(canvas: Canvas, point: Point) -> Colour:
    x, y = min(max(point[0], 0), canvas.width - 1), min(max(point[1], 0), canvas.height - 1)
    red, green, blue = (int(value) for value in canvas.pixels[y, x])
    return red, green, blue
