"""Published attacks as points in objective x optimiser, by the names that their papers gave them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .threat import Side

if TYPE_CHECKING:
    from .references import ReferencePolicy


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A published attack as a point in objective x optimiser."""

    objective: str
    optimiser: str
    #: One line for `robustreid ls attacks`.
    summary: str
    #: Where its equations stand.
    source: str
    #: Raised by hand when its numbers can change.
    version: int = 1
    references: ReferencePolicy = "other-side"
    #: Whether only L-inf is defined for it.
    linf_only: bool = False
    #: What stands between images and model while gradients are taken, by name.
    transforms: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)


_AMA = "Bai, Li, Zhou, Li, Torr 2020 (arXiv 1901.10650)"
_SMA = "Bouniot, Audigier, Loesch 2020 (CVPR workshops)"
_ODFA = "Zheng, Zheng, Yang, Yang 2023 (IJCV; arXiv 1809.02681)"
_RANKING = "Zhou, Niu, Wang, Zhang, Hua 2020 (ECCV; arXiv 2002.11293)"
_PROFILE = "the public robustness profile that goes with Zhou et al. 2020"
_APGD = "Croce, Hein 2020 (ICML; arXiv 2003.01690)"

#: Steps of 1/255, as many as the public code of Bouniot et al. takes, and that of Zhou et al. Their length is that of
#: L-inf attacks: they would never reach the edge of an L2 ball of usual size, so those presets are L-inf only.
_FIFTEEN, _TWENTY_FOUR = {"steps": 15}, {"steps": 24}

