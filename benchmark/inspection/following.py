"""Where a model's gradient leads: its size, one step along it beside noise, and what a pass costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...attacks.draw import Draw
from ...attacks.loss import FeatureMemo, Loss, NonFiniteGradientError
from ...attacks.objectives import Push
from ...attacks.references import select, to_references
from ...attacks.reliability.gradients import gradient_findings
from ...attacks.reliability.thresholds import BLACK_BOX_BETTER
from ...attacks.transforms import Lens
from ..progress import Silent
from ..runner.features import CleanFeatures
from ..runner.loading import LoadedModel
from ..runner.run import run_grid
from ..runtime import Settings
from ..store.directory import RunDirectory
from .feeding import is_near_chance
from .findings import Finding, flagged
from .sample import EPSILON, FGSM, NOISE, Sample

#: Seconds after which no other round of a pass is timed, and the most rounds.
_ENOUGH_SECONDS, _ROUNDS = 1.0, 5

#: The check that a flag of the harness belongs to.
CHECK_OF: Mapping[str, str] = {
    "randomised-features": "determinism",
    "batch-dependent-features": "batch",
    "optimises-at-inference": "inference",
}


def gradient(model: LoadedModel, sample: Sample, clean: CleanFeatures, count: int) -> Finding:
    """The gradient of the push objective at `count` queries: how long it is, and how much of it is zero."""
    chosen, images = sample.queries(count)
    data = sample.data
    selection = select("other-side", attacked=data.query.people, reference=data.gallery.people)
    counts, means = selection.bank(clean.gallery, clean.query)
    draw = Draw(0, tuple(data.query.paths[place] for place in chosen))
    references = to_references(counts[chosen], means[chosen], images, clean.query[chosen])
    memo = FeatureMemo(model.follower, len(images))
    loss = Loss(memo, Push(), references, clean=images, lens=model.lens(Lens()), draw=draw)
    flags = gradient_findings(loss, images, len(images), draw)
    try:
        found = loss.gradient(images)
    except NonFiniteGradientError:
        return flagged("gradient", "NaN or infinite at clean images or beside them", "non-finite-gradient")
    norms = found.flatten(1).norm(dim=1)
    through = ", through the stages that it declares" if model.passes_straight else ""
    measured = (
        f"norm {float(norms.median()):.1e} an image (median), {100 * float((found == 0).double().mean()):.1f} % of "
        f"entries zero{through}"
    )
    if flags:
        return flagged("gradient", measured, min(flags))
    return Finding(name="gradient", verdict="fine", measured=measured)


@dataclass(frozen=True, kw_only=True)
class Attacked:
    """The two rows of an inspection's run, by attack."""

    rows: Mapping[str, Mapping[str, Any]]

    def score(self, attack: str) -> float | None:
        """What an attack left of mAP, a fraction in [0, 1]; None where the cell failed."""
        row = self.rows[attack]
        return float(row["mAP_attacked"]) if row["status"] == "done" else None

    @property
    def flags(self) -> frozenset[str]:
        """Those of the rows that stand."""
        return frozenset(flag for row in self.rows.values() if row["status"] == "done" for flag in row["flags"])


def attack(sample: Sample, network: nn.Module, folder: Path, settings: Settings) -> Attacked:
    """FGSM and noise on the queries of a sample, by the harness itself."""
    chosen = replace(settings, batch_size=sample.batch_size)
    run_grid(sample.grid, folder, chosen, Silent(), {sample.grid.models[0].label: network})
    frame = RunDirectory(folder).load()
    rows = ({str(column): value for column, value in row.items()} for row in frame.to_dict("records"))
    return Attacked(rows={row["attack"]: row for row in rows})


def flags_of_rows(found: Attacked, known: Collection[str]) -> list[Finding]:
    """What the benchmark's own checks say of the model, as far as it is not known yet."""
    return [
        flagged(CHECK_OF.get(name, "gradient"), "found by the benchmark's own checks on the queries", name)
        for name in sorted(found.flags - set(known))
    ]


def attacked(found: Attacked, clean: float, chance: float) -> Finding:
    """Whether one step along the gradient does more than noise of the same size."""
    fgsm, noise = found.score(FGSM), found.score(NOISE)
    if fgsm is None or noise is None:
        failed = FGSM if fgsm is None else NOISE
        measured = f"{failed} at {EPSILON} failed: {found.rows[failed]['reason']}"
        return Finding(name="attack", verdict="fails", measured=measured, remedy="mend what the reason says")
    measured = f"mAP of attacked queries at {EPSILON}: FGSM {100 * fgsm:.1f}, noise {100 * noise:.1f}"
    if noise < fgsm - BLACK_BOX_BETTER:
        return flagged("attack", measured, "black-box-beats-white-box")
    if fgsm < noise - BLACK_BOX_BETTER:
        return Finding(name="attack", verdict="fine", measured=measured)
    if is_near_chance(clean, chance) or is_near_chance(noise, chance):
        return Finding(name="attack", verdict="note", measured=f"{measured}; there is nothing to lose")
    return flagged("attack", measured, "no-better-than-noise")


def forwards_per_second(model: LoadedModel, images: Tensor) -> float:
    """Images (B, 3, H, W) a second through the model that is scored."""

    def forward() -> None:
        with torch.no_grad():
            model.embedder(images)

    return len(images) / _seconds(forward, images.device)


def gradients_per_second(model: LoadedModel, images: Tensor) -> float | None:
    """Images a second through a forward and a backward of the model that attacks follow; None without a gradient."""
    leaf = images.clone().requires_grad_()
    if not model.follower(leaf).requires_grad:
        return None

    def both() -> None:
        torch.autograd.grad(model.follower(leaf).square().sum(), leaf, allow_unused=True)

    return len(images) / _seconds(both, images.device)


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    """The median time of a round, after one that is not counted."""
    work()
    rounds: list[float] = []
    while len(rounds) < _ROUNDS and sum(rounds) < _ENOUGH_SECONDS:
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        rounds.append(time.perf_counter() - started)
    return sorted(rounds)[len(rounds) // 2]


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
