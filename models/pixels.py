"""From pixels to features: resize, normalise, embed, all inside one differentiable graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import UserError
from .base import Modality, ModelSpec
from .defences.stage import Stages


def resize_mode(from_size: tuple[int, int], to_size: tuple[int, int] | None) -> str:
    """How `resize` treats images of `from_size`: `none`, `bilinear` or `bilinear-antialias`.

    Args:
        from_size: (height, width) of the images.
        to_size: (height, width) wanted; None leaves the images as they are.

    """
    if to_size is None or tuple(from_size) == tuple(to_size):
        return "none"
    shrinks = to_size[0] < from_size[0] or to_size[1] < from_size[1]
    return "bilinear-antialias" if shrinks else "bilinear"


def resize(images: Tensor, size: tuple[int, int] | None) -> Tensor:
    """Images (B, C, h, w) of the wanted (height, width), differentiable; the very same tensor where nothing is to do.

    Bilinear with half-pixel centres (`align_corners=False`), with antialiasing exactly when height or width shrinks.
    """
    mode = resize_mode((images.shape[-2], images.shape[-1]), size)
    if size is None or mode == "none":
        return images
    return F.interpolate(
        images, size=size, mode="bilinear", align_corners=False, antialias=mode == "bilinear-antialias"
    )


class PixelEmbedder(nn.Module):
    """A network behind the contract of `Embedder`: images (B, 3, H, W) in [0, 1], RGB, to features (B, D).

    The defences of `spec`, resize to `spec.input_size`, then (x - mean) / std, then the network; with metric `cosine`
    the features have unit length. Weights are frozen and the module stays in evaluation mode for good, so that a
    feature depends on its image alone. Gradients reach the images. `.double()` gives the same function in float64.

    Args:
        network: images (B, 3, height, width), already normalised, to features (B, D).
        spec: what the network expects and how its features are compared.
        layout: how the images that the network is fed lie in memory; a network that uses `view` takes one of them only.
        dtype: the floating type that the network computes in, in place of that of the images; features come back in
            the type of the images.

    """

    #: Whether what images pass depends on what they were taken by; see `streams`.
    has_streams = False
    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: Callable[[Tensor], Tensor],
        spec: ModelSpec,
        *,
        layout: torch.memory_format = torch.contiguous_format,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.spec = spec
        self.layout = layout
        self.dtype = dtype
        #: What the images meet first. None rather than empty: a model without defences prints as it always did.
        self.defences: Stages | None = Stages(spec.defence) if spec.defence else None
        if isinstance(network, nn.Module):
            network.to(memory_format=layout, dtype=dtype)  # type: ignore[call-overload]
        self.register_buffer("mean", torch.tensor(spec.normalise.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(spec.normalise.std).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(requires_grad=False)
        self.eval()

    @property
    def bpda_stages(self) -> tuple[str, ...]:
        """What an adversary goes straight through where this is part of another network; see `stages`."""
        return () if self.defences is None else self.defences.paths

    def of(self, modality: Modality) -> PixelEmbedder:
        """The embedder of images of one modality: itself, where the model makes no difference."""
        del modality
        return self

    def train(self, mode: bool = True) -> Self:
        """Itself, in evaluation mode whatever `mode` says: a batch statistic would tie an image to its neighbours."""
        del mode
        return super().train(mode=False)

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D) of images (B, 3, H, W), float in [0, 1].

        Raises:
            UserError: where the network's output is not one row a image.

        """
        if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
            raise ValueError(
                f"expected images (B, 3, H, W) of a floating type, got {tuple(images.shape)} {images.dtype}"
            )
        if self.defences is None:
            return self.embed(images)
        features = self.defences(self.embed, images)
        is_unit = self.spec.metric == "cosine" and self.defences.is_mean
        return F.normalize(features, dim=1) if is_unit else features

    def embed(self, images: Tensor) -> Tensor:
        """Features (B, D) of images (B, 3, H, W) that have passed the defences."""
        features = self.network(self.inputs(images)).to(images.dtype)
        if features.ndim != 2 or features.shape[0] != images.shape[0]:
            raise UserError(
                f"The model {self.spec.label!r} gave an output of shape {tuple(features.shape)} for {images.shape[0]} "
                f"images; expected one feature a image, ({images.shape[0]}, D): export the model up to its feature."
            )
        return F.normalize(features, dim=1) if self.spec.metric == "cosine" else features

    def inputs(self, images: Tensor) -> Tensor:
        """What the network is given for images (B, 3, H, W) in [0, 1]: resized, normalised, laid out."""
        inputs = (resize(images, self.spec.input_size) - self.mean) / self.std
        return inputs.to(self.dtype or inputs.dtype).contiguous(memory_format=self.layout)
