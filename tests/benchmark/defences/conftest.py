"""Cells of a small model that ships, behind defences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

#: People enough for chance to be far from the clean score, few enough to be quick.
CROWD = {"name": "synthetic", "identities": 9, "distractors": 9}


@pytest.fixture(scope="session")
def attacked() -> Callable[..., Any]:
    """A function that attacks `tiny` behind a defence (None: as it is) and gives its row; same request, same row."""
    import robustreid

    known: dict[str, Any] = {}

    def go(defence: Any, **options: Any) -> Any:
        key = repr((defence, options))
        if key not in known:
            own = {} if defence is None else {"defence": defence}
            asked = {
                "attack": "ama-ifgsm",
                "epsilon": "8/255",
                "side": "query",
                "device": "cpu",
                "batch_size": 16,
                "checks": "quick",
                **options,
            }
            known[key] = robustreid.evaluate({"name": "m", "zoo": "tiny", **own}, CROWD, **asked)
        return known[key]

    return go
