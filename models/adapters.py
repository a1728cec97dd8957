"""Models of others in one line: from pixels to features, whatever a package feeds its networks and gets from them.

None of those packages is imported here: a model is known by what it has. What comes out is a copy in float32, in
evaluation mode and frozen; the model that was given is left as it was. Features come as the network gives them, not
normalised to unit length.

What each package expects, and where that was read:
    torchreid 1.4: ImageNet's mean and std, 256x128 (`torchreid/utils/feature_extractor.py`); logits while it trains,
        features in evaluation mode (`torchreid/models/osnet.py`).
    fast-reid 1.3: RGB in 0..255 under the key "images", normalised inside and in place by the buffers `pixel_mean` and
        `pixel_std` (`fastreid/modeling/meta_arch/baseline.py`), resized to `INPUT.SIZE_TEST`.
    timm 1.0: `pretrained_cfg` with mean, std and input size; `forward_features`, then `forward_head(...,
        pre_logits=True)` (`timm/models/_features.py`, `timm/data/config.py`).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .. import UserError
from .base import ModelSpec, Normalise
from .engine import trial_images
from .exporting import export_onnx
from .load import NormaliseRequest, resolve
from .pixels import PixelEmbedder

__all__ = ["Adapted", "export_onnx", "from_fastreid", "from_module", "from_timm", "from_torchreid"]

#: What a person's image is resized to where nothing says otherwise: (height, width).
_USUAL_SIZE = (256, 128)
#: The ranges that networks are fed: [0, 1] and grey levels.
_SCALES = (1, 255)


class Adapted(PixelEmbedder):
    """A model of others behind pixels: RGB images (B, 3, H, W) in [0, 1] to features (B, D), differentiable.

    Args:
        network: images as `spec` normalises them to features.
        spec: how it is fed.
        described: everything else that decides its features; with the weights it names the model in a run.
    """

    def __init__(self, network: nn.Module, spec: ModelSpec, described: str) -> None:
        super().__init__(network, spec)
        self.described = described

    def extra_repr(self) -> str:
        """How the network is fed: two that differ in it are two models, and print so."""
        size = "as it is" if self.spec.input_size is None else "{}x{}".format(*self.spec.input_size)
        return f"{self.described}, {size}, mean={self.spec.normalise.mean}, std={self.spec.normalise.std}"


class _Network(nn.Module):
    """A module of others, given what it expects."""

    def __init__(self, module: nn.Module, call: Callable[[Any, Tensor], object], *, scale: int, bgr: bool) -> None:
        super().__init__()
        self.module = module
        self.call = call
        self.scale = scale
        self.bgr = bgr

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D) of normalised images (B, 3, height, width)."""
        if self.bgr:
            images = images.flip(1)
        # Always a tensor of its own: fast-reid normalises what it is given in place.
        features = self.call(self.module, images * self.scale)
        if not isinstance(features, Tensor):
            raise UserError(
                f"The model gave a {type(features).__name__}, expected features (B, D); wrap it in a module whose "
                f"forward returns the feature alone."
            )
        return features.flatten(1) if features.ndim == 4 and features.shape[2:] == (1, 1) else features


def from_module(
    module: nn.Module,
    *,
    normalise: NormaliseRequest = None,
    input_size: Sequence[int] | None = None,
    scale: int = 1,
    bgr: bool = False,
) -> Adapted:
    """Any module that maps images to features, given images as it expects them.

    Args:
        module: images (B, 3, height, width) to features (B, D) or (B, D, 1, 1), in evaluation mode.
        normalise: `none`, `imagenet`, {mean, std} or a `Normalise`: (x - mean) / std on RGB in [0, 1]; none by default.
        input_size: (height, width) that images are resized to; by default they are fed as they are.
        scale: 255 for a network that expects 0..255: what was normalised is multiplied by it.
        bgr: whether the network expects blue first.

    Raises:
        UserError: it is no module, an argument is wrong, or the module does not run on images.
    """
    if scale not in _SCALES:
        raise UserError(f"from_module got scale {scale!r}; expected 1 for images in [0, 1] or 255 for 0..255.")
    module = _unwrapped(module, "from_module")
    return _adapted(
        module,
        lambda network, images: network(images),
        described=f"module, scale={scale}, bgr={bgr}",
        normalise=normalise,
        input_size=input_size,
        scale=scale,
        bgr=bgr,
    )


def from_torchreid(model: object, *, input_size: Sequence[int] = _USUAL_SIZE) -> Adapted:
    """A model of torchreid, as `torchreid.models.build_model` gives it, or a `FeatureExtractor`.

    Args:
        model: with or without `DataParallel` around it.
        input_size: (height, width); 256x128 as torchreid's own tools, 384x128 for PCB, 160x64 for HACNN.

    Raises:
        UserError: it is none of torchreid's, or does not run on images of that size.
    """
    module = _unwrapped(model, "from_torchreid")
    if not isinstance(getattr(module, "loss", None), str):
        raise UserError(
            f"from_torchreid got a {type(module).__name__} without torchreid's attribute `loss`; expected a model of "
            f"torchreid.models.build_model, and for others there is from_module(module, normalise='imagenet')."
        )
    return _adapted(
        module,
        lambda network, images: network(images),
        described="torchreid",
        normalise="imagenet",
        input_size=input_size,
    )


