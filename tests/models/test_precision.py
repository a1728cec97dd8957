"""The arithmetic of `precision: fast`: what a device has, and a twin that is the same model or is not used."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from robustreid import UserError
from robustreid.models.base import ModelSpec
from robustreid.models.pixels import PixelEmbedder
from robustreid.models.precision import ARITHMETICS, Arithmetic, compiled, fast_arithmetic, switched, twin
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
    assert model.get_parameter("network.conv.weight").dtype == torch.float32
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


@pytest.mark.parametrize(
    ("compiler", "is_used"),
    [
        (lambda network: network, True),
        (lambda network: nn.Sequential(network, nn.Hardtanh(-1, -0.9)), False),
        (None, False),
    ],
)
def test_a_compiled_model_is_used_where_it_is_the_same(
    monkeypatch: pytest.MonkeyPatch, compiler: Callable[[nn.Module], nn.Module] | None, is_used: bool
) -> None:
    """Tried on a whole batch with its gradient; one with other features, or no compiler, is None."""
    shapes: list[int] = []

    def compile_(network: nn.Module, **options: object) -> nn.Module:
        if compiler is None:
            raise RuntimeError("no C++ compiler")
        assert options["dynamic"] is False
        found = compiler(network)
        found.register_forward_pre_hook(lambda module, inputs: shapes.append(len(inputs[0])))
        return found

    monkeypatch.setattr(torch, "compile", compile_)
    model = PixelEmbedder(Network(), SPEC)
    assert (compiled(model, 5) is not None) == is_used
    assert set(shapes) == (set() if compiler is None else {5})


@pytest.mark.slow
def test_the_compiler_keeps_the_model() -> None:
    """The real compiler on the real small network in bf16: nearly the same features and signs of gradients."""
    from robustreid.models.load import build, resolve
    from robustreid.models.zoo import find

    entry, weights = find("tiny")
    model = build(resolve(label="tiny", architecture=entry.architecture, weights=weights, normalise=entry.normalise))
    follower, _ = twin(model, "bf16")
    found = compiled(follower, 4)
    if found is None:
        pytest.skip("torch.compile does not work here; it needs a C++ compiler")
    images = torch.rand(4, 3, 128, 64, generator=torch.Generator().manual_seed(2))
    signs = []
    for each in (model, found):
        leaf = images.clone().requires_grad_()
        features = each(leaf)
        signs.append(torch.autograd.grad(features[:, 0].sum(), leaf)[0].sign())
    assert 0.9 < (signs[0] == signs[1]).float().mean() < 1


def test_tf32_is_a_switch_that_goes_back() -> None:
    """On while it lasts, also where an attack fails, and then as it was; no other arithmetic touches it."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    assert not matmul.allow_tf32
    with cudnn.flags(enabled=True, allow_tf32=False):
        for arithmetic in ARITHMETICS:
            seen: list[bool] = []

            def fail(arithmetic: Arithmetic = arithmetic, seen: list[bool] = seen) -> None:
                with switched(arithmetic):
                    seen.extend((matmul.allow_tf32, cudnn.allow_tf32))
                    raise ZeroDivisionError

            with pytest.raises(ZeroDivisionError):
                fail()
            assert seen == [arithmetic == "tf32"] * 2
            assert (matmul.allow_tf32, cudnn.allow_tf32) == (False, False)


def test_float32_within_tf32_is_float32() -> None:
    """What is scored in the middle of a walk is scored as at its end; afterwards the walk goes on as it was."""
    with torch.backends.cudnn.flags(allow_tf32=False):
        matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
        with switched("tf32"):
            with switched("float32"):
                assert (matmul.allow_tf32, cudnn.allow_tf32) == (False, False)
            assert (matmul.allow_tf32, cudnn.allow_tf32) == (True, True)
        assert not cudnn.allow_tf32