PRESETS: Mapping[str, Preset] = {
    "ama-fgsm": Preset(
        objective="push", optimiser="fgsm", source=_AMA, linf_only=True, summary="one step of epsilon, metric attack"
    ),
    "ama-ifgsm": Preset(
        objective="push", optimiser="ifgsm", source=_AMA, linf_only=True, summary="steps of 1/255, the paper's schedule"
    ),
    "ama-mifgsm": Preset(
        objective="push", optimiser="mifgsm", source=_AMA, linf_only=True, summary="the same with momentum 1"
    ),
    "pgd": Preset(
        objective="push",
        optimiser="pgd",
        source="Madry et al. 2018 (arXiv 1706.06083)",
        summary="random starts, steps scaled by epsilon, restarts",
    ),
    "apgd": Preset(
        objective="push", optimiser="apgd", source=_APGD, summary="step halved at checkpoints, best iterate kept"
    ),
    "square": Preset(
        objective="push",
        optimiser="square",
        linf_only=True,
        source="Andriushchenko et al. 2020 (ECCV; arXiv 1912.00049)",
        summary="random search on similarity scores, no gradient; `queries` an image",
    ),
    "noise": Preset(
        objective="push", optimiser="noise", source="the control", summary="random signs of the same budget"
    ),
    "sma": Preset(
        objective="self",
        optimiser="ifgsm-random",
        linf_only=True,
        references="self",
        source=_SMA,
        parameters=_FIFTEEN,
        summary="away from the own clean feature (also called ES), no other image needed",
    ),
    "odfa": Preset(
        objective="opposite",
        optimiser="ifgsm-random",
        linf_only=True,
        references="self",
        source=_ODFA,
        summary="toward the opposite of the own feature (U-turn), no other image needed",
    ),
    "fna": Preset(
        objective="furthest",
        optimiser="ifgsm",
        linf_only=True,
        source=_SMA,
        parameters=_FIFTEEN,
        summary="away from the own identity, toward the one furthest from it",
    ),
    "fna-no-push": Preset(
        objective="furthest-pull",
        optimiser="ifgsm",
        linf_only=True,
        source=_SMA,
        parameters=_FIFTEEN,
        summary="ablation: only toward the furthest identity",
    ),
    "fna-no-pull": Preset(
        objective="push",
        optimiser="ifgsm",
        linf_only=True,
        source=_SMA,
        parameters=_FIFTEEN,
        summary="ablation: only away from the own identity",
    ),
    "fna-public": Preset(
        objective="furthest-sum",
        optimiser="ifgsm",
        linf_only=True,
        source=f"the public code of {_SMA}",
        parameters=_FIFTEEN,
        summary="fna with a sum of pushes against one pull",
    ),
    "sg-ifgsm": Preset(
        objective="push",
        optimiser="ifgsm",
        linf_only=True,
        references="single",
        source=_SMA,
        parameters=_FIFTEEN,
        summary="away from one image of the own identity (single guide)",
    ),
    "pire": Preset(
        objective="self",
        optimiser="adam",
        references="self",
        source="Liu, Zhao, Larson 2019 (ICMR)",
        summary="away from the own clean feature, by Adam",
    ),
    "tma": Preset(
        objective="target-feature",
        optimiser="adam",
        source="Tolias, Radenovic, Chum 2019 (ICCV; arXiv 1908.09163)",
        summary="toward the feature of one other image, by Adam",
    ),
    "ltm": Preset(
        objective="misrank",
        optimiser="ifgsm",
        linf_only=True,
        source="Wang et al. 2020 (CVPR; arXiv 2004.04199), its loss for one image",
        parameters=_TWENTY_FOUR,
        summary="nearest right image away, furthest wrong one near",
    ),
    "gtm": Preset(
        objective="nearest-wrong",
        optimiser="ifgsm",
        linf_only=True,
        source=_PROFILE,
        parameters=_TWENTY_FOUR,
        summary="toward the nearest wrong image (greedy top-1 misranking)",
    ),
    "gtt": Preset(
        objective="evict",
        optimiser="ifgsm",
        linf_only=True,
        source=_PROFILE,
        parameters=_TWENTY_FOUR,
        summary="the first candidate falls (greedy top-1 translocation); query side",
    ),
    "qa-plus": Preset(
        objective="raise",
        optimiser="ifgsm",
        linf_only=True,
        source=_RANKING,
        parameters=_TWENTY_FOUR,
        summary="query attack: images of a target identity rise; targeted",
    ),
    "qa-minus": Preset(
        objective="evict",
        optimiser="ifgsm",
        linf_only=True,
        source=_RANKING,
        parameters={**_TWENTY_FOUR, "pool": 0.01},
        summary="query attack: a candidate of the first percent falls; query side",
    ),
    "ca-plus": Preset(
        objective="raise",
        optimiser="ifgsm",
        linf_only=True,
        source=_RANKING,
        parameters=_TWENTY_FOUR,
        summary="candidate attack: a gallery image rises for a target's query; targeted",
    ),
    "ca-minus": Preset(
        objective="lower",
        optimiser="ifgsm",
        linf_only=True,
        source=_RANKING,
        parameters={**_TWENTY_FOUR, "pool": 0.01},
        summary="candidate attack: a gallery image falls for a query near it; gallery side",
    ),
    "soft-ap": Preset(
        objective="soft-ap",
        optimiser="apgd",
        source="Ding et al. 2021 (TIFS), its loss for one image",
        summary="a smooth average precision itself",
    ),
    "lta": Preset(
        objective="local-gray",
        optimiser="mifgsm",
        linf_only=True,
        references="self",
        source="Gong et al. 2022 (CVPR workshops)",
        parameters=_FIFTEEN,
        summary="away from the feature of the image with a random patch gray",
    ),
    "di-ti-mi": Preset(
        objective="push",
        optimiser="mifgsm",
        linf_only=True,
        transforms=("di", "ti"),
        source="Xie et al. 2019 (arXiv 1803.06978), Dong et al. 2019 (arXiv 1904.02884)",
        parameters={"steps": 10},
        summary="for transfer: diverse inputs, smoothed gradients, momentum",
    ),
}


@dataclass(frozen=True, kw_only=True)
class FittedPreset:
    """A published universal perturbation: fitted by `robustreid train`, then an attack with the key `perturbation`."""

    #: One line for `robustreid ls attacks`.
    summary: str
    source: str
    #: Raised by hand when the same file can give other images.
    version: int = 1


FITTED: Mapping[str, FittedPreset] = {
    "uap-retrieval": FittedPreset(
        summary="one change for all images, fitted on training images: the ranking of landmarks reversed",
        source="Li, Ji, Liu, Hong, Gao, Tian 2019 (ICCV)",
    ),
    "muap": FittedPreset(
        summary="one change for all images, fitted on training images: a smooth average precision lowered",
        source="Ding et al. 2021 (TIFS)",
    ),
    "cmps": FittedPreset(
        summary="one change for visible and infrared images, fitted by turns on training images of both",
        source="Gong et al. 2024 (NeurIPS 37:23352)",
    ),
}

#: Which side a preset is about, where its objective has a meaning on both.
SIDE_OF: Mapping[str, tuple[Side, ...]] = {"qa-plus": ("query",), "ca-plus": ("gallery",)}
