"""What collects the nodes of a program while the layers of an IR are translated. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .... import InvalidFileError
from ..reader import MAX_BYTES, Array, Node
from .graph import Layer, Shape, refusal

#: The version of ONNX's operator set that all nodes here are written for.
OPSET = 17


@dataclass(frozen=True, kw_only=True)
class Value:
    """What a port carries: its name in the program, and the shape that the file declares."""

    name: str
    shape: Shape


@dataclass(kw_only=True)
class Emitter:
    """Collects the nodes and constants of a program as layers are translated, one after the other."""

    path: Path
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    _n_bytes: int = 0

    def node(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Add a node of one output, and give that output's name."""
        return self.split(operator, inputs, 1, **attributes)[0]

    def split(self, operator: str, inputs: Sequence[str], n_outputs: int, **attributes: Any) -> list[str]:
        """Add a node of several outputs, and give their names."""
        outputs = tuple(f"value {len(self.nodes)}.{place}" for place in range(n_outputs))
        node = Node(operator=operator, inputs=tuple(inputs), outputs=outputs, attributes=attributes, opset=OPSET)
        self.nodes.append(node)
        return list(outputs)

    def constant(self, array: Array) -> str:
        """Add a constant; all together are bounded, since many may lie on the same bytes of a file."""
        self._n_bytes += array.nbytes
        if self._n_bytes > MAX_BYTES:
            raise refusal(self.path, f"has constants of more than {MAX_BYTES} bytes")
        name = f"constant {len(self.constants)}"
        self.constants[name] = array
        return name

    def number(self, value: float) -> str:
        """A float32 constant of no axes."""
        return self.constant(np.array(value, dtype=np.float32))

    def integers_constant(self, values: Sequence[int]) -> str:
        """A constant list of integers."""
        return self.constant(np.array(values, dtype=np.int64))

    def known(self, layer: Layer, value: Value) -> Array:
        """The numbers of an input that must be a constant."""
        if value.name not in self.constants:
            raise self.wrong(layer, "computes what must be a constant")
        return self.constants[value.name]

    def integers(self, layer: Layer, value: Value) -> list[int]:
        """The same as a list of integers."""
        return [int(entry) for entry in self.known(layer, value).reshape(-1)]

    def wrong(self, layer: Layer, what: str) -> InvalidFileError:
        """The refusal of a layer."""
        return refusal(self.path, f"{what} in the {layer.kind} {layer.name!r}", "convert the model to ONNX")


#: Translates one layer: adds its nodes and gives the names of its outputs.
Translate = Callable[[Emitter, Layer, list[Value]], list[str]]


def numbers(emitter: Emitter, layer: Layer, name: str, default: str = "") -> list[int]:
    """The whole numbers of an attribute, separated by commas."""
    text = layer.attributes.get(name, default)
    try:
        return [int(entry) for entry in text.split(",") if entry.strip()]
    except ValueError:
        raise emitter.wrong(layer, f"has {name} {text!r}, expected whole numbers") from None


def number(emitter: Emitter, layer: Layer, name: str, default: float | None = None) -> float:
    """The number of an attribute."""
    text = layer.attributes.get(name, "" if default is None else str(default))
    try:
        return float(text)
    except ValueError:
        raise emitter.wrong(layer, f"has {name} {text!r}, expected a number") from None


def says(layer: Layer, name: str, default: str = "false") -> bool:
    """Whether an attribute says yes."""
    return layer.attributes.get(name, default).lower() in {"true", "1"}
