"""One table of flags: every name that is raised is in it, and the page says what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from robustreid.attacks.reliability import thresholds
from robustreid.attacks.reliability.thresholds import FLAGS, words

ROOT = Path(__file__).resolve().parents[3]
#: Where flags are raised: as texts in quotes.
RAISING = ("attacks", "benchmark", "leaderboards")


def test_the_page_has_a_row_a_flag_word_for_word() -> None:
    """Names, conditions, reasons and remedies, in the table's order."""
    rows = [line for line in (ROOT / "docs/flags.md").read_text().splitlines() if line.startswith("| `")]
    said = [f"| `{f.name}` | {f.raised_if} | {f.why} | {f.what_to_do} |" for f in FLAGS.values()]
    assert rows == said


def test_words_are_made_of_the_numbers_that_decide() -> None:
    """A threshold that is changed changes the page."""
    numbers = {
        "zero-gradient": ("0.0001", "50 %", "8/255"),
        "randomised-features": ("0.001",),
        "batch-dependent-features": ("0.001",),
        "unbounded-attack-fails": ("100 steps", "32 images", "5 points"),
        "rounding-changes-score": ("1 point",),
        "black-box-beats-white-box": ("1 point",),
        "score-rises-with-epsilon": ("1 point",),
        "more-steps-help": ("2 points",),
    }
    for name, texts in numbers.items():
        assert all(text in FLAGS[name].raised_if for text in texts), name
    assert thresholds._points(0.025) == "2.5 points"


@pytest.mark.parametrize("name", FLAGS)
def test_every_flag_is_raised_somewhere(name: str) -> None:
    """A name that no code raises would be a promise that nobody keeps."""
    family = re.sub(r"-(bf16|tf32)$", "-{", name)
    files = [file for folder in RAISING for file in (ROOT / folder).rglob("*.py") if file.name != "thresholds.py"]
    assert any(f'"{family}' in file.read_text() for file in files)


def test_an_unknown_flag_still_gets_words() -> None:
    """An attack of a user's may raise one of its own."""
    assert words("projected") == FLAGS["projected"].raised_if
    assert words("mine") == "raised by the attack itself"
