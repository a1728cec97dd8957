"""What a model promises of its features: shape, type, sizes, the same every time, of each image alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ...attacks.reliability.features import moved, optimises, seeded
from ...attacks.reliability.thresholds import MOVED
from ...models.passing import sampled
from ...models.pixels import PixelEmbedder, resize
from ..runner.failures import describe
from .findings import Finding, flagged

#: (height, width) of images of well-known data sets, with which every model has to do something.
SIZES = ((128, 64), (160, 60), (256, 128))

_UP_TO_FEATURE = "export or return the model up to its feature: one row of numbers an image"


def features_and_type(embedder: PixelEmbedder, images: Tensor) -> list[Finding]:
    """What the network itself gives for images (B, 3, H, W): its shape, whether it is finite, its type."""
    try:
        with torch.no_grad():
            output: object = embedder.network(embedder.inputs(images))
    except Exception as error:  # noqa: BLE001 (whatever a model raises, it cannot be scored)
        return [Finding(name="features", verdict="fails", measured=describe(error), remedy=_mend(embedder))]
    if not isinstance(output, Tensor) or not output.is_floating_point():
        kind = output.dtype if isinstance(output, Tensor) else f"a {type(output).__name__}"
        measured = f"the network gave {kind}, expected floating features (B, D)"
        return [Finding(name="features", verdict="fails", measured=measured, remedy=_UP_TO_FEATURE)]
    shape = tuple(output.shape)
    if output.ndim != 2 or shape[0] != len(images) or shape[1] < 1:
        measured = f"shape {shape} for {len(images)} images, expected ({len(images)}, D)"
        return [Finding(name="features", verdict="fails", measured=measured, remedy=_UP_TO_FEATURE)]
    n_broken = int((~torch.isfinite(output)).any(1).sum())
    if n_broken:
        measured = f"NaN or infinite in {n_broken} of {len(images)} features"
        remedy = "look for 0/0, overflow and weights that are not finite"
        return [Finding(name="features", verdict="fails", measured=measured, remedy=remedy)]
    found = Finding(name="features", verdict="fine", measured=f"({len(images)}, {shape[1]}), finite")
    return [found, _type(output.dtype)]


def _mend(embedder: PixelEmbedder) -> str:
    kinds = _kinds(embedder.network)
    if kinds - {torch.float32}:
        return f"its weights are {', '.join(sorted(_word(kind) for kind in kinds))}: images are float32, add .float()"
    return "call it with float32 images (B, 3, H, W), any B; where it takes one size only, give --input-size HxW"


def _kinds(network: object) -> set[torch.dtype]:
    """Floating types of a network's weights."""
    if not isinstance(network, nn.Module):
        return set()
    return {weight.dtype for weight in network.parameters() if weight.is_floating_point()}


