"""The defences that are known by name, and their parameters. No torch: a plan reads them too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .base import Defence, Gradient, check_number, check_whole

#: Gradients whose mean is taken of a model that is random: as many as AutoAttack's `rand` takes (Croce, Hein 2020,
#: ICML, arXiv 2003.01690).
EOT_SAMPLES = 20

_MAX_SEED = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Jpeg(Defence):
    """Encoded and decoded as a JPEG; Dziugaite et al. 2016, arXiv 1608.00853."""

    name: ClassVar[str] = "jpeg"
    summary: ClassVar[str] = "encoded and decoded as a JPEG with 4:2:0 colours"
    gradient: ClassVar[Gradient] = "bpda"
    stage: ClassVar[str] = ".jpeg:JpegStage"

    #: As libjpeg scales its tables.
    quality: int = 75

    def __post_init__(self) -> None:
        check_whole("quality", self.quality, 1, 100)


@dataclass(frozen=True, kw_only=True)
class BitDepth(Defence):
    """Few levels a channel; feature squeezing, Xu et al. 2018, NDSS, arXiv 1704.01155."""

    name: ClassVar[str] = "bit-depth"
    summary: ClassVar[str] = "every channel rounded to 2^bits levels"
    gradient: ClassVar[Gradient] = "bpda"
    stage: ClassVar[str] = ".filters:BitDepthStage"

    bits: int = 4

    def __post_init__(self) -> None:
        check_whole("bits", self.bits, 1, 8)


@dataclass(frozen=True, kw_only=True)
class Blur(Defence):
    """A Gaussian blur."""

    name: ClassVar[str] = "blur"
    summary: ClassVar[str] = "Gaussian blur"
    gradient: ClassVar[Gradient] = "differentiable"
    stage: ClassVar[str] = ".filters:BlurStage"

    #: Standard deviation in pixels of the image.
    sigma: float = 1.0
    #: Width of the kernel in pixels.
    size: int = 5

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma, 0, 100)
        check_whole("size", self.size, 1, 99, odd=True)


@dataclass(frozen=True, kw_only=True)
class Median(Defence):
    """The median of a window; feature squeezing, Xu et al. 2018, NDSS, arXiv 1704.01155."""

    name: ClassVar[str] = "median"
    summary: ClassVar[str] = "each channel of a pixel is the median of the window around it"
    gradient: ClassVar[Gradient] = "bpda"
    stage: ClassVar[str] = ".filters:MedianStage"

    #: Width of the window in pixels.
    size: int = 3

    def __post_init__(self) -> None:
        check_whole("size", self.size, 1, 15, odd=True)


@dataclass(frozen=True, kw_only=True)
class ResizePad(Defence):
    """A random size at a random place on black; Xie et al. 2018, ICLR, arXiv 1711.01991."""

    name: ClassVar[str] = "resize-pad"
    summary: ClassVar[str] = "shrunk to a random share of height and width, at a random place on black"
    gradient: ClassVar[Gradient] = "eot"
    stage: ClassVar[str] = ".random:ResizePadStage"

    #: The smallest share.
    share: float = 0.9
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("share", self.share, 0, 1)
        check_whole("seed", self.seed, 0, _MAX_SEED)

    @property
    def samples(self) -> int:
        return EOT_SAMPLES


@dataclass(frozen=True, kw_only=True)
class Smoothing(Defence):
    """The mean feature under Gaussian noise: randomised smoothing (Cohen et al. 2019, ICML, arXiv 1902.02918).

    There classes vote; here features are averaged, which certifies nothing.
    """

    name: ClassVar[str] = "smoothing"
    summary: ClassVar[str] = "the mean of the features of noisy copies of the image"
    gradient: ClassVar[Gradient] = "eot"
    stage: ClassVar[str] = ".random:SmoothingStage"

    #: Standard deviation of the noise, images in [0, 1].
    sigma: float = 0.1
    #: Noisy copies of an image.
    copies: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("sigma", self.sigma, 0, 1)
        check_whole("copies", self.copies, 1, 1000)
        check_whole("seed", self.seed, 0, _MAX_SEED)

    @property
    def samples(self) -> int:
        # A gradient through the mean of its copies is a mean over draws already.
        return -(-EOT_SAMPLES // self.copies)
