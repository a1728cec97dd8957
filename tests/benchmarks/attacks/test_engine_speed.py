"""What the engine makes of a network: its gradient beside that of the network as written, and beside a GPU's rate."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
import torch
from robustreid.attacks.threat import Threat
from robustreid.benchmark.runtime import exact
from robustreid.models.load import build
from robustreid.models.pixels import PixelEmbedder
from robustreid.models.precision import compiled, twin
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

THREAT = Threat(norm="linf", epsilon=Fraction(5, 255))
STEPS = 6
NAMES = {"resnet50": "ResNet-50", "osnet_x0_25": "OSNet x0.25"}


@pytest.mark.benchmark(group="one gradient")
@pytest.mark.parametrize("architecture", [pytest.param("resnet50", marks=pytest.mark.slow), "osnet_x0_25"])
def test_engine(duel: Any, is_timed: bool, scene: Any, architecture: str) -> None:
    """The gradient of a model as it is built, beside the same network unfolded and in the default memory layout."""
    seen = scene(architecture, 16 if is_timed else 2)
    written = build(replace(seen.embedder.spec, folding=False))
    unfolded = PixelEmbedder(
        build(replace(seen.embedder.spec, folding=False)).network, seen.embedder.spec, layout=torch.channels_last
    )

    def gradient(embedder: PixelEmbedder) -> Callable[[], Tensor]:
        return lambda: replace(seen, embedder=embedder).loss().gradient(seen.images)

    ours, theirs = duel(
        gradient(seen.embedder),
        {"as written": gradient(written), "channels last": gradient(unfolded)},
        title=f"the engine's gradient, {NAMES[architecture]}",
        rounds=3 if architecture == "resnet50" else 7,
        count=len(seen.images),
        per="image",
        note=f"batch {len(seen.images)}",
    )
    for found in theirs.values():
        similar = torch.nn.functional.cosine_similarity(found.flatten(1), ours.flatten(1))
        assert bool((similar > 0.999).all())


def rate(work: Callable[[], object], flops: float) -> float:
    """Floating-point operations a second on the GPU, the best of five tries of half a second."""
    best = 0.0
    for _ in range(5):
        torch.cuda.synchronize()
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < 0.5:
            work()
            torch.cuda.synchronize()
            count += 1
        best = max(best, count * flops / (time.perf_counter() - started))
    return best


@pytest.mark.benchmark(group="ResNet-50 on a GPU", timer=time.perf_counter)
@pytest.mark.parametrize("way", ["float32", "bf16", "bf16 compiled"])
def test_gpu_share_of_the_matrix_product(benchmark: Any, is_timed: bool, scene: Any, way: str) -> None:
    """One cell of I-FGSM as a share of the rate of a large matrix product in the same arithmetic, in the same run."""
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device: nothing on a GPU is measured here")
    device, batch = torch.device("cuda"), 256 if is_timed else 4
    seen = scene("resnet50", 2).on(device, batch)
    embedder, arithmetic = twin(seen.embedder, "float32" if way == "float32" else "bf16")
    assert arithmetic == way.partition(" ")[0]
    seen = replace(seen, embedder=embedder)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        seen.embedder(seen.images)
    # A gradient is a forward and, since no weight wants one, as much again; the score is one forward more.
    flops = (2 * STEPS + 1) * counter.get_total_flops()
    wanted, _ = seen.ours("ama-ifgsm", THREAT)
    if way.endswith("compiled"):
        seen = replace(seen, embedder=compiled(embedder, batch) or pytest.skip("the model does not compile here"))

    def cell() -> Tensor:
        attacked: Tensor = seen.ours("ama-ifgsm", THREAT)[0]
        torch.cuda.synchronize()
        return attacked

    with exact(device):
        dtype, size = (torch.float32 if way == "float32" else torch.bfloat16), 8192
        side = torch.randn(size, size, device=device, dtype=dtype)
        product = rate(lambda: side @ side, 2.0 * size**3) if is_timed else 1.0
        attacked = benchmark.pedantic(cell, rounds=5, warmup_rounds=2)
    assert seen.strength(attacked) == pytest.approx(seen.strength(wanted), rel=0.02)
    if is_timed:
        reached = flops / benchmark.stats.stats.median
        benchmark.extra_info["share"] = {
            "title": f"I-FGSM 5/255, {way}, ResNet-50 on {torch.cuda.get_device_name()}",
            "reached": reached,
            "product": product,
            "share": reached / product,
            "batch": batch,
        }
