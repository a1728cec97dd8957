"""What a retrieval set consists of, counted: images, people, cameras, sizes and trials."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...attacks.neighbours import NOBODY
from ...models.base import MODALITIES
from ..tables import text_table
from .manifest import Manifest
from .retrieval import SIDE_NAMES, Images, RetrievalSet


def statistics_of(data: RetrievalSet, manifest: Manifest) -> dict[str, Any]:
    """Everything that can be counted, for JSON; people are identities other than junk (-1) and distractors (0).

    Args:
        data: the set.
        manifest: of its images, for their sizes and the digest.
    """
    return {
        "name": data.label,
        "format": data.format,
        "protocol": data.protocol.name,
        "protocol_version": data.protocol.version,
        "sha256": manifest.sha256,
        "images": len(data.paths),
        "identities": len({*_people(data.query), *_people(data.gallery)}),
        "cameras": len({*data.query.cameras.tolist(), *data.gallery.cameras.tolist()}),
        "sides": {name: _side(data.side(name)) for name in SIDE_NAMES},
        "sizes": _sizes([(entry.height, entry.width) for entry in manifest.entries]),
        "trials": _trials(data),
    }


def _people(images: Images) -> list[int]:
    """The identity of each image that shows somebody."""
    return [who for who in images.identities.tolist() if who not in NOBODY]


def _side(images: Images) -> dict[str, Any]:
    people = Counter(_people(images))
    identities = Counter(images.identities.tolist())
    seen = Counter(
        (camera, MODALITIES[modality])
        for camera, modality in zip(images.cameras.tolist(), images.modalities.tolist(), strict=True)
    )
    return {
        "images": len(images),
        "identities": len(people),
        "junk": identities[-1],
        "distractors": identities[0],
        "modalities": [name for place, name in enumerate(MODALITIES) if (images.modalities == place).any()],
        "images_a_person": _spread(list(people.values())),
        "cameras": [
            {"camera": camera, "modality": modality, "images": count}
            for (camera, modality), count in sorted(seen.items())
        ],
    }


def _spread(counts: Sequence[int]) -> dict[str, float] | None:
    """Least, median and most; None of nothing."""
    if not counts:
        return None
    return {"min": min(counts), "median": float(np.median(counts)), "max": max(counts)}


def _sizes(shapes: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """(height, width) of the smallest, the middle and the largest image by area, and how many shapes there are."""
    ordered = sorted(shapes, key=lambda shape: (shape[0] * shape[1], shape))
    return {
        "smallest": list(ordered[0]),
        "median": list(ordered[(len(ordered) - 1) // 2]),
        "largest": list(ordered[-1]),
        "shapes": len(set(shapes)),
    }


def _trials(data: RetrievalSet) -> dict[str, Any]:
    """How many, and how many images of each side one of them has."""
    if not data.trials:
        sizes = {name: [len(data.side(name))] for name in SIDE_NAMES}
    else:
        sizes = {name: [len(getattr(trial, name)) for trial in data.trials] for name in SIDE_NAMES}
    return {"count": max(len(data.trials), 1), **{name: _spread(counts) for name, counts in sizes.items()}}


def statistics_text(found: dict[str, Any]) -> str:
    """The same for a terminal."""
    sides = [found["sides"][name] for name in SIDE_NAMES]
    rows = [
        ["images", *(f"{side['images']:,}" for side in sides)],
        ["identities", *(f"{side['identities']:,}" for side in sides)],
        ["junk", *(f"{side['junk']:,}" for side in sides)],
        ["distractors", *(f"{side['distractors']:,}" for side in sides)],
        ["cameras", *(str(len({seen["camera"] for seen in side["cameras"]})) for side in sides)],
        ["modality", *(" + ".join(side["modalities"]) for side in sides)],
        ["images a person", *(_range(side["images_a_person"]) for side in sides)],
        ["images a trial", *(_range(found["trials"][name]) for name in SIDE_NAMES)],
    ]
    counts = [{(seen["camera"], seen["modality"]): seen["images"] for seen in side["cameras"]} for side in sides]
    by_camera = [
        [str(camera), modality, *(f"{side.get((camera, modality), 0):,}" for side in counts)]
        for camera, modality in sorted({*counts[0], *counts[1]})
    ]
    sizes, n_trials = found["sizes"], found["trials"]["count"]
    shown = (f"{name} {_size(sizes[name])}" for name in ("smallest", "median", "largest"))
    shapes = f"{sizes['shapes']:,} shape{'s' * (sizes['shapes'] != 1)}"
    head = (
        f"{found['name']}: {found['images']:,} images of {found['identities']:,} people by {found['cameras']} cameras; "
        f"protocol {found['protocol']} (version {found['protocol_version']}), {n_trials} trial{'s' * (n_trials != 1)}"
    )
    lines = [head, f"height x width: {', '.join(shown)}; {shapes}", f"sha256 {found['sha256']}"]
    tables = [text_table(["", *SIDE_NAMES], rows), text_table(["camera", "modality", *SIDE_NAMES], by_camera)]
    return "\n\n".join(["\n".join(lines), *tables])


def _size(shape: Sequence[int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _range(spread: dict[str, float] | None) -> str:
    if spread is None:
        return "-"
    least, middle, most = (f"{spread[name]:,.10g}" for name in ("min", "median", "max"))
    return least if least == most else f"{least} to {most}, median {middle}"
