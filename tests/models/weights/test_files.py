"""Weights files: strict on names, shapes and numbers, and nothing but safetensors."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest
import torch
from robustreid import InvalidFileError, UserError
from robustreid.models.weights.files import file_sha256, load_safetensors
from safetensors.torch import save_file
from torch import nn

if TYPE_CHECKING:
    from pathlib import Path


class Small(nn.Sequential):
    """A convolution and a batch norm, with a head in its files that it does not have."""

    ignored_prefixes = ("classifier.",)

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def state(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    """Small's state filled with 2, changed as told; None leaves a name out."""
    full = {name: torch.full_like(tensor, 2) for name, tensor in Small().state_dict().items()}
    full |= {name: tensor for name, tensor in changes.items() if tensor is not None}
    return {name: tensor for name, tensor in full.items() if changes.get(name, tensor) is not None}


def load_state(path: Path, tensors: dict[str, torch.Tensor]) -> Small:
    save_file(tensors, path)
    network = Small()
    load_safetensors(network, path)
    return network


def test_a_file_fills_the_network(tmp_path: Path) -> None:
    """Every parameter and buffer takes the file's number."""
    network = load_state(tmp_path / "w.safetensors", state())
    assert all(torch.equal(tensor, torch.full_like(tensor, 2)) for tensor in network.state_dict().values())


def test_prefix_head_and_counter_do_not_matter(tmp_path: Path) -> None:
    """A leading `module.`, a classifier and an absent `num_batches_tracked` are fine."""
    tensors = state(**{"1.num_batches_tracked": None, "classifier.weight": torch.ones(7, 4)})
    network = load_state(tmp_path / "w.safetensors", {f"module.{name}": tensor for name, tensor in tensors.items()})
    assert network.get_parameter("0.weight").eq(2).all()


@pytest.mark.parametrize(
    ("message", "changes"),
    [
        (r"1 missing \(0\.bias\)", {"0.bias": None}),
        (r"4 unexpected \(a, b, c, \.\.\.\)", {name: torch.ones(1) for name in "abcd"}),
        (r"1 of another shape \(0\.bias \(5,\) where \(4,\) is expected\)", {"0.bias": torch.ones(5)}),
        (r"1 missing \(0\.bias\); 1 unexpected \(bias\)", {"0.bias": None, "bias": torch.ones(4)}),
        (r"NaN or infinite numbers, 1 in \(0\.bias\)", {"0.bias": torch.full((4,), float("nan"))}),
        (r"NaN or infinite numbers, 1 in \(1\.weight\)", {"1.weight": torch.full((4,), float("inf"))}),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, message: str, changes: dict[str, torch.Tensor | None]
) -> None:
    """All faults of names and shapes stand in one message, three of each by name, and nothing is loaded."""
    path = tmp_path / "w.safetensors"
    save_file(state(**changes), path)
    network = Small()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(InvalidFileError, match=message):
        load_safetensors(network, path)
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_a_renamed_pickle_is_refused(tmp_path: Path) -> None:
    """The message says which formats are read and how to convert."""
    path = tmp_path / "w.safetensors"
    torch.save(Small().state_dict(), path)
    with pytest.raises(InvalidFileError, match=r"only safetensors, ONNX.*safetensors\.torch\.save_file"):
        load_safetensors(Small(), path)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    """A file cut off is no safetensors file."""
    path = tmp_path / "w.safetensors"
    save_file(state(), path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InvalidFileError, match="not a safetensors file"):
        load_safetensors(Small(), path)


def test_the_digest_is_of_the_bytes_and_a_missing_file_is_named(tmp_path: Path) -> None:
    """sha256 of the content; an absent file is a wrong request."""
    path = tmp_path / "w.bin"
    path.write_bytes(b"abc")
    assert file_sha256(path) == hashlib.sha256(b"abc").hexdigest()
    for action in (file_sha256, lambda absent: load_safetensors(Small(), absent)):
        with pytest.raises(UserError, match=r"none\.safetensors' does not exist"):
            action(tmp_path / "none.safetensors")
