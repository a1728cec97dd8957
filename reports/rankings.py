"""Ranking lists before and after, of cells whose images the run kept: read with care, for they are files of others."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from .. import InvalidFileError
from ..benchmark.datasets.faces import blurred

VERSION = 1

#: A change of one grey level is shown as this many, around middle grey.
MAGNIFIED = 16

#: Entries of a list that are shown.
_LONGEST = 10


@dataclass(frozen=True, kw_only=True)
class RankedImage:
    """One image of a list, or the query itself."""

    image_id: str
    identity: int
    camera: int
    is_match: bool
    #: Width and height in pixels.
    size: tuple[int, int]
    #: Relative to the site; the attacked ones None where the image was not attacked.
    clean: str
    attacked: str | None
    magnified: str | None


@dataclass(frozen=True, kw_only=True)
class RankedQuery:
    """One query, and its nearest gallery images before and after."""

    query: RankedImage
    before: tuple[RankedImage, ...]
    after: tuple[RankedImage, ...]


#: What was done about faces: people are drawn, heads are blurred, or faces are shown because somebody asked for it.
Faces = Literal["drawn", "blurred", "shown"]


@dataclass(frozen=True, kw_only=True)
class Rankings:
    """The lists of one cell."""

    queries: tuple[RankedQuery, ...]
    faces: Faces


class ImageStore:
    """Images of a site, each once, under the digest of its content."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}

    def add(self, content: bytes) -> str:
        """Its path, relative to the site."""
        path = f"images/{hashlib.sha256(content).hexdigest()[:24]}.png"
        self.files[path] = content
        return path


def read_rankings(folder: Path, cell_id: str, store: ImageStore, *, show_faces: bool = False) -> Rankings | None:
    """The lists of one cell, with their images put into `store`; None where the run kept none.

    Heads are blurred past recovery in everything that is put there, the magnified perturbations too, unless the file
    says that this package drew the people, or `show_faces`.

    Raises:
        InvalidFileError: the file is not what it should be, or names an image outside its folder.
    """
    file = folder / "rankings.json"
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_bytes())
        faces: Faces = "drawn" if _is_drawn(content) else "shown" if show_faces else "blurred"
        queries = _queries(content, cell_id, _Images(folder, store, hide=faces == "blurred"))
        return Rankings(queries=queries, faces=faces) if queries else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidFileError(
            f"{str(file)!r} does not read back ({type(error).__name__}: {error}); run its cell again with "
            f"--keep-images and --again always, or remove the folder."
        ) from error


def _is_drawn(content: Mapping[str, Any]) -> bool:
    """Whether nobody is on the images; files of older runs do not say so."""
    found = content.get("is_drawn", False)
    if not isinstance(found, bool):
        raise TypeError("expected is_drawn to be true or false")
    return found


def _queries(content: Mapping[str, Any], cell_id: str, images: _Images) -> tuple[RankedQuery, ...]:
    if content["version"] != VERSION or content["cell_id"] != cell_id:
        raise ValueError(f"expected version {VERSION} and cell {cell_id}")
    return tuple(_query(entry, images) for entry in content["queries"])


def _query(entry: Mapping[str, Any], images: _Images) -> RankedQuery:
    return RankedQuery(
        query=_image({**entry, "is_match": True}, images),
        before=tuple(_image(item, images) for item in entry["before"][:_LONGEST]),
        after=tuple(_image(item, images) for item in entry["after"][:_LONGEST]),
    )


def _image(entry: Mapping[str, Any], images: _Images) -> RankedImage:
    if not isinstance(entry["is_match"], bool):
        raise TypeError("expected is_match to be true or false")
    clean, attacked = entry["clean_file"], entry["attacked_file"]
    return RankedImage(
        image_id=str(entry["image_id"]),
        identity=int(entry["identity"]),
        camera=int(entry["camera"]),
        is_match=entry["is_match"],
        size=images.size(clean),
        clean=images.copied(clean),
        attacked=None if attacked is None else images.copied(attacked),
        magnified=None if attacked is None else images.magnified(clean, attacked),
    )


class _Images:
    """The images of one folder, by the paths that its file names."""

    def __init__(self, folder: Path, store: ImageStore, *, hide: bool) -> None:
        self._folder = folder
        self._store = store
        self._hide = hide

    def _file(self, name: str) -> Path:
        path = PurePosixPath(name)
        file = self._folder / path
        is_inside = file.resolve().is_relative_to(self._folder.resolve())
        if path.is_absolute() or ".." in path.parts or not is_inside or path.suffix.lower() != ".png":
            raise ValueError(f"expected a PNG inside the folder, got {name!r}")
        return file

    def _pixels(self, name: str) -> Any:
        """(H, W, 3) uint8."""
        import numpy as np
        from PIL import Image

        with Image.open(self._file(name), formats=["PNG"]) as image:
            return np.asarray(image.convert("RGB"))

    def size(self, name: str) -> tuple[int, int]:
        """Width and height."""
        height, width = self._pixels(name).shape[:2]
        return int(width), int(height)

    def _stored(self, pixels: Any) -> str:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(blurred(pixels) if self._hide else pixels).save(buffer, format="PNG")
        return self._store.add(buffer.getvalue())

    def copied(self, name: str) -> str:
        """The image without whatever else its file may hold, and without a face unless that may be seen."""
        return self._stored(self._pixels(name))

    def magnified(self, clean: str, attacked: str) -> str:
        """What the attack changed: middle grey where nothing, `MAGNIFIED` grey levels for one."""
        import numpy as np

        before, after = (self._pixels(name).astype(np.int64) for name in (clean, attacked))
        if before.shape != after.shape:
            raise ValueError(f"expected {attacked!r} to have the size of {clean!r}")
        return self._stored(np.clip(128 + MAGNIFIED * (after - before), 0, 255).astype(np.uint8))
