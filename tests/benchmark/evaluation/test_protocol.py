"""Protocols and labels refuse what they are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from robustreid.benchmark.evaluation import METRIC_TABLE, METRICS, PROTOCOLS, Labels, Protocol, RankingScores


def test_market_is_version_1_with_junk_minus_one() -> None:
    """Market's published rule is what the catalogue holds under its name."""
    expected = Protocol(name="market", version=1, same_camera_is_junk=True, junk_identities=frozenset({-1}))
    assert expected == PROTOCOLS["market"]
    assert all(name == protocol.name for name, protocol in PROTOCOLS.items())


def test_labels_of_different_lengths_are_refused() -> None:
    """One camera for each identity, and the message counts both."""
    with pytest.raises(ValueError, match="got 3 identities and 2 cameras"):
        Labels(identities=np.arange(3), cameras=np.arange(2))


@pytest.mark.parametrize(
    ("identities", "found"),
    [
        (np.zeros(2, np.int32), "int32"),
        (np.zeros(2), "float64"),
        (np.zeros((2, 1), np.int64), r"shape \(2, 1\)"),
        ([0, 1], "list"),
    ],
)
def test_labels_of_another_kind_are_refused(identities: Any, found: str) -> None:
    """Only flat int64 arrays are labels."""
    with pytest.raises(ValueError, match=f"expected identities .*got .*{found}"):
        Labels(identities=identities, cameras=np.zeros(2, np.int64))


@pytest.mark.parametrize(("name", "version", "found"), [("", 1, "''"), ("market", 0, "got 0")])
def test_a_protocol_without_name_or_version_is_refused(name: str, version: int, found: str) -> None:
    """A row must be able to say which rule made it."""
    with pytest.raises(ValueError, match=found):
        Protocol(name=name, version=version, same_camera_is_junk=True, junk_identities=frozenset())


def test_every_metric_is_a_field_with_a_title_of_its_own() -> None:
    """Columns, fields and page titles come from one table."""
    assert METRICS == ("mAP", "mAP_trapezoid", "mINP", "rank1", "rank5", "rank10", "rank20")
    assert set(METRICS) <= set(RankingScores.__dataclass_fields__)
    assert len({info.title for info in METRIC_TABLE}) == len(METRICS)
    assert {info.name: info.title for info in METRIC_TABLE}["rank1"] == "Rank-1"
