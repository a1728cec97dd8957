"""The contract is tried with every attack of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from robustreid.attacks.catalogue import PRESETS, resolve_attack
from robustreid.attacks.presets import FITTED


def missing(suite: Mapping[str, Any], names: Iterable[str]) -> set[str]:
    """Attacks without a row, and rows without an attack."""
    return set(suite) ^ set(names)


def test_every_attack_has_a_row(suite: Mapping[str, Any]) -> None:
    """And no row has lost its attack; one more in the catalogue would be missed."""
    assert missing(suite, [*PRESETS, *FITTED]) == set()
    assert missing(suite, [*PRESETS, *FITTED, "newest"]) == {"newest"}
    climbing = {name for name, row in suite.items() if row.climbs}
    assert climbing == {name for name in PRESETS if resolve_attack(name).optimiser.uses_loss}
