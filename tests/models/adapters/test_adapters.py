"""Models of others behind pixels: the features of their own pipeline, and nothing of theirs changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import robustreid
import torch
from robustreid import UserError
from robustreid.benchmark.api import _state_sha256
from robustreid.models.adapters import from_fastreid, from_module, from_timm, from_torchreid
from robustreid.models.base import NORMALISATIONS
from torch import Tensor, nn
from torch.nn import functional as F

IMAGENET = tuple(torch.tensor(values).view(1, 3, 1, 1) for values in vars(NORMALISATIONS["imagenet"]).values())


def pictures(height: int, width: int) -> Tensor:
    """Two images (2, 3, H, W) on the 8-bit grid."""
    return torch.randint(0, 256, (2, 3, height, width)).float() / 255


def like(adapted: Callable[[Tensor], Tensor], images: Tensor, wanted: Tensor) -> bool:
    """Whether an adapted model gives the wanted features, to rounding."""
    found = adapted(images)
    return found.shape == wanted.shape and torch.allclose(found, wanted, rtol=1e-4, atol=1e-5)


def test_torchreid_is_fed_as_its_own_extractor_feeds_it(torchreid_model: nn.Module) -> None:
    """ImageNet's mean and std at 256x128, features in place of logits, whatever mode the model was in."""
    images = pictures(256, 128)
    own = copy.deepcopy(torchreid_model).eval()
    wanted = own((images - IMAGENET[0]) / IMAGENET[1])
    adapted = from_torchreid(torchreid_model)
    assert like(adapted, images, wanted)
    assert adapted(pictures(128, 64)).shape == (2, 12)
    assert not like(own, images, wanted)  # the twin that forgets to normalise
    assert like(from_torchreid(nn.DataParallel(torchreid_model)), images, wanted)
    assert like(from_torchreid(SimpleNamespace(model=torchreid_model)), images, wanted)
    assert from_torchreid(torchreid_model, input_size=(160, 64)).spec.input_size == (160, 64)


def test_fastreid_gets_grey_levels_under_its_key(fastreid_model: nn.Module) -> None:
    """It normalises inside and in place, which reaches neither the caller's images nor their gradient."""
    images = pictures(256, 128)
    before = images.clone()
    wanted = copy.deepcopy(fastreid_model).eval()({"images": 255 * images})
    adapted = from_fastreid(fastreid_model)
    assert like(adapted, images, wanted)
    assert torch.equal(images, before)
    config = SimpleNamespace(INPUT=SimpleNamespace(SIZE_TEST=[384, 128]))
    assert from_fastreid(SimpleNamespace(model=fastreid_model, cfg=config)).spec.input_size == (384, 128)
    assert from_fastreid(fastreid_model, input_size=[64, 32]).spec.input_size == (64, 32)


