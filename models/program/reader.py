"""Reading an ONNX program: everything is checked here, before a single operator runs. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ... import InvalidFileError, UserError
from .supported import MANY_OUTPUTS, NEWEST_OPSET, OLDEST_OPSET, SUPPORTED

MAX_NODES = 20_000
MAX_BYTES = 2**30

Array = npt.NDArray[Any]

#: What is wrong with a program: it is damaged or takes no images, is too large, needs an operator that is not there, a
#: function or a subgraph, keeps weights elsewhere, or has NaN among them.
Kind = Literal["damaged", "large", "operator", "function", "external", "nan"]


class ProgramError(InvalidFileError):
    """A program that is not run."""

    def __init__(self, message: str, kind: Kind = "damaged") -> None:
        super().__init__(message)
        #: Lost where the error is raised anew with its place in a file in front, which takes a message alone.
        self.kind = kind


@dataclass(frozen=True, kw_only=True)
class Node:
    """One operation. Attributes are Python numbers, strings, tuples of them, or arrays."""

    #: The operator's name in ONNX's default domain.
    operator: str
    #: Names of values; an empty name is an optional input left out.
    inputs: tuple[str, ...]
    #: Names of values; only `MANY_OUTPUTS` have more than one that counts.
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    #: The version of the operator set, which decides what defaults mean.
    opset: int
    #: What the exporter called it; it decides nothing.
    name: str = ""

    def integer(self, name: str, default: int) -> int:
        """The attribute as an integer."""
        return int(self.attributes.get(name, default))

    def number(self, name: str, default: float) -> float:
        """The attribute as a float."""
        return float(self.attributes.get(name, default))

    def text(self, name: str, default: str) -> str:
        """The attribute as a string."""
        return str(self.attributes.get(name, default))

    def integers(self, name: str) -> tuple[int, ...] | None:
        """The attribute as integers; None where it is absent."""
        value = self.attributes.get(name)
        return None if value is None else tuple(int(entry) for entry in value)


@dataclass(frozen=True, kw_only=True)
class Program:
    """A checked ONNX graph: images in, features out."""

    path: Path
    #: In an order in which each node's inputs are known.
    nodes: tuple[Node, ...]
    #: Constants by name; floating ones are float32.
    initialisers: Mapping[str, Array]
    input_name: str
    #: (batch, 3, height, width); None where the file leaves it open.
    input_shape: tuple[int | None, int, int | None, int | None]
    #: The first output of the graph.
    output_name: str

    @property
    def input_size(self) -> tuple[int, int] | None:
        """(height, width) that the file declares; None where one of them is open."""
        _, _, height, width = self.input_shape
        return None if height is None or width is None else (height, width)


def read_program(path: Path) -> Program:
    """The program in the ONNX file `path`.

    Raises:
        UserError: where there is no such file.
        ProgramError: where it is no ONNX file, refers to other files, is too large, needs an operator that is not in
            `SUPPORTED`, has functions or subgraphs, or another input than one batch of images.

    """
    if not path.is_file():
        raise UserError(f"The program {str(path)!r} does not exist; expected an ONNX file: check the path.")
    n_bytes = path.stat().st_size
    if n_bytes > MAX_BYTES:
        wrong = f"has {n_bytes} bytes, at most {MAX_BYTES} are read"
        raise _refuse(path, wrong, "use safetensors and an architecture", "large")
    return parse_program(path.read_bytes(), path)


def parse_program(content: bytes, path: Path) -> Program:
    """The same, from bytes that are in memory already; `path` is what messages call them."""
    model = _parse(content, path)
    graph = model.graph
    opset = _opset(path, model.opset_import)
    _check_nodes(path, graph.node)
    _check_tensors(path, graph)
    _check_flat(path, model)
    constants = {tensor.name for tensor in graph.initializer}
    name, shape = _image_input(path, [value for value in graph.input if value.name not in constants])
    if not graph.output:
        raise _refuse(path, "has no output, expected features (N, D)", "export it again")
    _check_structure(path, model)
    initialisers = {tensor.name: _array(path, tensor) for tensor in graph.initializer}
    return Program(
        path=path,
        nodes=tuple(_node(path, node, opset) for node in graph.node),
        initialisers=initialisers,
        input_name=name,
        input_shape=shape,
        output_name=graph.output[0].name,
    )


def _refuse(path: Path, wrong: str, remedy: str, kind: Kind = "damaged") -> ProgramError:
    return ProgramError(f"The program {str(path)!r} {wrong}; {remedy}.", kind)


def _parse(content: bytes, path: Path) -> Any:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load_model_from_string(content)
    except (DecodeError, ValueError):
        raise _refuse(path, "is not an ONNX file or is cut off", "export or download it again") from None
    if not model.graph.node:
        raise _refuse(path, "holds no graph, so it is not an ONNX file or is cut off", "export or download it again")
    return model


def _opset(path: Path, imports: Iterable[Any]) -> int:
    versions = [entry.version for entry in imports if entry.domain in {"", "ai.onnx"}]
    if len(versions) != 1 or not OLDEST_OPSET <= versions[0] <= NEWEST_OPSET:
        found = ", ".join(map(str, versions)) or "none"
        wanted = f"expected one from {OLDEST_OPSET} to {NEWEST_OPSET}"
        raise _refuse(path, f"is written for operator set {found}, {wanted}", "export it with opset_version=17")
    return int(versions[0])


def _check_nodes(path: Path, nodes: Any) -> None:
    if len(nodes) > MAX_NODES:
        wrong = f"has {len(nodes)} nodes, at most {MAX_NODES} are read"
        raise _refuse(path, wrong, "simplify it before exporting", "large")
    foreign = {f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in {"", "ai.onnx"}}
    missing = foreign | {node.op_type for node in nodes if node.domain in {"", "ai.onnx"}} - SUPPORTED
    if missing:
        raise _refuse(
            path,
            f"needs operators that are not supported: {', '.join(sorted(missing))}; "
            f"supported are: {', '.join(sorted(SUPPORTED))}",
            "export the model with those, in inference mode",
            "operator",
        )
    consumed = {name for node in nodes for name in node.input}
    for node in nodes:
        extra = [name for name in node.output[1:] if name in consumed]
        if extra and node.op_type not in MANY_OUTPUTS:
            wrong = f"uses the second output {extra[0]!r} of a {node.op_type}, only the first is supported"
            raise _refuse(path, wrong, "export the model in inference mode")


def _check_tensors(path: Path, graph: Any) -> None:
    tensors = [*graph.initializer, *(item.t for node in graph.node for item in node.attribute if item.HasField("t"))]
    tensors += [tensor for node in graph.node for item in node.attribute for tensor in item.tensors]
    if any(tensor.external_data or tensor.data_location != 0 for tensor in tensors):
        wrong = "keeps weights in another file, expected all of them inside"
        raise _refuse(path, wrong, "export it as a single file", "external")
    if graph.sparse_initializer:
        raise _refuse(path, "has sparse weights, expected dense ones", "export it with dense tensors")


def _check_flat(path: Path, model: Any) -> None:
    inner = {node.op_type for node in model.graph.node for item in node.attribute if item.HasField("g") or item.graphs}
    if inner or model.functions or model.training_info:
        parts = [f"a subgraph in {', '.join(sorted(inner))}"] if inner else []
        parts += ["functions"] if model.functions else []
        parts += ["training steps"] if model.training_info else []
        wrong = f"has {' and '.join(parts)}, expected one flat graph"
        raise _refuse(path, wrong, "export the model in inference mode", "function")


def _check_structure(path: Path, model: Any) -> None:
    import onnx

    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise _refuse(path, f"is not a valid ONNX graph ({reason})", "export it again") from None


def _image_input(path: Path, inputs: list[Any]) -> tuple[str, tuple[int | None, int, int | None, int | None]]:
    wanted = "expected exactly one input of float32 images (N, 3, H, W)"
    remedy = "export the network so that it takes images only"
    if len(inputs) != 1:
        raise _refuse(path, f"has {len(inputs)} inputs, {wanted}", remedy)
    tensor = inputs[0].type.tensor_type
    shape = [entry.dim_value if entry.HasField("dim_value") else None for entry in tensor.shape.dim]
    shown = "(" + ", ".join("?" if entry is None else str(entry) for entry in shape) + ")"
    if (
        tensor.elem_type != 1
        or len(shape) != 4
        or shape[1] != 3
        or any(entry is not None and entry < 1 for entry in shape)
    ):
        raise _refuse(path, f"takes {inputs[0].name!r} of shape {shown} and type {tensor.elem_type}, {wanted}", remedy)
    return str(inputs[0].name), (shape[0], 3, shape[2], shape[3])


def _array(path: Path, tensor: Any) -> Array:
    from onnx import numpy_helper

    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError):
        raise _refuse(path, f"has a damaged tensor {tensor.name!r}", "export or download it again") from None
    if array.dtype in (np.float32, np.float64):
        if np.isnan(array).any():
            wrong = f"has NaN in tensor {tensor.name!r}, expected numbers"
            raise _refuse(path, wrong, "export a model that was trained", "nan")
        return array.astype(np.float32)
    if array.dtype in (np.int64, np.int32, np.bool_):
        return array.copy()
    wanted = "expected float32, float64, int32, int64 or bool"
    raise _refuse(path, f"has a tensor {tensor.name!r} of type {array.dtype}, {wanted}", "export it in float32")


def _node(path: Path, node: Any, opset: int) -> Node:
    return Node(
        operator=node.op_type,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes={item.name: _attribute(path, item) for item in node.attribute},
        opset=opset,
        name=node.name,
    )


def _attribute(path: Path, item: Any) -> Any:
    import onnx

    if item.type == onnx.AttributeProto.TENSOR:
        return _array(path, item.t)
    value = onnx.helper.get_attribute_value(item)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    return value if isinstance(value, int | float | str) else tuple(value)
