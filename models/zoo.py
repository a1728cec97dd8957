"""Published models by name: what they are and where to get them. No weights are shipped."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import InvalidFileError, UserError
from .base import METRICS, NORMALISATIONS, Metric
from .registry import unknown
from .weights import file_sha256

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

    def __post_init__(self) -> None:
        if self.normalise not in NORMALISATIONS or self.metric not in METRICS or len(self.sha256) != 64:
            raise ValueError(f"the zoo entry {self.name!r} has an unknown normalisation or metric, or no sha256")


_ENTRIES = (
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


def folders() -> tuple[Path, ...]:
    """Where weights are looked for, first one first: `$ROBUSTREID_WEIGHTS` if set, then the user's data folder."""
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
    for folder in folders():
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
