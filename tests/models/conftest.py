"""Doubles for the suites of models: small ONNX files written on the spot."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    import numpy as np


@pytest.fixture
def write_program(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes an ONNX file with input `x` and output `y` and gives its path."""

    def write(
        nodes: Sequence[onnx.NodeProto],
        constants: Mapping[str, np.ndarray] | None = None,
        *,
        shape: tuple[int | str, ...] = ("batch", 3, 8, 6),
        opset: int = 17,
        element: int = TensorProto.FLOAT,
    ) -> Path:
        graph = helper.make_graph(
            list(nodes),
            "graph",
            [helper.make_tensor_value_info("x", element, shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        path = tmp_path / "program.onnx"
        with contextlib.suppress(shape_inference.InferenceError):  # a file may be wrong on purpose
            model = shape_inference.infer_shapes(model)
        path.write_bytes(model.SerializeToString())
        return path

    return write
