"""Where a defence stands, how it combines, and that what it draws depends on the image alone."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from robustreid import UserError
from robustreid.models.defences import defend
from robustreid.models.defences.catalogue import DEFENCES, DefenceError, list_defences, parse, parse_one
from robustreid.models.defences.parameters import Blur, Jpeg, Smoothing
from robustreid.models.defences.stage import Stages
from robustreid.models.defences.wrapping import Defended
from robustreid.models.passing import sampled
from robustreid.models.pixels import PixelEmbedder, resize
from robustreid.models.precision import twin
from robustreid.models.stages import declared
from torch import Tensor, nn

RANDOM = [{"name": "resize-pad", "share": 0.6}, {"name": "smoothing", "copies": 2}]


@pytest.mark.parametrize("name", DEFENCES.names())
def test_a_defence_acts_once_on_pixels_before_the_resize(net: Any, images: Tensor, name: str) -> None:
    """The scored features are those of defended images; twice, afterwards or never are other features."""
    model, plain = net(name), net()
    stages = Stages(parse(name))
    once = stages(plain, images)
    resized = resize(images, (16, 8))
    wrong = {
        "skipped": plain(images),
        "after the resize": stages(plain, resized),
        "twice": stages(lambda pixels: stages(plain, pixels), images),
    }
    with torch.no_grad():
        assert torch.equal(model(images), once)
    for what, features in wrong.items():
        # To round twice is to round once; all else moves.
        is_same = (name, what) == ("bit-depth", "twice")
        assert torch.equal(features, once) == is_same, what


def test_several_are_met_in_their_order(net: Any, images: Tensor) -> None:
    """The first one first; another order is another model."""
    model = net(["bit-depth", "blur"])
    rough, soft = (Stages((parse_one(name),))[name] for name in ("bit-depth", "blur"))
    assert torch.equal(model(images), net()(soft(rough(images))))
    assert not torch.equal(model(images), net(["blur", "bit-depth"])(images))


@pytest.mark.parametrize("defence", [*RANDOM, RANDOM])
def test_what_is_drawn_depends_on_the_image_alone(net: Any, images: Tensor, defence: Any) -> None:
    """The same features in any order, in any company, at any time; in float64 the same up to rounding."""
    model = net(defence)
    with torch.no_grad():
        found = model(images)
        torch.manual_seed(5)
        assert torch.equal(model(images), found)
        order = [2, 0, 3, 1]
        assert torch.allclose(model(images[order]), found[order], atol=1e-6)
        assert torch.allclose(torch.cat([model(image[None]) for image in images]), found, atol=1e-6)
        assert torch.allclose(net(defence).double()(images.double()).float(), found, atol=1e-5)
        same = model(images[:1].repeat(3, 1, 1, 1))
        assert torch.allclose(same, found[:1].expand(3, -1), atol=1e-6)


@pytest.mark.parametrize("defence", RANDOM)
def test_another_image_sample_or_seed_draws_anew(net: Any, images: Tensor, defence: dict[str, Any]) -> None:
    """A single grey level is another image; the sample is the adversary's, and 0 is the one that scores."""
    model = net(defence)
    seen: list[Tensor] = []

    def note(pixels: Tensor) -> Tensor:
        seen.append(pixels.flatten(1)[:, :50])
        return pixels.flatten(1)

    def first(pixels: Tensor) -> Tensor:
        seen.clear()
        model.defences(note, pixels)
        return seen[0]

    constant = torch.full_like(images, 100 / 255)
    nudged = constant.clone()
    nudged[:, 0, -1, -1] += 1 / 255
    scored = first(constant)
    with sampled(0):
        assert torch.equal(first(constant), scored)
    with sampled(1):
        assert not torch.equal(first(constant), scored)
    if defence["name"] == "smoothing":
        assert not torch.allclose(first(nudged), scored, atol=2 / 255)
    with torch.no_grad():
        assert not torch.equal(net({**defence, "seed": 1})(images), model(images))


def test_a_mean_of_unit_features_is_a_unit_feature(net: Any, images: Tensor) -> None:
    """With metric `cosine`; each copy counts the same."""
    found = net(RANDOM[1], metric="cosine")(images)
    assert torch.allclose(found.norm(dim=1), torch.ones(4), atol=1e-6)
    assert not torch.allclose(net(RANDOM[1])(images).norm(dim=1), torch.ones(4), atol=1e-2)


