"""The packages themselves, where they are installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from robustreid.models.adapters import export_onnx, from_timm, from_torchreid
from torch import Tensor


def normalised(images: Tensor, mean: Any, std: Any) -> Tensor:
    """(x - mean) / std."""
    return (images - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)


@pytest.mark.parametrize("name", ["resnet10t", "mobilenetv3_small_050", "deit_tiny_patch16_224"])
def test_real_models_of_timm(timm: Any, name: str, tmp_path: Path) -> None:
    """The features of a model made without a classifier, and an exported program with the same."""
    model = timm.create_model(name, pretrained=False)
    bare = timm.create_model(name, pretrained=False, num_classes=0).eval()
    bare.load_state_dict(model.state_dict(), strict=False)
    config = timm.data.resolve_model_data_config(model)
    adapted = from_timm(model)
    height, width = config["input_size"][1:]
    assert adapted.spec.input_size == (height, width)
    images = torch.rand(2, 3, height, width)
    with torch.no_grad():
        wanted = bare(normalised(images, config["mean"], config["std"]))
        assert torch.allclose(adapted(images), wanted, rtol=1e-4, atol=1e-5)
    assert export_onnx(adapted, tmp_path / "m.onnx").is_file()


def test_a_transformer_of_timm_made_for_people(timm: Any) -> None:
    """`img_size` at its making decides, not the size that it was pretrained on."""
    model = timm.create_model("vit_tiny_patch16_224", pretrained=False, img_size=(256, 128))
    adapted = from_timm(model)
    assert adapted.spec.input_size == (256, 128)
    assert adapted(torch.rand(1, 3, 128, 64)).shape == (1, 192)


@pytest.mark.parametrize("name", ["osnet_x0_25", "resnet18", "mobilenetv2_x1_0"])
@pytest.mark.parametrize("loss", ["softmax", "triplet"])
def test_real_models_of_torchreid(torchreid: Any, name: str, loss: str, tmp_path: Path) -> None:
    """The features that its evaluation mode gives for images as its own extractor normalises them."""
    model = torchreid.models.build_model(name, num_classes=5, loss=loss, pretrained=False, use_gpu=False)
    images = torch.rand(2, 3, 256, 128)
    adapted = from_torchreid(model)
    with torch.no_grad():
        wanted = model.eval()(normalised(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
        assert torch.allclose(adapted(images), wanted, rtol=1e-4, atol=1e-5)
    if loss == "softmax":
        assert export_onnx(adapted, tmp_path / "m.onnx").is_file()
