"""Reading OpenVINO's IR (an XML file and the .bin beside it) as the same checked `Program` that an ONNX file gives.

Intel publishes its re-identification models so (Open Model Zoo). Everything is checked before an operator runs; imports
no torch. What each layer means in ONNX's operators is in `layers.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from .... import UserError
from ..reader import MAX_BYTES, Array, Node, Program
from .emitter import OPSET, Emitter, Value
from .graph import Graph, Layer, read_graph, refusal
from .layers import LAYERS

#: Element types in the .bin, by IR's names: how they lie there, and what they are read as.
_TYPES: Mapping[str, tuple[str, str]] = {
    "f32": ("<f4", "<f4"),
    "f16": ("<f2", "<f4"),
    "f64": ("<f8", "<f4"),
    "i64": ("<i8", "<i8"),
    "i32": ("<i4", "<i4"),
    "u64": ("<u8", "<i8"),
    "u8": ("u1", "<i4"),
    "i8": ("i1", "<i4"),
    "boolean": ("u1", "?"),
}
#: The same by the names of ports, which the first files of version 10 leave it to.
_PRECISIONS: Mapping[str, str] = {
    **{name.upper(): name for name in _TYPES},
    "FP32": "f32",
    "FP16": "f16",
    "FP64": "f64",
    "BOOL": "boolean",
}
_PLAIN = frozenset({"Const", "Parameter", "Result"})


def read_ir(path: Path, *, takes_bgr255: bool = False) -> Program:
    """The program in the IR `path` (.xml) and the file beside it that is called the same but .bin.

    Floating constants are widened or narrowed to float32. A bias that is added to a convolution becomes part of it.

    Args:
        path: the XML file.
        takes_bgr255: whether the network expects BGR in 0..255, as Open Model Zoo's do; the program that is given back
            takes RGB in [0, 1] then: channels are turned and multiplied by 255 in front.

    Raises:
        UserError: where one of the two files is not there.
        InvalidFileError: where the XML is no IR of version 10 or 11 or tries something, a constant lies outside of the
            .bin, a layer is not in `LAYERS`, or the input is anything but one batch of images.

    """
    graph = read_graph(path)
    _check_layers(graph)
    content = _binary(path)
    emitter = Emitter(path=path)
    values: dict[tuple[int, int], Value] = {}
    (parameter,) = (layer for layer in graph.layers if layer.kind == "Parameter")
    shape = _image_shape(path, parameter)
    values[parameter.number, parameter.outputs[0].number] = Value(
        name=_turned(emitter) if takes_bgr255 else _INPUT, shape=parameter.outputs[0].shape
    )
    result = ""
    for layer in graph.layers:
        sources = [graph.sources[layer.number, port.number] for port in layer.inputs]
        if layer.kind == "Parameter":
            continue
        if layer.kind == "Const":
            made: list[str] = [emitter.constant(_constant(path, layer, content))]
        elif layer.kind == "Result":
            result = result or values[sources[0]].name
            continue
        else:
            made = _translated(emitter, layer, [_value(path, layer, values, source) for source in sources])
        for port, name in zip(layer.outputs, made, strict=False):
            values[layer.number, port.number] = Value(name=name, shape=port.shape)
    if not result:
        raise refusal(path, "has no Result, expected features (N, D)")
    return Program(
        path=path,
        nodes=_with_biases(emitter.nodes, emitter.constants, result),
        initialisers=emitter.constants,
        input_name=_INPUT,
        input_shape=shape,
        output_name=result,
    )


_INPUT = "images"


def _value(path: Path, layer: Layer, values: Mapping[tuple[int, int], Value], source: tuple[int, int]) -> Value:
    if source not in values:
        raise refusal(path, f"uses output {source[1]} of layer {source[0]} in {layer.name!r}, which is not supported")
    return values[source]


def _translated(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    try:
        return LAYERS[layer.kind](emitter, layer, inputs)
    except (IndexError, ValueError, TypeError, ArithmeticError):
        raise emitter.wrong(layer, f"has {len(inputs)} inputs or sizes that the operation cannot have") from None


def _check_layers(graph: Graph) -> None:
    counts = Counter(layer.kind for layer in graph.layers)
    missing = counts.keys() - LAYERS.keys() - _PLAIN
    if missing:
        raise refusal(
            graph.path,
            f"needs layers that are not supported: {', '.join(sorted(missing))}; "
            f"supported are: {', '.join(sorted(LAYERS))}",
            "take the FP32 or FP16 file of the model, or convert it to ONNX",
        )
    if counts["Parameter"] != 1:
        wrong = f"has {counts['Parameter']} inputs, expected exactly one of float images (N, 3, H, W)"
        raise refusal(graph.path, wrong, "convert the network so that it takes images only")
    for layer in graph.layers:
        wanted = (0, 1) if layer.kind in {"Const", "Parameter"} else (1, 0) if layer.kind == "Result" else None
        if wanted is not None and (len(layer.inputs), len(layer.outputs)) != wanted:
            raise refusal(graph.path, f"has a {layer.kind} {layer.name!r} with other ports than it can have")


def _image_shape(path: Path, layer: Layer) -> tuple[int | None, int, int | None, int | None]:
    shape, kind = layer.outputs[0].shape, layer.attributes.get("element_type", "f32")
    if len(shape) != 4 or shape[1] != 3 or 0 in shape or kind not in {"f32", "f16"}:
        shown = ", ".join("?" if size is None else str(size) for size in shape)
        wrong = f"takes {layer.name!r} of shape ({shown}) and type {kind}, expected float images (N, 3, H, W)"
        raise refusal(path, wrong, "convert the network so that it takes images only")
    return (shape[0], 3, shape[2], shape[3])


def _turned(emitter: Emitter) -> str:
    """RGB in [0, 1] made BGR in 0..255."""
    ends = [emitter.integers_constant([number]) for number in (-1, -(2**31), 1, -1)]
    turned = emitter.node("Slice", [_INPUT, *ends])
    return emitter.node("Mul", [turned, emitter.number(255.0)])


def _binary(path: Path) -> memoryview:
    beside = path.with_suffix(".bin")
    if not beside.is_file():
        raise UserError(f"The program {str(path)!r} has its weights in {beside.name!r}, which is not beside it.")
    n_bytes = beside.stat().st_size
    if n_bytes > MAX_BYTES:
        raise refusal(beside, f"has {n_bytes} bytes, at most {MAX_BYTES} are read")
    return memoryview(beside.read_bytes())


def _constant(path: Path, layer: Layer, content: memoryview) -> Array:
    """The numbers of a Const; they must lie inside the .bin and be as many as the shape says."""
    given = layer.attributes
    kind = given.get("element_type") or _PRECISIONS.get(layer.outputs[0].precision, "")
    if kind not in _TYPES:
        raise refusal(path, f"has the constant {layer.name!r} of type {kind!r}, expected {', '.join(_TYPES)}")
    stored, read = _TYPES[kind]
    sizes = [entry.strip() for entry in given.get("shape", "").split(",") if entry.strip()]
    numbers = [*sizes, given.get("offset", ""), given.get("size", "")]
    if not all(re.fullmatch(r"\d{1,12}", number, re.ASCII) for number in numbers):
        raise refusal(path, f"has the constant {layer.name!r} with shape, offset or size that is no whole number")
    shape, (offset, n_bytes) = [int(size) for size in sizes], (int(number) for number in numbers[-2:])
    n_entries = 1
    for size in shape:
        n_entries *= size
    if n_bytes != n_entries * np.dtype(stored).itemsize or offset + n_bytes > len(content):
        wanted = f"expected {n_entries} entries of {kind} inside of its {len(content)} bytes"
        raise refusal(path, f"has the constant {layer.name!r} at {offset} + {n_bytes} of its .bin, {wanted}")
    array = np.frombuffer(content[offset : offset + n_bytes], dtype=stored).reshape(shape).astype(read)
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise refusal(path, f"has NaN in the constant {layer.name!r}, expected numbers")
    return array


def _with_biases(nodes: list[Node], constants: dict[str, Array], result: str) -> tuple[Node, ...]:
    """The nodes with each constant that is added to the channels of a convolution alone made its bias."""
    uses = Counter(name for node in nodes for name in node.inputs)
    made_by = {node.outputs[0]: node for node in nodes}
    merged: dict[str, Node] = {}
    spent = set()
    for node in nodes:
        for value, addend in (node.inputs, node.inputs[::-1]) if node.operator == "Add" else ():
            before, bias = made_by.get(value), constants.get(addend)
            if before is None or bias is None or before.operator != "Conv" or uses[value] != 1 or value == result:
                continue
            weight = constants.get(before.inputs[1])
            if len(before.inputs) == 2 and weight is not None and bias.shape == (1, weight.shape[0], 1, 1):
                constants[f"{addend} of {value}"] = bias.reshape(-1)
                inputs = (*before.inputs, f"{addend} of {value}")
                merged[node.outputs[0]] = replace(before, inputs=inputs, outputs=node.outputs, opset=OPSET)
                spent.add(value)
    return tuple(merged.get(node.outputs[0], node) for node in nodes if node.outputs[0] not in spent)
