"""A good model keeps the contract, and each wrong twin of it is named by the check that is there for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from robustreid.benchmark.inspection.findings import CHECKS, Inspection
from torch import nn

#: FGSM of a useless gradient is as strong as noise, give or take a point: which of the two is raised is chance.
NO_BETTER = "black-box-beats-white-box or no-better-than-noise"
#: By twin: the checks that name it, each with its verdict, a flag where that is one, and words of what was measured.
EXPECTED: Mapping[str, tuple[tuple[str, str, str], ...]] = {
    "dropout": (("determinism", "randomised-features", "of the largest entry apart"),),
    "batch norm in training mode": (
        ("batch", "batch-dependent-features", "a batch of one raises ValueError: Expected more than 1 value"),
        ("state", "changes-its-state", "forwards changed 3 of"),
        ("mode", "note", "1 parts went back to training mode: '1.norm'"),
    ),
    "handed over in training mode": (("mode", "note", "parts came in training mode"),),
    "no gradient": (
        ("gradient", "zero-gradient", "norm 0.0e+00 an image (median), 100.0 % of entries zero"),
        ("attack", NO_BETTER, "mAP of attacked queries at 4/255: FGSM "),
    ),
    "coin for a gradient": (("attack", NO_BETTER, ", noise "),),
    "constant": (
        ("people", "near-chance", "cosine 1.00 between people, 0 of 128 numbers vary"),
        ("gradient", "zero-gradient", "100.0 % of entries zero"),
        ("attack", "note", "there is nothing to lose"),
    ),
    "not a number": (("features", "fails", "NaN or infinite in 8 of 8 features"),),
    "a map": (("features", "fails", "shape (8, 128, 1, 1) for 8 images, expected (8, D)"),),
    "a tuple": (("features", "fails", "the network gave a tuple, expected floating features (B, D)"),),
    "float64 features": (("type", "note", "float64: features are stored and compared as float32"),),
    "float64 weights": (("features", "fails", "RuntimeError: Input type (float) and bias type (double)"),),
    "0 to 255": (("input", "better-fed-otherwise", "RGB in 0..255, +"),),
    "BGR": (("input", "better-fed-otherwise", "BGR as it is, +"),),
    "counting": (
        ("determinism", "note", "the same images twice: "),
        ("state", "changes-its-state", "forwards changed 1 of"),
    ),
    "smoothing": (("inference", "optimises-at-inference", "ran a backward pass"),),
    "raises": (("features", "fails", "RuntimeError: shape '[1, 2, 3]' is invalid"),),
}


def named(found: Inspection) -> tuple[tuple[str, str, str], ...]:
    """What is not fine: check, flag or else verdict, and what was measured."""
    wrong = [finding for finding in found.findings if finding.verdict != "fine"]
    return tuple((finding.name, finding.flag or finding.verdict, finding.measured) for finding in wrong)


def test_a_good_model_keeps_the_contract(look: Callable[..., Inspection]) -> None:
    """Every check is made and fine; FGSM lies under noise, noise under nothing, all above chance."""
    found = look("good")
    assert named(found) == ()
    assert tuple(finding.name for finding in found.findings) == CHECKS
    assert (found.can_be_scored, found.flags) == (True, ())
    assert found.fgsm_mAP is not None
    assert found.noise_mAP is not None
    assert found.clean_mAP is not None
    assert found.chance_mAP is not None
    assert found.chance_mAP < found.fgsm_mAP < found.noise_mAP - 0.1
    assert abs(found.noise_mAP - found.clean_mAP) < 0.1
    assert found.forwards_per_second is not None
    assert found.gradients_per_second is not None
    assert 0 < found.gradients_per_second < found.forwards_per_second
    assert (found.n_query, found.n_gallery, found.dataset, found.epsilon) == (12, 24, "synthetic", "4/255")
    assert found.device.startswith("cpu: ")


@pytest.mark.parametrize("name", EXPECTED)
def test_a_wrong_twin_is_named(look: Callable[..., Inspection], name: str) -> None:
    """By the checks that are there for it, with its flag, and by no other."""
    found = look(name)
    wrong, expected = named(found), EXPECTED[name]
    assert [check for check, *_ in wrong] == [check for check, *_ in expected]
    assert all(flag in one.split(" or ") for (_, one, _), (_, flag, _) in zip(expected, wrong, strict=True)), wrong
    assert [words for (*_, words), (*_, measured) in zip(expected, wrong, strict=True) if words not in measured] == []
    assert found.can_be_scored == all(flag != "fails" for _, flag, _ in wrong)
    assert all(finding.remedy for finding in found.findings if finding.verdict in {"flag", "fails"})


def test_what_fails_is_not_attacked(look: Callable[..., Inspection]) -> None:
    """Where there are no features there are no scores, and nothing that looks like one."""
    found = look("not a number")
    assert [finding.name for finding in found.findings] == ["features"]
    assert (found.clean_mAP, found.noise_mAP, found.fgsm_mAP, found.gradients_per_second) == (None,) * 4


def test_a_size_that_is_not_taken_is_told(look: Callable[..., Inspection]) -> None:
    """A network of one size is fine where it is said, and named where it is fed images as they come."""
    taken = {finding.name: finding for finding in look("one size", input_size=(128, 64)).findings}
    assert (taken["sizes"].verdict, taken["sizes"].measured) == (
        "fine",
        "128x64, 160x60, 256x128: resized to 128x64 inside",
    )
    given = {finding.name: finding for finding in look("one size", input_size=None).findings}
    assert (given["sizes"].verdict, given["sizes"].remedy) == ("note", "give its size: --input-size HxW")
    assert given["sizes"].measured.startswith("images of 160x60 raise RuntimeError: mat1 and mat2")


def test_the_module_is_left_as_it_was(
    look: Callable[..., Inspection], twins: Callable[[str], tuple[object, nn.Module]]
) -> None:
    """The caller's own keeps its mode and its numbers."""
    _, module = twins("handed over in training mode")
    look("handed over in training mode")
    assert module.training
    _, counting = twins("counting")
    look("counting")
    assert counting.get_buffer("1.seen") == 0
