"""What is known of a published model: its files, where they are, what they must be, how they are fed. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from ..base import METRICS, NORMALISATIONS, Metric

#: Hexadecimal digits of a digest, by hashlib's name of the algorithm.
DIGITS = {"sha256": 64, "sha384": 96}
#: Where a converted file says of which bytes it was made (in the header of a safetensors file).
MADE_OF = "made_of_sha256"


@dataclass(frozen=True, kw_only=True)
class ZooFile:
    """One file of a published model."""

    #: Its name in a folder of weights.
    name: str
    #: Hexadecimal; empty where nobody has published one that could be looked up.
    digest: str = ""
    #: A key of `DIGITS`.
    algorithm: str = "sha256"
    #: Bytes; None where it is not known.
    size: int | None = None
    #: Where it is published; empty where it is published nowhere.
    url: str = ""

    def __post_init__(self) -> None:
        if len(self.digest) not in {0, DIGITS.get(self.algorithm)} or self.digest.strip("0123456789abcdef"):
            raise ValueError(f"the zoo file {self.name!r} has the digest {self.digest!r}, which no {self.algorithm} is")

    @property
    def described(self) -> str:
        """Its name, and its digest where there is one."""
        return f"{self.name} ({self.algorithm} {self.digest})" if self.digest else self.name


@dataclass(frozen=True, kw_only=True)
class ZooEntry:
    """One published model."""

    name: str
    #: A registered architecture, or a program (`onnx`, `ir`, `ir-bgr255`).
    architecture: str
    #: All of them are needed; the first is the one that is loaded, unless it is converted.
    files: tuple[ZooFile, ...]
    licence: str
    #: The page that it comes from.
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
    #: A test-time defence in front of it, by its name, with that defence's own defaults; empty where there is none.
    defence: str = ""
    #: The safetensors file that is made of the published one, which is a pickle; empty where that is read as it is.
    converted: str = ""
    #: The same model in a file that others made of it: taken where the published files are absent.
    stand_in: ZooEntry | None = None

    def __post_init__(self) -> None:
        if self.normalise not in NORMALISATIONS or self.metric not in METRICS or not self.files:
            raise ValueError(f"the zoo entry {self.name!r} has an unknown normalisation or metric, or no file")

    @property
    def file(self) -> str:
        """The name of the file that is loaded."""
        return self.converted or self.files[0].name

    @property
    def sha256(self) -> str:
        """The sha256 of the file that is loaded; empty where it is converted, or published with another digest."""
        first = self.files[0]
        return "" if self.converted or first.algorithm != "sha256" else first.digest

    @property
    def is_pinned(self) -> bool:
        """Whether the digest of every file is known; else nothing is fetched, and nothing is used by this name."""
        return all(file.digest for file in self.files)

    @property
    def is_published(self) -> bool:
        """Whether every file has an address."""
        return all(file.url for file in self.files)
