"""The grid that runs tracks for a model, and the same about some of its cells."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import UserError
from .track import Track

if TYPE_CHECKING:
    from ..benchmark.config.grid import Grid

#: What stands for the folder of images in a grid file that others will read.
DATA_VARIABLE = "DATA"

#: What tracks of one grid must share: all but the radius.
_SHARED = ("data", "protocol", "side", "goal", "perturb_at", "references", "precision", "metric", "seed", "attacks")

#: An attack by name, and the label of a radius.
Pair = tuple[str, str]


def pairs_of(tracks: Sequence[Track], own: Mapping[str, Any] | None = None) -> tuple[Pair, ...]:
    """The cells of some tracks: attack and radius, each once; `own` is a submission's adaptive attack."""
    names = [*(attack.name for attack in tracks[0].attacks), *([str(own["name"])] if own else [])]
    at_radius = [(name, track.threat.label) for track in tracks for name in names]
    curve = [(track.curve_attack.name, threat.label) for track in tracks for threat in track.curve]
    return tuple(dict.fromkeys([*at_radius, *curve]))


def grid_values(
    tracks: Sequence[Track],
    model: Mapping[str, Any],
    *,
    root: str | None = None,
    own: Mapping[str, Any] | None = None,
    only: Collection[Pair] | None = None,
) -> dict[str, Any]:
    """A grid file, as plain values.

    Args:
        tracks: those that differ in their radius alone.
        model: an entry of a grid's `models`.
        root: the folder of the data set, for one that is read.
        own: a submission's adaptive attack, as a grid asks for it.
        only: the cells that are wanted; all by default.

    Raises:
        UserError: tracks that no one grid can run.
    """
    first = tracks[0]
    for track in tracks[1:]:
        different = [name for name in _SHARED if getattr(track, name) != getattr(first, name)]
        if different or track.threat.norm != first.threat.norm:
            raise UserError(
                f"The tracks {first.name!r} and {track.name!r} differ in {', '.join(different) or 'norm'}; make a "
                f"submission of each: one is about one data set, side and set of attacks."
            )
    wanted = [pair for pair in pairs_of(tracks, own) if only is None or pair in only]
    labels = list(dict.fromkeys(label for _, label in wanted))
    entries = [dict(attack.entry) for attack in first.attacks] + ([dict(own)] if own else [])
    entries = [entry for entry in entries if any(entry["name"] == name for name, _ in wanted)]
    return {
        "name": first.name if len(tracks) == 1 else f"{first.name}-and-{len(tracks) - 1}-more",
        "models": [dict(model)],
        "datasets": [{**first.data.entry} | ({} if root is None else {"root": root})],
        "attacks": entries,
        "epsilons": labels,
        "side": first.side,
        "goal": first.goal,
        "norm": first.threat.norm,
        "seeds": [first.seed],
        "precision": first.precision,
        "perturb_at": first.perturb_at,
        "exclude": [
            {"attack": entry["name"], "epsilon": label}
            for entry in entries
            for label in labels
            if (entry["name"], label) not in wanted
        ],
    }


def make_grid(values: Mapping[str, Any], folder: Path, *, shown: Mapping[str, Any] | None = None) -> Grid:
    """A grid of plain values.

    Args:
        values: of a grid file.
        folder: where its relative paths start.
        shown: what is kept beside the results, where that is not the same: no path of this machine.

    Raises:
        UserError: anything wrong in it.
    """
    from ruamel.yaml import YAML

    from ..benchmark.config.grid import resolve
    from ..benchmark.config.reading import Document

    text = io.StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    yaml.dump(dict(shown or values), text)
    name = str(values["name"])
    return resolve(Document(name=name, text=text.getvalue(), folder=folder, data=dict(values), lines={}))
