"""What a program may be: each refusal is one sentence that names the file and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, load, save
from robustreid import InvalidFileError, UserError
from robustreid.models.program import reader
from robustreid.models.program.reader import read_program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WEIGHT = np.ones((4, 3, 1, 1), dtype=np.float32)
CONVOLUTION = helper.make_node("Conv", ["x", "w"], ["y"])


def test_a_program_says_its_input_and_output(write_program: Callable[..., Path]) -> None:
    """Input size, open batch and constants are those of the file."""
    program = read_program(write_program([CONVOLUTION], {"w": WEIGHT}))
    assert program.input_shape == (None, 3, 8, 6)
    assert program.input_size == (8, 6)
    assert (program.input_name, program.output_name) == ("x", "y")
    assert program.initialisers.keys() == {"w"}


def test_an_open_size_is_none(write_program: Callable[..., Path]) -> None:
    """A file that leaves height open has no input size."""
    program = read_program(write_program([CONVOLUTION], {"w": WEIGHT}, shape=("n", 3, "h", 6)))
    assert program.input_size is None


def test_unknown_operators_are_all_named(write_program: Callable[..., Path]) -> None:
    """Every unsupported operator stands in one message, beside what is supported."""
    nodes = [
        helper.make_node("Sin", ["x"], ["a"]),
        helper.make_node("Cos", ["a"], ["b"]),
        helper.make_node("Evil", ["b"], ["y"], domain="com.example"),
    ]
    with pytest.raises(InvalidFileError, match=r"Cos, Sin, com\.example\.Evil; supported are: Abs, Add"):
        read_program(write_program(nodes))


def test_external_data_is_refused(write_program: Callable[..., Path]) -> None:
    """A program whose weights lie in another file, which could be any file, is refused unread."""
    path = write_program([CONVOLUTION], {"w": WEIGHT})
    model = load(path)
    save(model, path, save_as_external_data=True, location="secret.bin", size_threshold=0)
    with pytest.raises(InvalidFileError, match="weights in another file"):
        read_program(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_truncated_file_is_refused(write_program: Callable[..., Path], share: float) -> None:
    """A file cut off anywhere is no program."""
    path = write_program([CONVOLUTION], {"w": WEIGHT})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InvalidFileError, match=r"program\.onnx"):
        read_program(path)


def test_a_pickle_is_not_a_program(tmp_path: Path) -> None:
    """A checkpoint with another name is refused, not executed."""
    path = tmp_path / "model.onnx"
    torch.save({"w": torch.ones(2)}, path)
    with pytest.raises(InvalidFileError, match="not an ONNX file"):
        read_program(path)


def test_a_missing_file_is_the_users_to_mend(tmp_path: Path) -> None:
    """An absent file is a wrong request (2), not an invalid file (4)."""
    with pytest.raises(UserError, match="does not exist") as caught:
        read_program(tmp_path / "none.onnx")
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("shape", "element"),
    [((1, 1, 8, 6), TensorProto.FLOAT), ((1, 3, 8), TensorProto.FLOAT), ((1, 3, 8, 6), TensorProto.DOUBLE)],
)
def test_an_input_that_is_no_image_batch_is_refused(
    write_program: Callable[..., Path], shape: tuple[int, ...], element: int
) -> None:
    """Grey images, three axes and other types are refused with the shape that is expected."""
    path = write_program([helper.make_node("Relu", ["x"], ["y"])], shape=shape, element=element)
    with pytest.raises(InvalidFileError, match=r"float32 images \(N, 3, H, W\)"):
        read_program(path)


def test_limits_are_checked_first(write_program: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Too many nodes or bytes are refused with the limit."""
    path = write_program([CONVOLUTION], {"w": WEIGHT})
    monkeypatch.setattr(reader, "MAX_NODES", 0)
    with pytest.raises(InvalidFileError, match="1 nodes, at most 0"):
        read_program(path)
    monkeypatch.setattr(reader, "MAX_BYTES", 10)
    with pytest.raises(InvalidFileError, match="at most 10 are read"):
        read_program(path)


def test_more_than_one_input_is_refused(write_program: Callable[..., Path]) -> None:
    """A network that also wants a camera number is no embedder."""
    path = write_program([CONVOLUTION], {"w": WEIGHT})
    model = load(path)
    model.graph.input.append(helper.make_tensor_value_info("camera", TensorProto.INT64, (1,)))
    path.write_bytes(model.SerializeToString())
    with pytest.raises(InvalidFileError, match="has 2 inputs, expected exactly one"):
        read_program(path)


@pytest.mark.parametrize("opset", [8, 21])
def test_an_operator_set_outside_the_range_is_refused(write_program: Callable[..., Path], opset: int) -> None:
    """What defaults mean is known for some versions only."""
    path = write_program([helper.make_node("Relu", ["x"], ["y"])], opset=opset)
    with pytest.raises(InvalidFileError, match=f"operator set {opset}, expected one from 9 to 20"):
        read_program(path)


def test_nan_and_half_precision_are_refused(write_program: Callable[..., Path]) -> None:
    """Weights are finite float32."""
    with pytest.raises(InvalidFileError, match="NaN in tensor 'w'"):
        read_program(write_program([CONVOLUTION], {"w": WEIGHT * np.nan}))
    add = helper.make_node("Cast", ["w"], ["v"], to=1), helper.make_node("Add", ["x", "v"], ["y"])
    with pytest.raises(InvalidFileError, match="float16"):
        read_program(write_program(add, {"w": np.ones(1, dtype=np.float16)}))


def test_a_second_output_is_refused(write_program: Callable[..., Path]) -> None:
    """The indices of a MaxPool are not computed, so a program that uses them is refused."""
    nodes = [
        helper.make_node("MaxPool", ["x"], ["a", "i"], kernel_shape=[2, 2]),
        helper.make_node("Cast", ["i"], ["f"], to=1),
        helper.make_node("Add", ["a", "f"], ["y"]),
    ]
    with pytest.raises(InvalidFileError, match="second output 'i' of a MaxPool"):
        read_program(write_program(nodes))


def test_a_graph_out_of_order_is_refused(write_program: Callable[..., Path]) -> None:
    """A node that uses a value nobody gave is refused before it runs."""
    with pytest.raises(InvalidFileError, match="not a valid ONNX graph"):
        read_program(write_program([helper.make_node("Add", ["x", "nowhere"], ["y"])]))
