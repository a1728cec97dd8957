"""The arithmetic of `precision: fast`: what a device has, and a twin that is the same model or is not used."""

from __future__ import annotations

import pytest
import torch
from robustreid import UserError
from robustreid.models import precision
from robustreid.models.base import ModelSpec
from robustreid.models.pixels import PixelEmbedder
from robustreid.models.precision import fast_arithmetic, switched, twin
from torch import Tensor, nn
from torch.nn import functional as F

CPU = torch.device("cpu")
SPEC = ModelSpec(label="m", architecture="test", input_size=(16, 8), metric="euclidean")


class Network(nn.Module):
    """One convolution; in bf16 it may do something else."""

    def __init__(self, in_bf16: str = "the same") -> None:
        super().__init__()
        self.in_bf16 = in_bf16
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype == torch.bfloat16:
            if self.in_bf16 == "fails":
                raise RuntimeError("not implemented for BFloat16")
            if self.in_bf16 == "nan":
                return torch.full((len(x), 8), float("nan"), dtype=x.dtype)
            if self.in_bf16 == "other":
                return torch.randn(len(x), 8).to(x.dtype)
        return F.relu(self.conv(x)).mean((2, 3))


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_bf16": True}, "bf16"), ({"amx_bf16": True}, "bf16"), ({"avx512_f": True}, "float32"), ({}, "float32")],
)
def test_a_cpu_takes_bf16_where_it_has_it(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    """Emulated bf16 would be slower than float32, so instructions decide; a request of the user's decides before."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert fast_arithmetic(CPU) == expected
    assert fast_arithmetic(CPU, "bf16") == "bf16"
    assert fast_arithmetic(CPU, "float32") == "float32"


@pytest.mark.parametrize("wanted", ["tf32", "fp8"])
def test_what_a_device_does_not_have_is_refused(wanted: str) -> None:
    """In one sentence that names what can be had."""
    with pytest.raises(UserError, match=rf"Gradients in '{wanted}' .* on cpu; choose auto, bf16 or float32\."):
        fast_arithmetic(CPU, wanted)


def test_the_twin_is_nearly_the_model_and_leaves_it_alone() -> None:
    """Other numbers, the same direction; the original's weights stay float32, features come in float32."""
    model = PixelEmbedder(Network(), SPEC)
    found, arithmetic = twin(model, "bf16")
    assert arithmetic == "bf16"
    images = torch.rand(4, 3, 16, 8)
    wanted, features = model(images), found(images)
    assert features.dtype == torch.float32
    assert model.network.conv.weight.dtype == torch.float32
    assert not torch.equal(features, wanted)
    assert F.cosine_similarity(features, wanted).min() > 0.99


def test_the_twins_gradient_is_nearly_the_models() -> None:
    """Its signs are what an attack follows."""
    model = PixelEmbedder(Network(), SPEC)
    images = torch.rand(4, 3, 16, 8)
    signs = []
    for each in (model, twin(model, "bf16")[0]):
        leaf = images.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(each(leaf).square().sum(), leaf)
        signs.append(gradient.sign())
    assert 0.9 < (signs[0] == signs[1]).float().mean() < 1


@pytest.mark.parametrize("in_bf16", ["fails", "nan", "other"])
def test_a_model_that_is_another_in_bf16_is_followed_in_float32(in_bf16: str) -> None:
    """The planted bugs: a twin that raises, gives NaN, or gives other features is never used."""
    model = PixelEmbedder(Network(in_bf16), SPEC)
    found, arithmetic = twin(model, "bf16")
    assert found is model
    assert arithmetic == "float32"


def test_a_function_has_no_twin() -> None:
    """There are no weights to copy."""
    model = PixelEmbedder(lambda x: x.flatten(1), SPEC)
    assert twin(model, "bf16") == (model, "float32")


def test_tf32_is_a_switch_that_goes_back() -> None:
    """On while it lasts, also where an attack fails, and then as it was; no other arithmetic touches it."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    assert not matmul.allow_tf32
    with cudnn.flags(enabled=True, allow_tf32=False):
        for arithmetic, expected in (("tf32", True), ("bf16", False), ("float32", False)):
            seen = []

            def fail(arithmetic: str = arithmetic, seen: list[tuple[bool, bool]] = seen) -> None:
                with switched(arithmetic):
                    seen.append((matmul.allow_tf32, cudnn.allow_tf32))
                    raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                fail()
            assert seen == [(expected, expected)]
            assert (matmul.allow_tf32, cudnn.allow_tf32) == (False, False)
    assert precision.ARITHMETICS == ("float32", "bf16", "tf32")