def test_timm_gives_the_feature_before_its_classifier(timm_model: Any) -> None:
    """With the mean, std and size of its configuration; a transformer made for another size says that itself."""
    images = pictures(64, 48)
    mean, std = (torch.tensor(timm_model.pretrained_cfg[name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    bare = copy.deepcopy(timm_model).eval()
    bare.fc = nn.Identity()
    wanted = bare((images - mean) / std)
    assert like(from_timm(timm_model), images, wanted)
    assert like(from_timm(bare), images, wanted)
    timm_model.pretrained_cfg = SimpleNamespace(**timm_model.pretrained_cfg)
    assert like(from_timm(timm_model), images, wanted)
    timm_model.patch_embed = SimpleNamespace(img_size=(32, 16))
    assert from_timm(timm_model).spec.input_size == (32, 16)
    assert from_timm(timm_model, input_size=(48, 24)).spec.input_size == (48, 24)


@pytest.mark.parametrize("scale", [1, 255])
@pytest.mark.parametrize("bgr", [False, True])
@pytest.mark.parametrize("normalise", ["none", "imagenet", {"mean": [0.1, 0.2, 0.3], "std": [1, 2, 3]}])
def test_any_module_is_fed_as_it_is_said(scale: int, bgr: bool, normalise: Any) -> None:
    """Resized, normalised on RGB in [0, 1], multiplied, channels in order: what a plain line of torch computes."""
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1))
    adapted = from_module(network, normalise=normalise, input_size=(32, 16), scale=scale, bgr=bgr)
    images = pictures(48, 24)
    resized = F.interpolate(images, (32, 16), mode="bilinear", antialias=True)
    rules = {"none": (torch.zeros(3), torch.ones(3)), "imagenet": IMAGENET}
    mean, std = rules[normalise] if isinstance(normalise, str) else map(torch.tensor, normalise.values())
    inputs = scale * (resized - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    wanted = network(inputs[:, [2, 1, 0]] if bgr else inputs)[:, :, 0, 0]
    assert like(adapted, images, wanted)
    others = from_module(network, normalise=normalise, input_size=(32, 16), scale=256 - scale, bgr=bgr)
    assert not like(others, images, wanted)


@pytest.mark.parametrize("kind", ["torchreid", "fastreid", "timm", "module"])
def test_what_was_given_is_left_alone_and_gradients_flow(kind: str, request: pytest.FixtureRequest) -> None:
    """Mode, gradients and weights of the caller's model; images get a gradient, weights of the copy none."""
    model = torchreid = request.getfixturevalue(f"{'torchreid' if kind == 'module' else kind}_model")
    adapt: dict[str, Callable[[Any], nn.Module]] = {
        "torchreid": from_torchreid,
        "fastreid": from_fastreid,
        "timm": from_timm,
        "module": from_module,
    }
    before = copy.deepcopy(model.state_dict())
    adapted = adapt[kind](model if kind != "module" else torchreid.eval())
    images = pictures(80, 40).requires_grad_()
    adapted.train()
    adapted(images).square().sum().backward()
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert all(weight.grad is None and not weight.requires_grad for weight in adapted.parameters())
    assert all(weight.requires_grad for weight in model.parameters())
    assert model.training == (kind != "module")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert adapted(images.detach()).equal(adapted(images.detach()))


def test_one_line_evaluates(timm_model: nn.Module, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a model of others to a row; two ways to feed one network are two models in a kept folder."""
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path))
    few = {"name": "synthetic", "identities": 3, "distractors": 1}
    result = robustreid.evaluate(from_timm(timm_model), few, attack="ama-fgsm", epsilon="4/255", side="query")
    assert (result.status, result.model, result.n_query) == ("done", "Adapted", 12)
    assert result.mAP_attacked < result.mAP_clean
    bare = nn.Sequential(nn.Conv2d(3, 5, 3), nn.AdaptiveAvgPool2d(1))
    ways: list[dict[str, Any]] = [{}, {"scale": 255}, {"bgr": True}, {"normalise": "imagenet"}, {"input_size": (9, 9)}]
    assert len({_state_sha256(from_module(bare, **way)) for way in ways}) == len(ways)
    assert _state_sha256(from_module(bare)) == _state_sha256(from_module(bare))


class Pair(nn.Module):
    """Gives two things."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        return images.mean((2, 3)), images


@pytest.mark.parametrize(
    ("adapt", "message"),
    [
        (lambda: from_torchreid(nn.Linear(2, 2)), r"got a Linear without torchreid's attribute `loss`; expected a mod"),
        (lambda: from_fastreid(nn.Linear(2, 2)), r"got a Linear without the buffers pixel_mean and pixel_std; expecte"),
        (lambda: from_timm(nn.Linear(2, 2)), r"without forward_features, forward_head, pretrained_cfg; expected a mod"),
        (lambda: from_timm("resnet50"), r"^from_timm got a str; expected a torch\.nn\.Module\.$"),
        (lambda: from_module(lambda x: x), r"^from_module got a function; expected a torch\.nn\.Module\.$"),  # type: ignore[arg-type]
        (lambda: from_module(nn.Identity(), scale=100), r"got scale 100; expected 1 for images in \[0, 1\] or 255 for"),
        (
            lambda: from_module(nn.Identity(), normalise="imagnet"),
            r"Unknown normalisation 'imagnet'\. Did you mean 'im",
        ),
        (lambda: from_module(nn.Identity(), input_size=(0, 3)), r"has input_size \[0, 3\]; expected \[height, width\]"),
        (lambda: from_module(nn.Identity()), r"output of shape \(2, 3, 256, 128\) for 2 images; expected one feature"),
        (
            lambda: from_module(Pair()),
            r"^The model gave a tuple, expected features \(B, D\); wrap it in a module whose",
        ),
        (
            lambda: from_module(nn.Sequential(nn.Flatten(), nn.Linear(7, 2))),
            r"^The Sequential does not run on images of 256x128: RuntimeError: mat1 and mat2.*; give the size that it",
        ),
    ],
)
def test_what_is_not_a_model_is_told_at_once(adapt: Callable[[], object], message: str) -> None:
    """What came, what was expected, and what to do, in one sentence."""
    with pytest.raises(UserError, match=message):
        adapt()


def test_a_model_of_one_channel_is_refused(timm_model: Any) -> None:
    """Networks of timm are made for any number of channels."""
    timm_model.pretrained_cfg["input_size"] = (1, 28, 28)
    with pytest.raises(UserError, match=r"^from_timm got a model of images with 1 channels; expected 3, red, green"):
        from_timm(timm_model)
