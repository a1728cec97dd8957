"""The plain real models raise nothing: a check that cries on them would be worth nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import robustreid

#: What each expects, and on which set.
MODELS = [
    ("person-reidentification-retail-0031.onnx", "none", "cuhk01-mini"),
    pytest.param("person-reidentification-retail-0288.onnx", "none", "cuhk01-mini", marks=pytest.mark.slow),
    pytest.param("osnet_x0_25_msmt17.onnx", "imagenet", "cuhk01-mini", marks=pytest.mark.slow),
    pytest.param("osnet_x0_25_msmt17.onnx", "imagenet", "market1501-mini", marks=pytest.mark.slow),
]


@pytest.mark.slow
@pytest.mark.parametrize("side", ["query", "gallery"])
@pytest.mark.parametrize(("weights", "normalise", "source"), MODELS)
def test_a_real_model_raises_no_flag(
    real_data: Path, people: Callable[..., Path], weights: str, normalise: str, source: str, side: str
) -> None:
    """Whatever the attack: one without a random start, one with, one whose gradient vanishes, one that ranks."""
    entry = {"name": "m", "weights": str(real_data / "weights" / weights), "normalise": normalise}
    for attack in ("ama-ifgsm", "sma", "gtm"):
        found = robustreid.evaluate(
            entry, people(24, source), attack=attack, epsilon="4/255", side=side, device="cpu", batch_size=32
        )
        assert found.flags == (), attack