def _word(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")


def _type(kind: torch.dtype) -> Finding:
    if kind == torch.float32:
        return Finding(name="type", verdict="fine", measured="float32")
    return Finding(
        name="type",
        verdict="note",
        measured=f"{_word(kind)}: features are stored and compared as float32",
        remedy="compute in float32, in which published scores are; add .float()",
    )


def sizes(embedder: PixelEmbedder, images: Tensor) -> Finding:
    """Whether images of any size give features of one length."""
    lengths: dict[str, int] = {}
    inside = embedder.spec.input_size
    for size in SIZES:
        shown = f"{size[0]}x{size[1]}"
        try:
            with torch.no_grad():
                lengths[shown] = int(embedder(resize(images[:2], size)).shape[1])
        except Exception as error:  # noqa: BLE001 (a size that a model does not take)
            measured = f"images of {shown} raise {describe(error)}"
            return Finding(name="sizes", verdict="note", measured=measured, remedy="give its size: --input-size HxW")
    if len(set(lengths.values())) > 1:
        measured = ", ".join(f"{shown} gives {length} numbers" for shown, length in lengths.items())
        return Finding(name="sizes", verdict="note", measured=measured, remedy="give its size: --input-size HxW")
    how = "fed as they are" if inside is None else f"resized to {inside[0]}x{inside[1]} inside"
    return Finding(name="sizes", verdict="fine", measured=f"{', '.join(lengths)}: {how}")


def _gap(one: Tensor, other: Tensor) -> float:
    """By how much of its largest entry the most different feature differs."""
    largest = torch.maximum(one.abs(), other.abs()).amax(1).clamp_min(torch.finfo(one.dtype).tiny)
    return float(((one - other).abs().amax(1) / largest).max())


def determinism(embedder: PixelEmbedder, images: Tensor) -> Finding:
    """Whether the same images give the same features twice."""
    with torch.no_grad():
        once = embedder(images)
        with sampled(1):  # a defence that draws by the content of its images draws anew
            again = embedder(images)
    if torch.equal(once, again):
        return Finding(name="determinism", verdict="fine", measured=f"{len(images)} images twice: the same bits")
    measured = f"the same images twice: {_gap(once, again):.1e} of the largest entry apart"
    if moved(once, again):
        return flagged("determinism", measured, "randomised-features")
    return Finding(name="determinism", verdict="note", measured=f"{measured}, under {MOVED:g}")


def batch(embedder: PixelEmbedder, images: Tensor, *, is_random: bool) -> Finding:
    """Whether a feature depends on who shares the batch: beside others, beside black images, alone."""
    half = max(1, len(images) // 2)
    beside_black = images.clone()
    beside_black[half:] = 0
    try:
        with torch.no_grad(), seeded():
            together = embedder(images)[:half]
        with torch.no_grad(), seeded():
            other = embedder(beside_black)[:half]
        with torch.no_grad(), seeded():
            alone = embedder(images[:1])
    except Exception as error:  # noqa: BLE001 (a batch that a model does not take)
        return flagged("batch", f"a batch of one raises {describe(error)}", "batch-dependent-features")
    gap, single = _gap(together, other), _gap(together[:1], alone)
    measured = f"beside black images {gap:.1e} of the largest entry, alone {single:.1e}"
    # What draws at random draws other numbers in another batch: there, draws would look like neighbours.
    if not is_random and (moved(together, other) or moved(together[:1], alone)):
        return flagged("batch", measured, "batch-dependent-features")
    return Finding(name="batch", verdict="fine", measured=measured + (" (it draws at random)" if is_random else ""))


def inference(embedder: PixelEmbedder, images: Tensor) -> Finding:
    """Whether a forward optimises."""
    if optimises(embedder, images[:2]):
        return flagged("inference", "a forward without gradients ran a backward pass", "optimises-at-inference")
    return Finding(name="inference", verdict="fine", measured="a forward runs no backward pass")


def tensors(network: object) -> dict[str, Tensor]:
    """Copies of the parameters and buffers of a network, by name."""
    return {name: value.detach().clone() for name, value in _named(network)}


def _named(network: object) -> Iterator[tuple[str, Tensor]]:
    if isinstance(network, nn.Module):
        yield from network.named_parameters()
        yield from network.named_buffers()


def state(network: object, before: Mapping[str, Tensor]) -> Finding:
    """Whether a network still holds what it held `before`, and no gradients."""
    now = dict(_named(network))
    changed = [name for name, value in before.items() if name not in now or not _same(value, now[name])]
    if changed:
        shown = ", ".join(changed[:3]) + (", ..." if len(changed) > 3 else "")
        return flagged(
            "state", f"forwards changed {len(changed)} of {len(before)} tensors: {shown}", "changes-its-state"
        )
    kept = [name for name, value in now.items() if value.is_leaf and value.grad is not None]
    if kept:
        measured = f"gradients were left in {len(kept)} parameters, such as {kept[0]}"
        return Finding(
            name="state", verdict="note", measured=measured, remedy="use torch.autograd.grad, not backward()"
        )
    return Finding(name="state", verdict="fine", measured="no weight or buffer changed, no gradient was left")


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.nan_to_num(), other.nan_to_num())


def training_parts(network: object) -> list[str]:
    """The parts of a network that are in training mode, by name; the whole is ''."""
    if not isinstance(network, nn.Module):
        return []
    return [name for name, module in network.named_modules() if module.training]


def mode(handed_over: list[str], embedder: PixelEmbedder) -> Finding:
    """Whether a network came in evaluation mode and stayed in it.

    Args:
        handed_over: its parts that were in training mode when it came.
        embedder: the model, after it was used.
    """
    back = training_parts(embedder.network)
    if back:
        shown = ", ".join(repr(name) for name in back[:3]) + (", ..." if len(back) > 3 else "")
        remedy = "take the call of train() out of forward()"
        measured = f"{len(back)} parts went back to training mode: {shown}"
        return Finding(name="mode", verdict="note", measured=measured, remedy=remedy)
    if handed_over:
        measured = f"{len(handed_over)} parts came in training mode; the benchmark puts them in evaluation mode"
        return Finding(name="mode", verdict="note", measured=measured, remedy="call .eval() before handing it over")
    return Finding(name="mode", verdict="fine", measured="evaluation mode, and stays so")