def from_fastreid(model: object, *, input_size: Sequence[int] | None = None) -> Adapted:
    """A model of fast-reid, as its `build_model(cfg)` gives it, or a `DefaultPredictor` or `DefaultTrainer`.

    Args:
        model: with its weights loaded.
        input_size: (height, width); by default `cfg.INPUT.SIZE_TEST` of a predictor or trainer, else 256x128.

    Raises:
        UserError: it is none of fast-reid's, or does not run on images of that size.
    """
    module = _unwrapped(model, "from_fastreid")
    mean, std = (getattr(module, name, None) for name in ("pixel_mean", "pixel_std"))
    if not (isinstance(mean, Tensor) and isinstance(std, Tensor)):
        raise UserError(
            f"from_fastreid got a {type(module).__name__} without the buffers pixel_mean and pixel_std; expected a "
            f"meta-architecture of fast-reid, and for others there is from_module(module, scale=255)."
        )
    configured = getattr(getattr(getattr(model, "cfg", None), "INPUT", None), "SIZE_TEST", None)
    return _adapted(
        module,
        lambda network, images: network({"images": images}),
        described=f"fast-reid, pixel_mean={mean.flatten().tolist()}, pixel_std={std.flatten().tolist()}",
        normalise="none",
        input_size=input_size or configured or _USUAL_SIZE,
        scale=255,
    )


def from_timm(model: object, *, input_size: Sequence[int] | None = None) -> Adapted:
    """A model of timm, up to the feature before its classifier, whether it was made with `num_classes=0` or not.

    Args:
        model: as `timm.create_model` gives it, not with `features_only=True`.
        input_size: (height, width); by default that which the model was made for. Images are resized as a whole:
            nothing is cropped.

    Raises:
        UserError: it is none of timm's, or does not run on images of that size.
    """
    module = _unwrapped(model, "from_timm")
    config = getattr(module, "pretrained_cfg", None)
    missing = [name for name in ("forward_features", "forward_head") if not callable(getattr(module, name, None))]
    if missing or config is None:
        what = ", ".join([*missing, *(["pretrained_cfg"] if config is None else [])])
        raise UserError(
            f"from_timm got a {type(module).__name__} without {what}; expected a model of timm.create_model, not made "
            f"with features_only=True."
        )
    known: Mapping[str, Any] = config if isinstance(config, Mapping) else vars(config)
    declared = tuple(known.get("input_size") or (3, *_USUAL_SIZE))
    if declared[0] != 3:
        raise UserError(
            f"from_timm got a model of images with {declared[0]} channels; expected 3, red, green and blue."
        )
    (m0, m1, m2), (s0, s1, s2) = (
        tuple(map(float, known.get(name) or ())) or _MISSING[name] for name in ("mean", "std")
    )
    return _adapted(
        module,
        lambda network, images: network.forward_head(network.forward_features(images), pre_logits=True),
        described="timm",
        normalise=Normalise(mean=(m0, m1, m2), std=(s0, s1, s2)),
        input_size=input_size or _made_for(module) or declared[1:],
    )


#: timm's own where a configuration is silent (`IMAGENET_DEFAULT_MEAN`, `IMAGENET_DEFAULT_STD`).
_MISSING = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def _made_for(module: nn.Module) -> tuple[int, ...] | None:
    """(height, width) of a transformer that was made for another size than it was pretrained on (`img_size=`)."""
    size = getattr(getattr(module, "patch_embed", None), "img_size", None)
    return tuple(size) if isinstance(size, Sequence) else None


def _unwrapped(model: object, function: str) -> nn.Module:
    """The network in a predictor, an extractor or a wrapper of several devices."""
    found = model if isinstance(model, nn.Module) else getattr(model, "model", None)
    if isinstance(found, nn.DataParallel | nn.parallel.DistributedDataParallel):
        found = found.module
    if not isinstance(found, nn.Module):
        raise UserError(f"{function} got a {type(model).__name__}; expected a torch.nn.Module.")
    return found


def _adapted(
    module: nn.Module,
    call: Callable[[Any, Tensor], object],
    *,
    described: str,
    normalise: NormaliseRequest,
    input_size: Sequence[int] | None,
    scale: int = 1,
    bgr: bool = False,
) -> Adapted:
    """A copy of a module behind pixels, tried on two images.

    Raises:
        UserError: an argument is wrong, or the module does not run.
    """
    name = type(module).__name__
    size = None if input_size is None else [int(side) for side in input_size]
    # `resolve` refuses what is wrong in the words of grid files; the reference stands for a module in memory.
    spec = resolve(label=name, plugin="in:memory", normalise=normalise, input_size=size, metric="euclidean")
    network = _Network(copy.deepcopy(module).float(), call, scale=scale, bgr=bgr)
    device = next((weight.device for weight in module.parameters()), torch.device("cpu"))
    adapted = Adapted(network, spec, described).to(device)
    images = trial_images(spec).to(device)
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            adapted(images)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or "no message"
        raise UserError(
            f"The {name} does not run on images of {images.shape[2]}x{images.shape[3]}: {type(error).__name__}: "
            f"{reason}; give the size that it takes, input_size=(height, width)."
        ) from error
    return adapted