def test_the_fast_twin_shares_the_defences(net: Any, images: Tensor) -> None:
    """What it draws as well: its features are those of the model in a rougher arithmetic."""
    for defence in ("jpeg", RANDOM[0], RANDOM[1]):
        model = net(defence)
        fast, arithmetic = twin(model, "bf16")
        assert arithmetic == "bf16"
        assert fast.spec == model.spec
        assert float(nn.functional.cosine_similarity(fast(images), model(images)).min()) > 0.995


def test_defend_puts_a_defence_before_those_that_are_there(net: Any, images: Tensor) -> None:
    """A model of ours comes back as one, another callable as a module that says what it has."""
    model = defend(defend(net(), "blur"), "bit-depth", bits=3)
    assert isinstance(model, PixelEmbedder)
    assert model.spec.defence_title == "bit-depth(bits=3) + blur(sigma=1.0, size=5)"
    assert torch.equal(model(images), net([{"name": "bit-depth", "bits": 3}, "blur"])(images))
    other = defend(nn.Flatten(), "jpeg", quality=60)
    assert isinstance(other, Defended)
    assert declared(nn.Sequential(other)).stages == ("0.defences.jpeg",)
    assert "jpeg(quality=60), version 1" in repr(other)
    assert torch.equal(other(images), Stages((Jpeg(quality=60),))["jpeg"](images).flatten(1))
    assert declared(defend(net(), "resize-pad")).samples == 20
    assert defend(lambda pixels: pixels.flatten(1), "blur")(images).shape == (4, 720)


def test_a_model_without_defences_prints_as_before(net: Any) -> None:
    """A module in memory is known by its printed form."""
    assert "defence" not in repr(net())
    assert net().state_dict().keys() == net(["blur", "jpeg"]).state_dict().keys()


def test_requests_are_names_parameters_or_several() -> None:
    """One and 1.0 are one number, and a default that is spelled out is the default."""
    assert parse(None) == parse([]) == ()
    assert parse("jpeg") == parse({"name": "jpeg", "quality": 75}) == parse([Jpeg()]) == (Jpeg(),)
    assert (
        parse({"name": "blur", "sigma": 1})[0].identity() == Blur().identity() == ["blur", 1, {"sigma": 1.0, "size": 5}]
    )
    assert str(Smoothing(seed=123456789)) == "smoothing(sigma=0.1, copies=20, seed=123456789)"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("jpg", r"Unknown defence 'jpg'. Did you mean 'jpeg'\? Available: jpeg, bit-depth"),
        ({"name": "jpeg", "qualty": 3}, r"jpeg has no parameter 'qualty'. Did you mean 'quality'\?"),
        ({"name": "jpeg", "quality": 0}, "quality: expected a whole number from 1 to 100, got 0"),
        ({"name": "jpeg", "quality": True}, "quality: expected a whole number"),
        ({"name": "blur", "size": 4}, "size: expected an odd number from 1 to 99, got 4"),
        ({"name": "blur", "sigma": float("nan")}, "sigma: expected a number above 0 and at most 100, got nan"),
        ({"name": "resize-pad", "share": "0.9"}, "share: expected a number above 0 and at most 1, got '0.9'"),
        ({"quality": 3}, "expected a defence such as jpeg"),
        (3, "expected a defence such as jpeg"),
    ],
)
def test_what_means_nothing_is_refused(request_: Any, said: str) -> None:
    """In one sentence, with the nearest name."""
    with pytest.raises(DefenceError, match=said):
        parse(request_)
    with pytest.raises(UserError):
        parse(request_)


def test_the_list_says_how_each_is_attacked() -> None:
    """A record a defence, with what its parameters are by default."""
    found = {record["name"]: record for record in list_defences()}
    assert list(found) == DEFENCES.names()
    assert {name: record["attacked"] for name, record in found.items()} == {
        "jpeg": "bpda",
        "bit-depth": "bpda",
        "blur": "differentiable",
        "median": "bpda",
        "resize-pad": "eot",
        "smoothing": "eot",
    }
    assert found["jpeg"]["parameters"] == {"quality": 75}
