"""The XML half of OpenVINO's IR: layers and edges, checked for what a hostile file would try. No torch.

Format: docs.openvino.ai, "OpenVINO IR format"; versions 10 and 11 differ only in marks that no number depends on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder  # fed by the parser below, which refuses entities
from xml.parsers import expat

from .... import InvalidFileError, UserError

OLDEST_VERSION, NEWEST_VERSION = 10, 11
MAX_LAYERS = 20_000
#: Bytes of XML; the largest published re-identification model has 0.6 MB.
MAX_XML = 2**25
#: Elements inside each other; an IR has six.
MAX_DEPTH = 64

#: (size of each axis); None where the file leaves it open.
Shape = tuple[int | None, ...]

_OPSET = re.compile(r"opset\d{1,3}")


@dataclass(frozen=True, kw_only=True)
class Port:
    """One input or output of a layer."""

    number: int
    shape: Shape
    #: The element type as the port writes it, such as `FP32`; empty where it says none.
    precision: str = ""


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One operation as the file writes it."""

    number: int
    name: str
    #: The operation's name in OpenVINO's sets, such as `Convolution`.
    kind: str
    #: What `<data>` says, as text.
    attributes: Mapping[str, str]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Layers, and which output each input comes from."""

    path: Path
    #: In an order in which each layer's inputs come from layers before it.
    layers: tuple[Layer, ...]
    #: (layer, port) of an input to (layer, port) of the output that feeds it.
    sources: Mapping[tuple[int, int], tuple[int, int]]


def refusal(path: Path, wrong: str, remedy: str = "download or convert it again") -> InvalidFileError:
    """The sentence that says why `path` is not read."""
    return InvalidFileError(f"The program {str(path)!r} {wrong}; {remedy}.")


def read_graph(path: Path) -> Graph:
    """The graph in the XML file `path`.

    Raises:
        UserError: where there is no such file.
        InvalidFileError: where it is no IR of version 10 or 11, declares entities or a document type, is too large or
            too deep, refers to layers or ports that it has not, or goes in a circle.

    """
    root = _parse(path)
    version = root.get("version", "none")
    if root.tag != "net" or version not in {str(known) for known in range(OLDEST_VERSION, NEWEST_VERSION + 1)}:
        wanted = f"expected <net version> from {OLDEST_VERSION} to {NEWEST_VERSION}"
        raise refusal(path, f"is <{root.tag}> of version {version}, {wanted}", "convert it with a newer OpenVINO")
    layers = [_layer(path, element) for element in root.findall("layers/layer")]
    if not layers or len(layers) > MAX_LAYERS:
        raise refusal(path, f"has {len(layers)} layers, expected 1 to {MAX_LAYERS}")
    known = {layer.number: layer for layer in layers}
    if len(known) != len(layers):
        raise refusal(path, "gives one id to two layers")
    sources = dict(_edges(path, root.findall("edges/edge"), known))
    for layer in layers:
        for port in layer.inputs:
            if (layer.number, port.number) not in sources:
                raise refusal(path, f"leaves input {port.number} of layer {layer.name!r} without an edge")
    return Graph(path=path, layers=_sorted(path, known, sources), sources=sources)


def _parse(path: Path) -> Element:
    """The tree of a file, built by a parser that refuses a document type: no entity can be declared without one."""
    if not path.is_file():
        raise UserError(f"The program {str(path)!r} does not exist; expected an IR (.xml): check the path.")
    if path.stat().st_size > MAX_XML:
        raise refusal(path, f"has {path.stat().st_size} bytes, at most {MAX_XML} are read")
    builder, depth = TreeBuilder(), 0
    parser = expat.ParserCreate()

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > MAX_DEPTH:
            raise refusal(path, f"has more than {MAX_DEPTH} elements inside each other")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def doctype(*_: object) -> None:
        raise refusal(path, "declares a document type, which an IR never does and which can hide entities")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(path.read_bytes(), True)  # noqa: FBT003 (expat takes no keyword)
    except expat.ExpatError as error:
        reason = f"is not an XML file or is cut off ({expat.ErrorString(error.code)}, line {error.lineno})"
        raise refusal(path, reason) from None
    return builder.close()


def _integer(path: Path, text: str | None, what: str) -> int:
    if text is None or not re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII):
        raise refusal(path, f"has {what} {text!r}, expected a whole number")
    return int(text)


def _layer(path: Path, element: Element) -> Layer:
    name, kind = element.get("name", ""), element.get("type", "")
    number = _integer(path, element.get("id"), f"for layer {name!r} the id")
    if not kind or not _OPSET.fullmatch(element.get("version", "")):
        wanted = "expected an operation of a public set (opset1, opset2, ...)"
        raise refusal(path, f"has the layer {name!r} of type {kind!r}, set {element.get('version')!r}, {wanted}")
    data = element.find("data")
    return Layer(
        number=number,
        name=name,
        kind=kind,
        attributes={} if data is None else dict(data.attrib),
        inputs=_ports(path, element.findall("input/port")),
        outputs=_ports(path, element.findall("output/port")),
    )


def _ports(path: Path, elements: Iterable[Element]) -> tuple[Port, ...]:
    ports = []
    for element in elements:
        shape: list[int | None] = []
        for size in element.findall("dim"):
            text = (size.text or "").strip()
            shape.append(None if text == "-1" else _integer(path, text, "a size of an axis"))
        number = _integer(path, element.get("id"), "the id of a port")
        ports.append(Port(number=number, shape=tuple(shape), precision=element.get("precision", "")))
    return tuple(ports)


def _edges(
    path: Path, elements: Iterable[Element], layers: Mapping[int, Layer]
) -> Iterable[tuple[tuple[int, int], tuple[int, int]]]:
    taken = set()
    for element in elements:
        ends = [_integer(path, element.get(name), f"an edge's {name}") for name in
                ("to-layer", "to-port", "from-layer", "from-port")]  # fmt: skip
        to, source = (ends[0], ends[1]), (ends[2], ends[3])
        into, out_of = layers.get(to[0]), layers.get(source[0])
        if into is None or to[1] not in {port.number for port in into.inputs}:
            raise refusal(path, f"has an edge into layer {to[0]}, port {to[1]}, which does not exist")
        if out_of is None or source[1] not in {port.number for port in out_of.outputs}:
            raise refusal(path, f"has an edge out of layer {source[0]}, port {source[1]}, which does not exist")
        if to in taken:
            raise refusal(path, f"feeds input {to[1]} of layer {to[0]} twice")
        taken.add(to)
        yield to, source


def _sorted(
    path: Path, layers: Mapping[int, Layer], sources: Mapping[tuple[int, int], tuple[int, int]]
) -> tuple[Layer, ...]:
    """Each layer after those it takes its inputs from, else in the file's order (Kahn's algorithm)."""
    waiting = {number: len(layer.inputs) for number, layer in layers.items()}
    followers: dict[int, list[int]] = {number: [] for number in layers}
    for (to, _), (source, _) in sources.items():
        followers[source].append(to)
    ready, order = [number for number, count in waiting.items() if not count], []
    for number in ready:
        order.append(layers[number])
        for follower in followers[number]:
            waiting[follower] -= 1
            if not waiting[follower]:
                ready.append(follower)
    if len(order) != len(layers):
        raise refusal(path, "goes in a circle: a layer needs its own result")
    return tuple(order)
