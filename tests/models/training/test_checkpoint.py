"""Checkpoints and weights as bytes: nothing lost, equal state equal bytes, no pickle."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from robustreid import InvalidFileError
from robustreid.models.architectures.tinynet import tinynet
from robustreid.models.training.checkpoint import pack, pack_weights, unpack
from robustreid.models.weights.files import load_safetensors


def test_state_comes_back(tmp_path: Path) -> None:
    """Tensors of every kind and layout, and facts, bit for bit."""
    image = torch.randn(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    tensors = {"a": image, "b.step": torch.tensor(7.0), "c": torch.arange(3)}
    facts = {"log": [{"loss": 0.1, "none": None}], "name": "ä"}
    content = pack(tensors, facts)
    (tmp_path / "state").write_bytes(content)
    found, said = unpack(tmp_path / "state")
    assert facts == said
    assert tensors.keys() == found.keys()
    assert all(torch.equal(tensors[name], found[name]) and tensors[name].shape == found[name].shape for name in found)
    assert content == pack(dict(reversed(tensors.items())), dict(reversed(facts.items())))


@pytest.mark.parametrize("content", [b"", b"not safetensors at all", pack_weights({"a": torch.ones(2)}, half=False)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    """Rubbish, and a safetensors file that is no checkpoint."""
    (tmp_path / "state").write_bytes(content)
    with pytest.raises(InvalidFileError, match="is not a checkpoint"):
        unpack(tmp_path / "state")


def test_half_weights_load_into_float32(tmp_path: Path) -> None:
    """A file of half the size gives the network rounded to float16."""
    network, other = tinynet(), tinynet()
    whole, half = (pack_weights(network.state_dict(), half=value) for value in (False, True))
    assert len(half) < 0.52 * len(whole)
    (tmp_path / "w.safetensors").write_bytes(half)
    load_safetensors(other, tmp_path / "w.safetensors")
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            assert torch.equal(value.half().float(), other.state_dict()[name])
            assert other.state_dict()[name].dtype == torch.float32
