"""Attacked images that were asked for: 8-bit PNG under their own names, and a manifest that says what they are."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from ...attacks.references import Selection
from ..datasets.retrieval import RetrievalSet, SideName
from ..store.directory import RunDirectory
from .batches import Batch


def wanted_images(selection: Selection, count: int) -> frozenset[int]:
    """The places on a side of the first `count` attacked images: junk and distractors stay clean and are left out."""
    return frozenset(selection.attacked[:count].tolist())


def image_file(folder: Path, image_id: str) -> Path:
    """Where an image is kept: `query/0002_c1s1.png` as it is, `query/0002_c1s1.jpg` with `.png` after it."""
    return folder / (image_id if image_id.lower().endswith(".png") else f"{image_id}.png")


def has_images(folder: Path, paths: tuple[str, ...], batch: Batch, wanted: frozenset[int]) -> bool:
    """Whether every wanted image of a batch is kept already."""
    return all(image_file(folder, paths[index]).exists() for index in batch.indices.tolist() if index in wanted)


def keep_images(
    run: RunDirectory, cell_id: str, paths: tuple[str, ...], batch: Batch, scored: Tensor, wanted: frozenset[int]
) -> None:
    """Write the wanted images of a batch, `scored` (B, 3, H, W) in [0, 1] on the 8-bit grid."""
    from PIL import Image

    for row, index in enumerate(batch.indices.tolist()):
        if index not in wanted:
            continue
        pixels = (scored[row] * 255).round().byte().permute(1, 2, 0).cpu().numpy()
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="PNG")
        run.write(image_file(run.images(cell_id), paths[index]), buffer.getvalue())


def write_manifest(
    run: RunDirectory, cell_id: str, data: RetrievalSet, wanted: Mapping[SideName, frozenset[int]]
) -> None:
    """Say beside the kept images of a cell what each is: image id, file, side and sha256 of the file."""
    folder = run.images(cell_id)
    listed = []
    for side, places in wanted.items():
        for index in sorted(places):
            image_id = data.side(side).paths[index]
            file = image_file(folder, image_id)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            listed.append(
                {"image_id": image_id, "file": file.relative_to(folder).as_posix(), "side": side, "sha256": digest}
            )
    if listed:
        content = json.dumps({"cell_id": cell_id, "images": listed}, indent=1)
        run.write(folder / "manifest.json", content.encode())
