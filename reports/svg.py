"""SVG as matplotlib writes it, made fit for a page under a strict policy and for a reader who cannot see it.

Styles become attributes, ids become the figure's own, and every marked group gets a name, so that a keyboard, a screen
reader and a pointer find its numbers.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass

#: Colours that stand for a meaning while a figure is drawn: lettering, and what stands back.
INK, FAINT = "#010203", "#040506"

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
#: Of styles, what has an attribute of the same name.
_ATTRIBUTES = {
    *("fill", "stroke", "opacity", "clip-path", "text-anchor"),
    *(f"fill-{name}" for name in ("opacity", "rule")),
    *(
        f"stroke-{name}"
        for name in ("width", "opacity", "linecap", "linejoin", "dasharray", "dashoffset", "miterlimit")
    ),
    *(f"font-{name}" for name in ("size", "weight", "style")),
}
_SHORTHAND = re.compile(r"(?:(?P<weight>bold|[1-9]00)\s+)?(?P<size>[\d.]+px)\s")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What one mark of a figure says."""

    #: `epsilon 4/255`.
    where: str
    #: `mAP 12.34, Rank-1 20.00`.
    said: str


@dataclass(frozen=True, kw_only=True)
class Marks:
    """The marks of one line, in the order in which they were drawn."""

    #: The line's name, and the panel's where there are several.
    name: str
    context: str
    marks: tuple[Mark, ...]


def finished(content: bytes, *, summary: str, prefix: str, marks: Mapping[str, Marks]) -> str:
    """The figure as text that can stand in a page or in a file by itself.

    Args:
        content: SVG as matplotlib wrote it.
        summary: what the figure shows, in a sentence.
        prefix: put before every id.
        marks: what the marks in the groups with these ids say.
    """
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    root = ET.fromstring(content)  # noqa: S314 (our own drawing)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"}:
                parent.remove(child)
    for element in root.iter():
        _restyle(element)
    _mark(root, marks)
    _own_ids(root, prefix)
    width, height = (str(root.attrib.pop(name)).removesuffix("pt") for name in ("width", "height"))
    root.attrib.update(
        {
            "viewBox": f"0 0 {width} {height}",
            "role": "group",
            "aria-label": summary,
            "color": "#20242a",
            "font-family": _FONTS,
            "stroke-linejoin": "round",
            "stroke-linecap": "butt",
        }
    )
    ET.indent(root, " ")
    return ET.tostring(root, encoding="unicode")


def _restyle(element: ET.Element) -> None:
    style = element.attrib.pop("style", "")
    for declaration in style.split(";"):
        key, _, value = (part.strip() for part in declaration.partition(":"))
        if key == "font" and (found := _SHORTHAND.search(f"{value} ")):
            element.set("font-size", found["size"])
            if found["weight"]:
                element.set("font-weight", found["weight"])
        elif key in _ATTRIBUTES:
            element.set(key, value)
    for key in ("fill", "stroke"):
        if element.get(key) in {INK, FAINT}:
            if element.get(key) == FAINT:
                element.set(f"{key}-opacity", "0.22")
            element.set(key, "currentColor")


def _mark(root: ET.Element, marks: Mapping[str, Marks]) -> None:
    for group in list(root.iter()):
        own = marks.get(group.get("id", ""))
        if own is None:
            continue
        group.attrib.update({"data-name": own.name, "data-context": own.context})
        parents = {child: parent for parent in group.iter() for child in parent}
        drawn = list(group.iter(f"{{{_SVG}}}use"))
        for used, mark in zip(drawn, own.marks, strict=True):
            said = [part for part in (own.name, own.context, mark.where, mark.said) if part]
            named = {"class": "mark", "role": "img", "aria-label": ", ".join(said)}
            wrapped = ET.Element(f"{{{_SVG}}}g", {**named, "data-where": mark.where, "data-said": mark.said})
            parent = parents[used]
            parent[list(parent).index(used)] = wrapped
            wrapped.append(used)
            # A wider area for pointers, as large as a finger needs at this size.
            spot = {"class": "spot", "cx": used.get("x", "0"), "cy": used.get("y", "0"), "r": "8"}
            wrapped.append(ET.Element(f"{{{_SVG}}}circle", {**spot, "fill": "none", "pointer-events": "all"}))


def _own_ids(root: ET.Element, prefix: str) -> None:
    """Keep the ids that something refers to, under names that no other figure of the page has."""
    used = set()
    for element in root.iter():
        used |= {found for value in element.attrib.values() for found in _REFERENCE.findall(value)}
        used |= {value[1:] for key, value in element.attrib.items() if key.endswith("href") and value.startswith("#")}
    names = {name: f"{prefix}-{place}" for place, name in enumerate(sorted(used))}
    for element in root.iter():
        if "id" in element.attrib:
            name = element.attrib.pop("id")
            if name in names:
                element.set("id", names[name])
        for key, value in list(element.attrib.items()):
            if key.endswith("href") and value[1:] in names:
                element.set(key, f"#{names[value[1:]]}")
            elif "url(#" in value:
                element.set(key, _REFERENCE.sub(lambda found: f"url(#{names[found[1]]})", value))
