"""What a run's grid says of its data sets, read as a stranger's file: nothing in it is built, and nothing can grow."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..benchmark.datasets.about import ABOUT

#: Characters of a grid that is looked at; a longer one says nothing.
_LONGEST = 2**18


@dataclass(frozen=True, kw_only=True)
class AskedData:
    """A data set as a grid asks for it."""

    #: A key of `ABOUT`; empty where the entry is odd, or names a format that is not one of this package.
    format: str
    #: As the grid says it; empty where it leaves that to the format.
    protocol: str


def asked_data(text: str) -> Mapping[str, AskedData]:
    """By label, the data sets of a grid; empty where the text is no grid.

    >>> asked_data("datasets: [market1501, {name: mine, format: sysu, protocol: sysu-indoor}]")["mine"]
    AskedData(format='sysu', protocol='sysu-indoor')
    """
    found: dict[str, AskedData] = {}
    for entry in _entries(text):
        label = entry.get("name", "")
        layout = entry.get("format", label)
        asked = AskedData(format=layout if layout in ABOUT else "", protocol=entry.get("protocol", ""))
        # A label that stands for two formats stands for neither.
        found[label] = asked if found.get(label, asked) == asked else AskedData(format="", protocol="")
    return found


def _entries(text: str) -> Iterator[dict[str, str]]:
    """The texts that the entries of `datasets` hold by their keys; an odd one holds its name alone, or nothing."""
    from ruamel.yaml import YAML

    if len(text) > _LONGEST:
        return
    try:
        # Nodes alone: no tag is followed, no alias is copied, no merge key is carried out.
        root = YAML(typ="safe", pure=True).compose(text)
    except Exception:  # noqa: BLE001 (whatever a parser meets in a stranger's text is the text's fault)
        return
    for listed in _values(root).get("datasets", []):
        for node in listed.value if type(listed).__name__ == "SequenceNode" else []:
            if type(node).__name__ == "ScalarNode":
                yield {"name": str(node.value)}
                continue
            values = _values(node)
            odd = "<<" in values or any(len(nodes) > 1 for nodes in values.values())
            texts = {
                key: str(nodes[0].value) for key, nodes in values.items() if type(nodes[0]).__name__ == "ScalarNode"
            }
            if "name" in texts:
                yield {"name": texts["name"], "format": ""} if odd else texts


def _values(node: Any) -> dict[str, list[Any]]:
    """The values of a mapping by key, each as often as it is given; empty for anything else."""
    found: dict[str, list[Any]] = {}
    for key, value in node.value if type(node).__name__ == "MappingNode" else []:
        found.setdefault(str(key.value), []).append(value)
    return found
