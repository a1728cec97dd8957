"""What `robustreid ls models` lists."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .zoo import ZooEntry


def _presence(entry: ZooEntry) -> str:
    from .zoo import places

    if entry.is_embedded:
        return "part of this package"
    return "present" if any((place / entry.file).exists() for place in places(entry)) else "absent"


def list_models() -> list[dict[str, Any]]:
    """One record an architecture or zoo model, each with `name` and `kind`; imports no torch."""
    from .catalogue import ARCHITECTURES, INPUT_SIZES
    from .zoo import ZOO

    architectures = [
        {
            "name": name,
            "kind": "architecture",
            "summary": "architecture; give it weights: FILE.safetensors",
            "input_size": INPUT_SIZES.get(name),
        }
        for name in ARCHITECTURES.names()
    ]
    zoo = [
        {
            "name": entry.name,
            "kind": "zoo",
            "summary": f"zoo, {_presence(entry)}; {entry.note}",
            "architecture": entry.architecture,
            "file": entry.file,
            "sha256": entry.sha256,
            "licence": entry.licence,
            "source": entry.source,
            "trained_on": list(entry.trained_on),
            "normalise": entry.normalise,
            "metric": entry.metric,
        }
        for entry in ZOO.values()
    ]
    return [*zoo, *architectures]
