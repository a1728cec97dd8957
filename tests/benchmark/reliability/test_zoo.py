"""Each model of the zoo raises the flags that it deserves and no other; the default attack goes through its stages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import robustreid
from robustreid import UserError
from torch import nn

#: By model: flags under the attack that knows its stages, and under one that looks for nothing.
EXPECTED: dict[str, tuple[set[str], set[str]]] = {
    "plain": (set(), set()),
    "killer": ({"hides-gradients"}, {"zero-gradient", "unbounded-attack-fails"}),
    "jpeg": ({"hides-gradients"}, {"zero-gradient", "unbounded-attack-fails"}),
    "bit-depth": ({"hides-gradients"}, {"zero-gradient", "unbounded-attack-fails"}),
    "saturated": ({"hides-gradients"}, {"zero-gradient", "unbounded-attack-fails"}),
    "purifier": (
        {"optimises-at-inference", "hides-gradients"},
        {"optimises-at-inference", "zero-gradient", "unbounded-attack-fails"},
    ),
    "dropout": ({"randomised-features"}, {"randomised-features"}),
    "batch-norm": ({"batch-dependent-features"}, {"batch-dependent-features"}),
}
#: Those that a declared stage protects from an attack that looks for nothing.
HIDING = ("killer", "jpeg", "bit-depth", "saturated", "purifier")


#: The gallery side has references and an unbounded attack of its own; one model of each kind shows that.
CASES = [(name, "query") for name in EXPECTED] + [(name, "gallery") for name in ("plain", "killer", "batch-norm")]


@pytest.mark.parametrize(("name", "side"), CASES)
def test_a_model_raises_exactly_its_flags(attacked: Callable[..., Any], name: str, side: str) -> None:
    """With `adaptive: off` the gradient is zero; with the default it is not, and the row says what it passed."""
    known, blind = EXPECTED[name]
    assert set(attacked(name, side=side).flags) == known
    assert set(attacked(name, side=side, adaptive="off").flags) == blind


@pytest.mark.parametrize("name", HIDING)
def test_the_default_attack_breaks_what_the_plain_one_does_not(attacked: Callable[..., Any], name: str) -> None:
    """Through the declared stage a model falls as deep as the undefended one; an attack that is told nothing fails."""
    undefended = attacked("plain", checks="quick").mAP_attacked
    through, blind = attacked(name, checks="quick"), attacked(name, checks="quick", adaptive="off")
    assert through.mAP_attacked < undefended + 0.1
    assert blind.mAP_attacked > 0.8 * blind.mAP_clean
    assert blind.mAP_clean == through.mAP_clean  # what is scored is not touched
    assert blind.cell_id != through.cell_id


def test_naming_the_stage_is_the_default_s_attack(attacked: Callable[..., Any]) -> None:
    """A grid that names what the model declares gets the same images, under another id that says so."""
    named, default = attacked("bit-depth", adaptive={"bpda": ["before"]}), attacked("bit-depth")
    assert named.mAP_attacked == default.mAP_attacked
    assert named.cell_id != default.cell_id
    assert '"bpda": "before"' in named.attack_params
    assert "bpda" not in default.attack_params


@pytest.mark.slow
def test_samples_see_through_a_random_stage(attacked: Callable[..., Any]) -> None:
    """The mean of twenty gradients, the default for a model that says it is random, beats a single one by far."""
    many, one = attacked("random-resize", checks="quick"), attacked("random-resize", checks="quick", adaptive="off")
    assert set(many.flags) == set(one.flags) == {"randomised-features"}
    assert many.backwards == 20 * one.backwards
    assert many.mAP_attacked < one.mAP_attacked - 0.15


def test_a_few_samples_help_already(attacked: Callable[..., Any]) -> None:
    """`eot` in a grid sets the samples of a random model, and its flags stay."""
    few, one = attacked("random-resize", adaptive={"eot": 4}), attacked("random-resize", adaptive="off")
    assert set(few.flags) == set(one.flags) == {"randomised-features"}
    assert few.backwards == 4 * one.backwards
    assert few.mAP_attacked < one.mAP_attacked - 0.05


def test_the_quick_level_leaves_the_expensive_check_out(attacked: Callable[..., Any]) -> None:
    """`checks` decides a flag, and neither a number nor an id."""
    full, quick = (attacked("killer", adaptive="off", checks=level) for level in ("full", "quick"))
    assert set(full.flags) - set(quick.flags) == {"unbounded-attack-fails"}
    assert (full.cell_id, full.mAP_attacked, full.backwards) == (quick.cell_id, quick.mAP_attacked, quick.backwards)


def test_a_stage_that_is_not_there_is_refused(attacked: Callable[..., Any]) -> None:
    """A typing error must not pass for robustness."""
    with pytest.raises(UserError, match=r"has no stage 'befor'.*Did you mean 'before'"):
        attacked("jpeg", adaptive={"bpda": ["befor"]})


def test_findings_are_kept(model: Callable[[str], nn.Module], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run into the same folder takes what the first one found, and gives its row the same flags."""
    from robustreid.benchmark.runner import checks

    data = {"name": "synthetic", "identities": 3, "distractors": 0}
    options: dict[str, Any] = {"side": "query", "device": "cpu", "out": tmp_path, "adaptive": "off"}
    first = robustreid.evaluate(model("killer"), data, epsilon="1/255", **options)
    (kept,) = (tmp_path / "checks").iterdir()
    monkeypatch.setattr(checks, "feature_findings", lambda *_: pytest.fail("the model was checked again"))
    second = robustreid.evaluate(model("killer"), data, epsilon="2/255", **options)
    assert first.flags == second.flags
    assert "zero-gradient" in second.flags
    kept.write_text("{")
    with pytest.raises(pytest.fail.Exception):
        robustreid.evaluate(model("killer"), data, epsilon="3/255", **options)
