"""Models by name: two small ones that the package brings along, and published ones that are for you to get."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import InvalidFileError, UserError
from .base import METRICS, NORMALISATIONS, Metric
from .registry import unknown
from .weights.files import file_sha256

#: The environment variable that names a folder of weights.
FOLDER_VARIABLE = "ROBUSTREID_WEIGHTS"

_OPEN_MODEL_ZOO = "https://github.com/openvinotoolkit/open_model_zoo"


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """One published model."""

    name: str
    #: A registered architecture, or `onnx`.
    architecture: str
    #: The file's name in a folder of weights.
    file: str
    sha256: str
    licence: str
    #: Where it comes from.
    source: str
    #: The data sets it was trained on: it is in-sample on those.
    trained_on: tuple[str, ...]
    #: A key of `NORMALISATIONS`.
    normalise: str
    metric: Metric
    #: What a reader of its numbers must know.
    note: str
    #: Whether its file is part of this package.
    is_embedded: bool = False

    def __post_init__(self) -> None:
        if self.normalise not in NORMALISATIONS or self.metric not in METRICS or len(self.sha256) != 64:
            raise ValueError(f"the zoo entry {self.name!r} has an unknown normalisation or metric, or no sha256")


def _embedded(name: str, *, sha256: str, note: str) -> ZooEntry:
    return ZooEntry(
        name=name,
        architecture="tinynet",
        file=f"{name}.safetensors",
        sha256=sha256,
        licence="MIT",
        source=f"this package: robustreid train {name}",
        trained_on=("synthetic",),
        normalise="imagenet",
        metric="cosine",
        note=f"{note}; 128x64, 128 numbers a feature",
        is_embedded=True,
    )


_ENTRIES = (
    _embedded(
        "tiny",
        sha256="35f852457334df4a56723c74d987975c7df887ad557000487c0b21379965b06f",
        note="trained on drawn people (`synthetic`) without an adversary",
    ),
    _embedded(
        "tiny-robust",
        sha256="f8d51fb3625a0f1245064e696bb507ca0966a095fc1bc86aad598cb86c6026d4",
        note="the same network, adversarially trained at 4/255",
    ),
    ZooEntry(
        name="osnet_x0_25_msmt17",
        architecture="onnx",
        file="osnet_x0_25_msmt17.onnx",
        sha256="61b2604171ef9d58d21758626f83b35a253c3d7123976523a6e03068c3c95d7b",
        licence="code MIT (torchreid), weights for research",
        source="https://kaiyangzhou.github.io/deep-person-reid/MODEL_ZOO",
        trained_on=("msmt17",),
        normalise="imagenet",
        metric="cosine",
        note="OSNet x0.25 as a program, batch norm folded; 256x128, 512 numbers a feature",
    ),
    ZooEntry(
        name="person-reidentification-retail-0288",
        architecture="onnx",
        file="person-reidentification-retail-0288.onnx",
        sha256="1640c907fb9cc4af3dc37bc4f4aeca5799e9a3ba4db8e37203692ee979dd1688",
        licence="Apache-2.0",
        source=_OPEN_MODEL_ZOO,
        trained_on=("market1501", "msmt17"),
        normalise="none",
        metric="cosine",
        note="converted from the published FP32 IR, normalisation inside; 256x128, 256 numbers a feature",
    ),
    ZooEntry(
        name="person-reidentification-retail-0031",
        architecture="onnx",
        file="person-reidentification-retail-0031.onnx",
        sha256="30367f2a9f64dbbd4c93caf92dd2acc62561b4655f7f6a1863f79d76d8df7bf3",
        licence="Apache-2.0",
        source=_OPEN_MODEL_ZOO,
        trained_on=(),
        normalise="none",
        metric="cosine",
        note="small, fast and weak: for smoke tests; its training data is not stated; 96x48, 256 numbers a feature",
    ),
)

#: Name -> entry.
ZOO: Mapping[str, ZooEntry] = {entry.name: entry for entry in _ENTRIES}


def embedded_folder() -> Path:
    """Where the weights lie that the package brings along."""
    from importlib.resources import files

    return Path(str(files("robustreid.models.weights")))


def places(entry: ZooEntry) -> tuple[Path, ...]:
    """Where the file of an entry is looked for, first one first."""
    return (embedded_folder(),) if entry.is_embedded else folders()


def folders() -> tuple[Path, ...]:
    """Where weights of others lie, first one first: `$ROBUSTREID_WEIGHTS` if set, then the user's data folder."""
    from platformdirs import user_data_path

    named = os.environ.get(FOLDER_VARIABLE)
    return (*((Path(named),) if named else ()), user_data_path("robustreid") / "weights")


def find(name: str) -> tuple[ZooEntry, Path]:
    """The entry called `name`, and its file on this machine, digest checked.

    Raises:
        UserError: where there is no such entry, or its file is in none of `folders()`.
        InvalidFileError: where the file is another one than the entry means.

    """
    if name not in ZOO:
        raise unknown("zoo model", name, ZOO)
    entry = ZOO[name]
    for folder in places(entry):
        path = folder / entry.file
        if not path.is_file():
            continue
        digest = file_sha256(path)
        if digest != entry.sha256:
            raise InvalidFileError(
                f"The weights file {str(path)!r} has sha256 {digest}, expected {entry.sha256}: "
                f"get {entry.file} again from {entry.source}."
            )
        return entry, path
    raise UserError(
        f"The weights of {name!r} are not on this machine and are not shipped: get {entry.file} "
        f"(sha256 {entry.sha256}) from {entry.source} and put it into the folder that ${FOLDER_VARIABLE} names "
        f"or into {str(folders()[-1])!r}."
    )
