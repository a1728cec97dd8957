"""Images that somebody attacked elsewhere: a folder of 8-bit PNG and a manifest, checked against the clean files."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import InvalidFileError
from .datasets.retrieval import SIDE_NAMES, RetrievalSet, SideName

if TYPE_CHECKING:
    from ..attacks.spec import AttackSpec
    from ..attacks.threat import Threat

#: A longer manifest, a larger image or a wider one than any of ours.
_MAX_MANIFEST, _MAX_IMAGE, _MAX_SIDE = 64 << 20, 16 << 20, 4096
_FINDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
#: How far a norm may lie beyond the radius, in [0, 1] pixel units.
TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True)
class PreparedImages:
    """What a folder holds; nothing but the manifest is read yet."""

    folder: Path
    side: SideName
    #: By image id: the file, and the sha256 that the manifest gives it.
    files: Mapping[str, tuple[Path, str]] = field(repr=False)

    @property
    def sha256(self) -> str:
        """Digest of all images: of their ids and their files' digests, in the order of the ids."""
        lines = [f"{name} {digest}" for name, (_, digest) in sorted(self.files.items())]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def pixels(self, image_id: str) -> NDArray[np.uint8]:
        """(H, W, 3) RGB of one image.

        Raises:
            InvalidFileError: the file is missing, another one than the manifest says, or no 8-bit RGB PNG.
        """
        from PIL import Image, UnidentifiedImageError

        path, digest = self.files[image_id]
        if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_IMAGE:
            raise InvalidFileError(f"{str(path)!r} is no file of at most {_MAX_IMAGE >> 20} MiB; give the PNG itself.")
        if hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            raise InvalidFileError(f"{str(path)!r} is not the file of its manifest: its sha256 is another one.")
        try:
            with Image.open(path, formats=["PNG"]) as image:
                if image.mode != "RGB" or max(image.size) > _MAX_SIDE:
                    raise InvalidFileError(
                        f"{str(path)!r} is {image.mode} of {image.size[0]}x{image.size[1]}; expected an 8-bit RGB PNG "
                        f"of the clean image's size."
                    )
                return np.asarray(image)
        except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            raise InvalidFileError(
                f"{str(path)!r} is no whole PNG; save the attacked image as 8-bit RGB PNG."
            ) from None


def read_prepared(folder: Path) -> PreparedImages:
    """The manifest of a folder of attacked images: `image_id`, `file`, `side` and `sha256` of each.

    Raises:
        InvalidFileError: there is none, it does not read back, or it names files outside of the folder.
    """
    file = folder / "manifest.json"
    try:
        if file.stat().st_size > _MAX_MANIFEST:
            raise ValueError(f"it is larger than {_MAX_MANIFEST >> 20} MiB")  # noqa: TRY301 (one wording for all)
        listed = json.loads(file.read_bytes())["images"]
        entries = [_entry(folder, entry) for entry in listed]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise InvalidFileError(
            f"{str(file)!r} is no manifest of attacked images ({type(error).__name__}: {str(error)[:160]}); expected "
            f'{{"images": [{{"image_id", "file", "side", "sha256"}}, ...]}} as `robustreid run --keep-images` writes.'
        ) from None
    sides = {side for _, side, _, _ in entries}
    if len(sides) != 1:
        raise InvalidFileError(f"{str(file)!r} names images of {len(sides)} sides; expected those of one.")
    files = {name: (path, digest) for name, _, path, digest in entries}
    if len(files) < len(entries):
        raise InvalidFileError(f"{str(file)!r} names an image twice; expected each once.")
    return PreparedImages(folder=folder, side=sides.pop(), files=files)


def _entry(folder: Path, entry: Mapping[str, Any]) -> tuple[str, SideName, Path, str]:
    name, file, side, digest = (entry[key] for key in ("image_id", "file", "side", "sha256"))
    if side not in SIDE_NAMES or not isinstance(name, str) or not _SHA256.fullmatch(digest):
        raise ValueError(f"expected an image id, a side (query, gallery) and a sha256, got {name!r}, {side!r}")
    relative = PurePosixPath(file)
    if relative.is_absolute() or ".." in relative.parts or "\\" in file or ":" in file or "\0" in file:
        raise ValueError(f"expected a file inside the folder, got {file!r}")
    path = folder / relative
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"expected a file inside the folder, got {file!r}, which leads outside")
    return name, side, path, digest


def check_prepared(
    images: PreparedImages, data: RetrievalSet, clean: Mapping[str, NDArray[np.uint8]], threat: Threat
) -> float:
    """Whether every prepared image is one of the data set's, of the clean image's size, inside the budget.

    Args:
        images: what was prepared.
        data: the data set.
        clean: by image id, (H, W, 3) uint8 pixels of the clean image at the size where it is perturbed; only images
            that the adversary may change.
        threat: norm and radius.

    Returns:
        The largest norm, in [0, 1] pixel units.

    Raises:
        InvalidFileError: one of them is not; the first such image is named.
    """
    largest = 0.0
    known = set(data.side(images.side).paths)
    for name in images.files:
        if name not in clean:
            why = "must stay clean: it has no reference" if name in known else f"is no {images.side} image of this set"
            raise InvalidFileError(f"The image {name!r} {why} ({data.label}); leave it out of the manifest.")
        found = images.pixels(name)
        if found.shape != clean[name].shape:
            sizes = [f"{shape[1]}x{shape[0]}" for shape in (found.shape, clean[name].shape)]
            raise InvalidFileError(f"The image {name!r} is {sizes[0]}, expected the clean image's size {sizes[1]}.")
        change = (found.astype(np.float64) - clean[name]) / 255
        norm = float(np.abs(change).max() if threat.norm == "linf" else np.sqrt((change**2).sum()))
        if norm > float(threat.epsilon) + TOLERANCE:
            shown = f"{255 * norm:.0f}/255" if threat.norm == "linf" else f"{norm:.4f}"
            raise InvalidFileError(
                f"The image {name!r} differs from the clean one by {shown}, beyond the radius {threat.label}; "
                f"the attack is refused as a whole."
            )
        largest = max(largest, norm)
    return largest


def prepared_attack(images: PreparedImages, finder: str, references: str) -> AttackSpec:
    """Prepared images as an attack of a grid, under the name `found-<first digits of the digest>`.

    Raises:
        InvalidFileError: a finder's name that no page can show.
    """
    import torch

    from ..attacks.optimisers.prepared import Prepared
    from ..attacks.spec import AttackSpec
    from ..attacks.universal.cell import Fitted

    if not _FINDER.fullmatch(finder):
        raise InvalidFileError(
            f"The finder {finder[:80]!r} is no name: expected 1 to 64 letters, digits, spaces, dots, dashes."
        )

    def image(name: str) -> torch.Tensor | None:
        if name not in images.files:
            return None
        return torch.from_numpy(images.pixels(name).copy()).permute(2, 0, 1).float() / 255

    return AttackSpec(
        name=f"found-{images.sha256[:8]}",
        version=1,
        objective_name="any",
        objective=Fitted(),
        optimiser_name="prepared",
        optimiser=Prepared(sha256=images.sha256, finder=finder, image=image),
        references=references,  # type: ignore[arg-type]
        linf_only=False,
    )
