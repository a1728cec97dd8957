"""Images that were asked for: 8-bit PNG under their own names, and a manifest of the attacked ones."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Collection, Mapping
from pathlib import Path

from torch import Tensor

from ..datasets.retrieval import RetrievalSet, SideName
from ..store.directory import RunDirectory
from ..store.files import file_system_errors


def image_file(folder: Path, image_id: str) -> Path:
    """Where an image is kept: `query/0002_c1s1.png` as it is, `query/0002_c1s1.jpg` with `.png` after it."""
    return folder / (image_id if image_id.lower().endswith(".png") else f"{image_id}.png")


def write_image(run: RunDirectory, file: Path, image: Tensor) -> None:
    """Write `image` (3, H, W) in [0, 1] on the 8-bit grid as PNG."""
    from PIL import Image

    pixels = (image * 255).round().byte().permute(1, 2, 0).cpu().numpy()
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    run.write(file, buffer.getvalue())


def write_manifest(
    run: RunDirectory, cell_id: str, data: RetrievalSet, wanted: Mapping[SideName, Collection[int]]
) -> list[Path]:
    """Say beside the kept images of a cell what each is: image id, file, side and sha256 of the file.

    Returns:
        The files it lists, and itself.
    """
    folder = run.images(cell_id)
    listed, files = [], [folder / "manifest.json"]
    for side, places in wanted.items():
        for index in sorted(places):
            image_id = data.side(side).paths[index]
            file = image_file(folder, image_id)
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            listed.append(
                {"image_id": image_id, "file": file.relative_to(folder).as_posix(), "side": side, "sha256": digest}
            )
            files.append(file)
    run.write(files[0], json.dumps({"cell_id": cell_id, "images": listed}, indent=1).encode())
    return files


def remove_others(folder: Path, files: Collection[Path]) -> None:
    """Leave nothing in a folder but `files`."""
    with file_system_errors(folder):
        for path in sorted(folder.rglob("*"), reverse=True):  # what is in a folder comes before it
            if not path.is_dir():
                if path not in files:
                    path.unlink()
            else:
                with contextlib.suppress(OSError):  # something is left in it
                    path.rmdir()
