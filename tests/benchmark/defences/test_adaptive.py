"""The default adversary goes through every defence; one who looks for nothing is told that he found nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import robustreid
from robustreid.models.defences.filters import MedianStage
from robustreid.models.defences.jpeg import JpegStage

HIDDEN = {"zero-gradient", "unbounded-attack-fails"}
#: By defence: flags under the default, and under an adversary who looks for nothing.
EXPECTED: dict[str, tuple[set[str], set[str]]] = {
    "jpeg": ({"hides-gradients"}, HIDDEN),
    "bit-depth": ({"hides-gradients"}, HIDDEN),
    "blur": (set(), set()),
    "median": (set(), set()),
}
#: Defences that draw, with what keeps their tests quick.
RANDOM: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "resize-pad": ({"name": "resize-pad"}, {"eot": 4}),
    "smoothing": ({"name": "smoothing", "copies": 3}, {"eot": 2}),
}


@pytest.mark.parametrize("name", list(EXPECTED))
def test_a_defence_raises_exactly_its_flags(attacked: Callable[..., Any], name: str) -> None:
    """What hides a gradient is seen where nobody goes through it, and where somebody does the row says that he did."""
    known, blind = EXPECTED[name]
    assert set(attacked(name, checks="full").flags) == known
    # What the blind one follows is the gradient of the same features: without a doubt of it nothing more is asked.
    assert set(attacked(name, checks="full" if blind else "quick", adaptive="off").flags) == blind


@pytest.mark.parametrize("name", list(RANDOM))
def test_a_random_defence_says_that_a_score_is_one_draw(attacked: Callable[..., Any], name: str) -> None:
    """Whoever attacks it, though two forwards of one image agree; one gradient is one draw without EOT."""
    defence, adaptive = RANDOM[name]
    known, blind = (attacked(defence, adaptive=each, epsilon="1/255") for each in (adaptive, "off"))
    assert set(known.flags) == set(blind.flags) == {"randomised-features"}
    assert known.backwards == adaptive["eot"] * blind.backwards


@pytest.mark.parametrize("name", ["jpeg", "bit-depth"])
def test_the_default_attack_breaks_what_the_blind_one_does_not(attacked: Callable[..., Any], name: str) -> None:
    """Nearly as deep as the undefended model; what is scored is not touched."""
    undefended, through, blind = attacked(None), attacked(name), attacked(name, adaptive="off")
    assert undefended.mAP_attacked < 0.1
    assert through.mAP_attacked < undefended.mAP_attacked + 0.15
    assert blind.mAP_attacked > 0.95 * blind.mAP_clean
    assert blind.mAP_clean == through.mAP_clean
    assert blind.cell_id != through.cell_id


@pytest.mark.parametrize(("name", "stage", "gain"), [("jpeg", JpegStage, 0.25), ("median", MedianStage, 0.15)])
def test_a_gradient_passed_straight_is_a_weaker_attack(
    attacked: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, name: str, stage: Any, gain: float
) -> None:
    """What `pull_back` is for: with the identity in its place the defence would look far better than it is."""
    through = attacked(name)
    monkeypatch.delattr(stage, "pull_back")
    straight = attacked(name, batch_size=17)  # another request, so that it is run
    assert straight.mAP_attacked > through.mAP_attacked + gain


def test_several_gradients_see_through_draws(attacked: Callable[..., Any]) -> None:
    """The mean of four beats a single one; the default is twenty."""
    defence, adaptive = RANDOM["resize-pad"]
    assert attacked(defence, adaptive=adaptive).mAP_attacked < attacked(defence, adaptive="off").mAP_attacked - 0.1


@pytest.mark.slow
def test_the_default_is_twenty_gradients(attacked: Callable[..., Any]) -> None:
    """For a model that draws once; one that takes a mean of twenty draws needs one."""
    one, many = attacked("resize-pad", adaptive="off"), attacked("resize-pad")
    assert many.backwards == 20 * one.backwards
    assert many.mAP_attacked < one.mAP_attacked - 0.2
    assert set(many.flags) == {"randomised-features"}
    smooth = attacked("smoothing", checks="full")
    assert smooth.backwards == one.backwards
    assert smooth.mAP_attacked < 0.2
    assert set(smooth.flags) == {"randomised-features"}


@pytest.mark.slow
def test_a_real_model_behind_a_jpeg_falls_as_well(real_data: Path, people: Callable[..., Path]) -> None:
    """OSNet on real images at 8/255: within 10 points of the undefended model, far from what a blind attack says."""
    entry = {"name": "m", "weights": str(real_data / "weights" / "osnet_x0_25_msmt17.onnx"), "normalise": "imagenet"}
    options: dict[str, Any] = {"epsilon": "8/255", "side": "query", "device": "cpu", "batch_size": 16}
    folder = people(24)
    undefended = robustreid.evaluate(entry, folder, **options)
    defended = {"defence": "jpeg", **entry}
    through = robustreid.evaluate(defended, folder, **options)
    blind = robustreid.evaluate(defended, folder, adaptive="off", **options)
    assert through.mAP_attacked < undefended.mAP_attacked + 0.1
    assert (through.flags, blind.mAP_attacked > 0.8) == (("hides-gradients",), True)
    assert "zero-gradient" in blind.flags
