"""A folded program becomes a network that can be trained: the same features, and statistics of the training images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from robustreid import InvalidFileError
from robustreid.models.architectures.osnet import osnet_x0_25
from robustreid.models.architectures.tinynet import tinynet
from robustreid.models.architectures.vit import vit_s16
from robustreid.models.base import NORMALISATIONS, ModelSpec
from robustreid.models.load import build, resolve
from robustreid.models.pixels import PixelEmbedder
from robustreid.models.training import unfold
from robustreid.models.training.unfold import load_folded
from torch import Tensor, nn

SPEC = ModelSpec(label="x", architecture="x", input_size=(128, 64), normalise=NORMALISATIONS["imagenet"])


def inputs(images: Tensor) -> Tensor:
    """Normalised, at 128x64."""
    return PixelEmbedder(nn.Identity(), SPEC).inputs(images)


@pytest.fixture
def people(real_data: Path) -> list[Tensor]:
    """Two batches of 32 real training images in [0, 1]."""
    files = sorted((real_data / "market1501-mini" / "bounding_box_train").iterdir())[::150][:64]
    pixels = [torch.from_numpy(np.asarray(Image.open(file)).copy()).permute(2, 0, 1) for file in files]
    return list((torch.stack(pixels).float() / 255).chunk(2))


def statistics(network: nn.Module, batches: Iterable[Tensor]) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance of what each batch norm is given, over all images at once."""
    seen: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, given, name=name: seen.__setitem__(name, given[0].double()))
        for name, module in network.named_modules()
        if isinstance(module, nn.BatchNorm2d)
    ]
    with torch.no_grad():
        network.eval()(torch.cat(list(batches)))
    for hook in hooks:
        hook.remove()
    return {n: (v.mean((0, 2, 3)), v.var((0, 2, 3), correction=0)) for n, v in seen.items()}


def check_unfolded(network: nn.Module, batches: list[Tensor]) -> None:
    """Every batch norm's running statistics are those of what it is given, and it gives what the folded layer gave."""
    found = statistics(network, batches)
    for name, (mean, variance) in found.items():
        norm: Any = network.get_submodule(name)
        assert torch.allclose(norm.running_mean.double(), mean, atol=1e-3, rtol=1e-3)
        assert torch.allclose(norm.running_var.double(), variance, atol=1e-4, rtol=1e-3)
        assert torch.allclose(norm.weight.square(), norm.running_var + norm.eps)


def test_the_real_file_is_trained_on_from(real_data: Path, people: list[Tensor]) -> None:
    """OSNet's features are the program's within 1e-4, at its own size too, and its statistics those of the images."""
    path = real_data / "weights" / "osnet_x0_25_msmt17.onnx"
    network = osnet_x0_25()
    load_folded(network, path, inputs, people)
    assert network.training
    network.eval()
    program = build(resolve(label="osnet", weights=path, normalise="imagenet"))
    for size in ((128, 64), (256, 128)):
        spec = ModelSpec(label="x", architecture="x", input_size=size, normalise=NORMALISATIONS["imagenet"])
        mine = PixelEmbedder(network, spec)(people[1])
        program.spec = spec
        assert (mine - program(people[1])).abs().max() < 1e-4
    check_unfolded(network, [inputs(batch) for batch in people])


@pytest.fixture
def folded(tmp_path: Path) -> Callable[[nn.Module], Path]:
    """A function that exports a network as PyTorch does for users: batch norms folded."""

    def export(network: nn.Module) -> Path:
        path = tmp_path / "folded.onnx"
        images = torch.rand(2, 3, 128, 64)
        with pytest.warns(DeprecationWarning, match="legacy TorchScript-based ONNX export"):
            torch.onnx.export(
                network.eval(),
                (images,),
                str(path),
                input_names=["images"],
                dynamic_axes={"images": {0: "batch"}},
                dynamo=False,
            )
        return path

    return export


def _lived(network: nn.Module) -> nn.Module:
    """The network with batch norms that are far from their start."""
    with torch.no_grad():
        for seed, module in enumerate(network.modules()):
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                random = torch.Generator().manual_seed(seed)
                module.weight.uniform_(0.5, 2, generator=random)
                module.bias.uniform_(-1, 1, generator=random)
                module.running_mean.uniform_(-1, 1, generator=random)  # type: ignore[union-attr]
                module.running_var.uniform_(0.2, 3, generator=random)  # type: ignore[union-attr]
    return network


def _images() -> list[Tensor]:
    return list(torch.rand(12, 3, 128, 64, generator=torch.Generator().manual_seed(5)).chunk(3))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_exported_network_comes_back(folded: Callable[[nn.Module], Path]) -> None:
    """Linear layers too; and what follows is a training like any other: statistics move."""
    source = _lived(tinynet())
    network = tinynet()
    load_folded(network, folded(source), inputs, _images())
    batch = inputs(_images()[0])
    with torch.no_grad():
        assert torch.allclose(network.eval()(batch), source.eval()(batch), atol=1e-4)
    check_unfolded(network, [inputs(images) for images in _images()])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("part", ["mean", "variance"])
def test_wrong_statistics_are_rejected(
    folded: Callable[[nn.Module], Path], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Planted bugs: the bias forgotten in the running mean is seen by the loader, other statistics by the check."""
    real: Any = unfold._set

    def wrong(norm: Any, *, mean: Tensor, variance: Tensor, shift: Tensor) -> None:
        if part == "mean":
            real(norm, mean=shift, variance=variance, shift=shift)
        else:
            real(norm, mean=mean, variance=2 * variance, shift=shift)

    path = folded(_lived(tinynet()))
    monkeypatch.setattr(unfold, "_set", wrong)
    with pytest.raises((InvalidFileError, AssertionError)):  # noqa: PT012 (either of the two may see it)
        network = tinynet()
        load_folded(network, path, inputs, _images())
        check_unfolded(network, [inputs(images) for images in _images()])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_another_architecture_is_refused(folded: Callable[[nn.Module], Path], real_data: Path) -> None:
    """The sentence names a layer; nothing but the right network is filled."""
    path = folded(_lived(tinynet()))
    with pytest.raises(InvalidFileError, match="is not a OSNet that can be trained on"):
        load_folded(osnet_x0_25(), path, inputs, _images())
    with pytest.raises(InvalidFileError, match=r"ViT has others: start from a safetensors file"):
        load_folded(vit_s16(), path, inputs, _images())
    with pytest.raises(InvalidFileError, match="is not a TinyNet that can be trained on"):
        load_folded(tinynet(), real_data / "weights" / "osnet_x0_25_msmt17.onnx", inputs, _images())
