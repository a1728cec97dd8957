"""What `robustreid ls attacks` lists."""

from __future__ import annotations

from typing import Any


def list_attacks() -> list[dict[str, Any]]:
    """One record a preset, then `auto`, attacks that are fitted, and those of torchattacks, each with `name`."""
    from .bridge import list_foreign
    from .catalogue import PRESETS, resolve_attack
    from .ensemble import AUTO_VERSION, MEMBERS
    from .presets import FITTED

    presets = [
        {
            "name": name,
            "summary": preset.summary,
            "version": preset.version,
            **resolve_attack(name).parameters(),
            "references": preset.references,
            "goals": list(resolve_attack(name).objective.goals),
            "sides": list(resolve_attack(name).sides),
            "norms": ["linf"] if preset.linf_only else ["linf", "l2"],
            "source": preset.source,
        }
        for name, preset in PRESETS.items()
    ]
    auto = resolve_attack("auto")
    ensemble = {
        "name": "auto",
        "summary": f"the standard ensemble: the worst of {len(MEMBERS)} attacks for each query, nothing to choose",
        "version": AUTO_VERSION,
        **auto.parameters(),
        "references": auto.references,
        "goals": list(auto.objective.goals),
        "sides": list(auto.sides),
        "norms": ["linf"],
        "source": "docs/attacks.md",
    }
    fitted = [
        {
            "name": name,
            "summary": preset.summary,
            "version": preset.version,
            "objective": name,
            "optimiser": "universal",
            "perturbation": "the file that `robustreid train` left",
            "references": "train",
            "norms": ["linf"],
            "source": preset.source,
        }
        for name, preset in FITTED.items()
    ]
    return [*presets, ensemble, *fitted, *list_foreign()]
