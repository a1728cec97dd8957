"""Options of formats: who takes which, which values they may have, and what is said of each format."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid import UserError
from robustreid.benchmark.datasets.about import ABOUT, WITHDRAWN, notice, status
from robustreid.benchmark.datasets.catalogue import (
    CHOICES,
    DRAWN,
    FORMATS,
    OPTIONS,
    TRAINING_OPTIONS,
    open_dataset,
    refuse_contradictions,
)
from robustreid.benchmark.evaluation import PROTOCOLS


@pytest.mark.parametrize("layout", [name for name in FORMATS.names() if name not in DRAWN])
def test_readers_take_what_the_catalogue_says(layout: str) -> None:
    """Neither more nor less; the first of several words is the reader's own default."""
    parameters = inspect.signature(FORMATS.load(layout)).parameters
    taken = {name: known.default for name, known in parameters.items() if name not in {"label", "root"}}
    assert set(taken) == set(OPTIONS.get(layout, ()))
    for name, words in CHOICES.get(layout, {}).items():
        assert taken[name] == words[0]
        if name == "protocol":
            assert set(words) <= set(PROTOCOLS)
            assert ABOUT[layout]["protocol"] == words[0]
    for name in ({"verify", "with_500k"}) & set(taken):
        assert taken[name] is (name == "verify")


def test_everything_is_said_of_every_format() -> None:
    """Terms and status too; both sets made of Duke's are withdrawn, and whoever opens them is told."""
    for name, facts in ABOUT.items():
        assert {"summary", "layout", "protocol", "terms", "status", "source"} <= set(facts)
        assert all("\n" not in text for text in facts.values())
        assert facts["protocol"] in PROTOCOLS
        if "options" in facts:
            assert facts["options"] == ", ".join(OPTIONS[name])
        if "protocols" in facts:
            assert facts["protocols"] == ", ".join(CHOICES[name]["protocol"])
        assert facts["status"] in {"available", "on request", WITHDRAWN}
        assert (notice(name) is None) == (facts["status"] != WITHDRAWN)
    assert [name for name in ABOUT if notice(name)] == ["dukemtmc", "occluded-duke"]
    assert "withdrawn by its authors in 2019" in str(notice("dukemtmc"))
    assert (status("a plug-in"), notice("a plug-in")) == ("", None)


@pytest.mark.parametrize(
    ("layout", "options", "told"),
    [
        ("sysu", {"protocol": "sysu-al"}, r"expected `protocol` as one of sysu-all, .*, got 'sysu-al'. Did you mean"),
        ("regdb", {"protocol": "llcm-v2i"}, r"expected `protocol` as one of regdb-v2t, regdb-t2v, got 'llcm-v2i'"),
        ("cuhk03", {"boxes": 3}, r"expected `boxes` as one of detected, labeled, got 3"),
        ("market1501", {"verify": "no"}, r"expected `verify` as true or false, got 'no'"),
        ("market1501", {"with_500k": 1}, r"expected `with_500k` as true or false, got 1"),
        ("folder", {"verify": False}, r"takes no `verify`; that is for market1501, dukemtmc, .*, llcm\."),
        ("viper", {"boxes": "labeled"}, r"takes no `boxes`; that is for cuhk03\."),
        ("viper", {"nothing": 1}, r"takes no `nothing`; remove it\."),
    ],
)
def test_wrong_options(layout: str, options: dict[str, Any], told: str, drawn: Callable[[str], Path]) -> None:
    """Told with what would be right, before anything is read."""
    for request in (
        lambda: refuse_contradictions("mine", layout, has_root=True, options=options),
        lambda: open_dataset("mine", layout, Path("absent"), options),
    ):
        with pytest.raises(UserError, match=f"^Data set 'mine'(:| takes).*{told.removeprefix('takes')}") as caught:
            request()
        assert caught.value.exit_code == 2


def test_training_options_pass_a_request() -> None:
    """Recipes name a trial; formats without splits take none."""
    for layout in TRAINING_OPTIONS:
        refuse_contradictions("mine", layout, has_root=True, options={"trial": 3})
    with pytest.raises(UserError, match="takes no `trial`"):
        refuse_contradictions("mine", "sysu", has_root=True, options={"trial": 3})
