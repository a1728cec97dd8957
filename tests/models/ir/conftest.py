"""Doubles for the suites of the IR reader: files written on the spot, as OpenVINO writes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

KINDS = {"float32": "f32", "float16": "f16", "float64": "f64", "int64": "i64", "int32": "i32", "bool": "boolean"}
PRECISIONS = {"f32": "FP32", "f16": "FP16", "f64": "FP64", "i64": "I64", "i32": "I32", "boolean": "BOOL"}


@dataclass(frozen=True)
class Ref:
    """An output of a layer: its number, its port, its shape (-1 for an open size)."""

    layer: int
    port: int
    shape: tuple[int, ...]


@dataclass
class Draft:
    """An IR under construction. Its input `x` is one batch of images (?, 3, 8, 6)."""

    folder: Path
    shape: tuple[int, ...] = (-1, 3, 8, 6)
    layers: list[str] = field(default_factory=list)
    edges: list[str] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)

    @property
    def x(self) -> Ref:
        """The input, made when it is asked for the first time."""
        if not self.layers:
            sizes = ",".join("?" if size == -1 else str(size) for size in self.shape)
            self._add("Parameter", "opset1", {"shape": sizes, "element_type": "f32"}, (), [self.shape], "FP32")
        return Ref(0, 0, self.shape)

    def const(self, array: np.ndarray, *, says_type: bool = True) -> Ref:
        """A constant; its bytes go into the .bin."""
        _ = self.x
        kind, raw = KINDS[array.dtype.name], array.tobytes()
        data = {"shape": ", ".join(map(str, array.shape)), "offset": str(len(self.content)), "size": str(len(raw))}
        self.content += raw
        data |= {"element_type": kind} if says_type else {}
        return self._add("Const", "opset1", data, (), [array.shape], PRECISIONS[kind])[0]

    def ints(self, *values: int) -> Ref:
        """A constant list of integers."""
        return self.const(np.array(values, dtype=np.int64))

    def layer(
        self, kind: str, *inputs: Ref, shape: Sequence[int] | None = None, opset: str = "opset1", **data: Any
    ) -> Ref:
        """A layer of one output, by default of the shape of its first input."""
        return self.split(kind, *inputs, shapes=[inputs[0].shape if shape is None else shape], opset=opset, **data)[0]

    def split(
        self, kind: str, *inputs: Ref, shapes: Sequence[Sequence[int]], opset: str = "opset1", **data: Any
    ) -> list[Ref]:
        """A layer of several outputs. An underscore in front of an attribute is left out: `_axis` is `axis`."""
        return self._add(kind, opset, {k.removeprefix("_"): str(v) for k, v in data.items()}, inputs, shapes, "FP32")

    def write(self, result: Ref, *, version: int = 11, name: str = "model.xml") -> Path:
        """The file, with its .bin beside it."""
        self._add("Result", "opset1", {}, [result], [], "FP32")
        path = self.folder / name
        path.write_text(
            f'<?xml version="1.0"?>\n<net name="n" version="{version}">\n<layers>\n{"".join(self.layers)}</layers>\n'
            f"<edges>\n{''.join(self.edges)}</edges>\n</net>\n",
            encoding="utf-8",
        )
        path.with_suffix(".bin").write_bytes(self.content)
        return path

    def _add(
        self,
        kind: str,
        opset: str,
        data: dict[str, str],
        inputs: Sequence[Ref],
        shapes: Sequence[Sequence[int]],
        precision: str,
    ) -> list[Ref]:
        number = len(self.layers)

        def port(place: int, sizes: Sequence[int], extra: str = "") -> str:
            dims = "".join(f"<dim>{size}</dim>" for size in sizes)
            return f'<port id="{place}"{extra}>{dims}</port>'

        given = " ".join(f'{name}="{value}"' for name, value in data.items())
        into = "".join(port(place, ref.shape) for place, ref in enumerate(inputs))
        out_of = "".join(
            port(len(inputs) + place, sizes, f' precision="{precision}"') for place, sizes in enumerate(shapes)
        )
        self.layers.append(
            f'<layer id="{number}" name="{kind} {number}" type="{kind}" version="{opset}">'
            f"{f'<data {given} />' if data else ''}{f'<input>{into}</input>' if into else ''}"
            f"{f'<output>{out_of}</output>' if out_of else ''}</layer>\n"
        )
        for place, ref in enumerate(inputs):
            ends = f'from-layer="{ref.layer}" from-port="{ref.port}" to-layer="{number}" to-port="{place}"'
            self.edges.append(f"<edge {ends} />\n")
        return [Ref(number, len(inputs) + place, tuple(sizes)) for place, sizes in enumerate(shapes)]


@pytest.fixture
def draft(tmp_path: Path) -> Draft:
    """An IR to write layer by layer; it has images of 8x6 as input."""
    return Draft(tmp_path)
