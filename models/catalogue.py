"""The architectures that are known by name. An entry is a builder without arguments that gives the module."""

from __future__ import annotations

from collections.abc import Mapping

from .registry import Registry

ARCHITECTURES = Registry(
    kind="architecture",
    table={
        "agw_resnet50": ".architectures.two_stream:agw_resnet50",
        "agw_tiny": ".architectures.two_stream:agw_tiny",
        "densenet121": ".architectures.densenet:densenet121",
        "osnet_x0_25": ".architectures.osnet:osnet_x0_25",
        "osnet_x0_5": ".architectures.osnet:osnet_x0_5",
        "osnet_x0_75": ".architectures.osnet:osnet_x0_75",
        "osnet_x1_0": ".architectures.osnet:osnet_x1_0",
        "resnet50": ".architectures.resnet:resnet50",
        "resnext50_32x4d": ".architectures.resnet:resnext50_32x4d",
        "tinynet": ".architectures.tinynet:tinynet",
        "vit_s16": ".architectures.vit:vit_s16",
    },
    package=__package__,
    group="robustreid.architectures",
)

#: (height, width) each is fed by default: what its class says, repeated here so that a plan imports no torch.
INPUT_SIZES: Mapping[str, tuple[int, int]] = {
    **dict.fromkeys(ARCHITECTURES.table, (256, 128)),
    "agw_resnet50": (288, 144),
    "agw_tiny": (128, 64),
    "tinynet": (128, 64),
}
