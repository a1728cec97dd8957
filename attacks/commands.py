"""What `robustreid ls attacks` lists."""

from __future__ import annotations

from typing import Any


def list_attacks() -> list[dict[str, Any]]:
    """One record a preset, each with `name`."""
    from .catalogue import PRESETS, resolve_attack

    return [
        {
            "name": name,
            "summary": preset.summary,
            "version": preset.version,
            **resolve_attack(name).parameters(),
            "references": preset.references,
            "norms": ["linf"] if preset.linf_only else ["linf", "l2"],
            "source": preset.source,
        }
        for name, preset in PRESETS.items()
    ]
