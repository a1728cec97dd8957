"""What `robustreid ls models` and `robustreid data weights` list."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .weights.entry import ZooEntry


def _presence(entry: ZooEntry) -> str:
    from .zoo import is_present

    if entry.is_embedded:
        return "part of this package"
    if not entry.is_pinned:
        return "not by name"
    return "present" if is_present(entry) else "absent"


def list_models() -> list[dict[str, Any]]:
    """One record an architecture or zoo model, each with `name` and `kind`; imports no torch."""
    from .catalogue import ARCHITECTURES, INPUT_SIZES

    architectures = [
        {
            "name": name,
            "kind": "architecture",
            "summary": "architecture; give it weights: FILE.safetensors",
            "input_size": INPUT_SIZES.get(name),
        }
        for name in ARCHITECTURES.names()
    ]
    return [*list_zoo(), *architectures]


def list_zoo() -> list[dict[str, Any]]:
    """One record a zoo model; a digest or an address that is not known is null."""
    from .zoo import ZOO

    return [
        {
            "name": entry.name,
            "kind": "zoo",
            "summary": f"zoo, {_presence(entry)}; {entry.note}",
            "presence": _presence(entry),
            "architecture": entry.architecture,
            "defence": entry.defence or None,
            "file": entry.file,
            "sha256": entry.sha256 or None,
            "files": [
                {
                    "name": file.name,
                    "algorithm": file.algorithm,
                    "digest": file.digest or None,
                    "size": file.size,
                    "url": file.url or None,
                }
                for file in entry.files
            ],
            "licence": entry.licence,
            "source": entry.source,
            "trained_on": list(entry.trained_on),
            "normalise": entry.normalise,
            "metric": entry.metric,
        }
        for entry in ZOO.values()
    ]
