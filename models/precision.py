"""What an attack's gradients are computed in where a grid says `precision: fast`; what is scored stays IEEE float32."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, get_args

import torch
from torch import nn

from .. import UserError
from .defences.stage import Stage
from .engine import trial_images
from .pixels import PixelEmbedder
from .streams import TwoStreamEmbedder, each_stream

Arithmetic = Literal["float32", "bf16", "tf32"]
ARITHMETICS: tuple[Arithmetic, ...] = get_args(Arithmetic)

#: The least cosine of a feature in bf16 with the same feature in float32: below it the twin is another model.
AGREEMENT = 0.9


def fast_arithmetic(device: torch.device, wanted: str = "auto") -> Arithmetic:
    """What `precision: fast` means on a device: bf16 where it has the instructions, else TF32 on a GPU, else float32.

    Args:
        device: where gradients are computed.
        wanted: `auto`, or one of `ARITHMETICS` that the device should take.

    Raises:
        UserError: it has no such arithmetic.
    """
    is_cuda = device.type == "cuda"
    has_bf16 = torch.cuda.get_device_capability(device) >= (8, 0) if is_cuda else _cpu_has_bf16(device)
    if wanted == "auto":
        return "bf16" if has_bf16 else "tf32" if is_cuda else "float32"
    if wanted not in ARITHMETICS or (wanted == "tf32" and not is_cuda):
        here = "bf16, tf32 or float32" if is_cuda else "bf16 or float32"
        raise UserError(f"Gradients in {wanted!r} are not to be had on {device}; choose auto, {here}.")
    return wanted


def _cpu_has_bf16(device: torch.device) -> bool:
    """Whether the CPU multiplies bf16 by itself; PyTorch says so from 2.10 on, before that the answer is no."""
    known: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)() if device.type == "cpu" else {}
    return any(known.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def twin(embedder: PixelEmbedder, arithmetic: Arithmetic) -> tuple[PixelEmbedder, Arithmetic]:
    """The model whose gradients an attack follows, and what it really computes in.

    In bf16 it is a copy that has to give nearly the features of the original on two images; a model that does not run
    in bf16, or gives something else there, is followed in float32. TF32 is a switch of the GPU (`switched`), no copy.
    A model with a stream for each modality has a twin with streams, where each of them has one.
    """
    if embedder.has_streams:
        (visible, one), (infrared, other) = each_stream(embedder, lambda stream: twin(stream, arithmetic))
        if (one, other) == ("bf16", "bf16"):
            return TwoStreamEmbedder(visible, infrared), "bf16"
        return embedder, "float32" if arithmetic == "bf16" else arithmetic
    if arithmetic != "bf16":
        return embedder, arithmetic
    if not isinstance(embedder.network, nn.Module):
        return embedder, "float32"
    try:
        network = copy.deepcopy(embedder.network)
        found = PixelEmbedder(network, embedder.spec, layout=embedder.layout, dtype=torch.bfloat16)
        found = found.to(embedder.mean.device)
        images = trial_images(embedder.spec).to(embedder.mean.device)
        with torch.no_grad():
            # What stands before the network is no part of it, and is the same for both.
            cosines = nn.functional.cosine_similarity(found.embed(images), embedder.embed(images))
    except Exception:  # noqa: BLE001 (whatever a network of others does in bf16 costs speed only)
        return embedder, "float32"
    return (found, "bf16") if bool((cosines >= AGREEMENT).all()) else (embedder, "float32")


def compiled(follower: PixelEmbedder, count: int) -> PixelEmbedder | None:
    """The same model compiled for batches of `count` images; None where it does not compile or is another model then.

    `torch.compile` fuses what lies between convolutions, and on a GPU records CUDA graphs, which spares the launch of
    every kernel. It takes a minute or more. Of a model with streams each is compiled by itself.
    """
    if follower.has_streams:
        visible, infrared = each_stream(follower, lambda stream: compiled(stream, count))
        return TwoStreamEmbedder(visible, infrared) if visible and infrared else None
    if not isinstance(follower.network, nn.Module) or _draws(follower.network):
        return None
    device = follower.mean.device
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    images = trial_images(follower.spec).to(device).repeat(-(-count // 2), 1, 1, 1)[:count]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the compiler uses what PyTorch itself deprecates
            network = torch.compile(follower.network, mode=mode, dynamic=False)
            found = PixelEmbedder(network, follower.spec, layout=follower.layout, dtype=follower.dtype).to(device)
            features: list[Any] = [each.embed(images.clone().requires_grad_()) for each in (found, follower)]
            features[0].sum().backward()
        cosines = nn.functional.cosine_similarity(*features)
    except Exception:  # noqa: BLE001 (no compiler on this machine, or a network that it does not take)
        return None
    return found if bool((cosines >= AGREEMENT).all()) else None


def _draws(network: nn.Module) -> bool:
    """Whether a defence is part of the network: compiled, it would draw one sample for good."""
    return any(isinstance(module, Stage) for module in network.modules())


@contextmanager
def switched(arithmetic: Arithmetic) -> Iterator[None]:
    """Products and convolutions of the GPU in TF32 while this lasts, where that is the arithmetic, and only there."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = arithmetic == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
