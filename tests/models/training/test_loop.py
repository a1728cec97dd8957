"""The loop learns, stops and goes on bit for bit, and shows a `Perturb` the network as it will be used."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from robustreid import UserError
from robustreid.models.pixels import PixelEmbedder
from robustreid.models.training import loop
from robustreid.models.training.batch_loss import batch_loss
from robustreid.models.training.checkpoint import pack, unpack
from robustreid.models.training.loop import Trainer, train
from robustreid.models.training.parts import copied, schedule
from robustreid.models.training.plan import Batch, EpochSummary, Hardened, Plan
from torch import Tensor

Make = Callable[..., Trainer]


class Brighter:
    """A `Perturb` that notes how it was called."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, bool, bool]] = []
        self.seen: list[Tensor] = []
        self.trainer: Trainer | None = None

    def __call__(self, embed: Callable[[Tensor], Tensor], batch: Batch, step: int) -> Hardened:
        assert self.trainer is not None
        network = self.trainer.network
        frozen = not any(parameter.requires_grad for parameter in network.parameters())
        self.calls.append((step, network.training, frozen))
        self.seen.append(embed(batch.images[:1]))
        assert len(batch.classes) == len(batch.places) == len(batch.images)
        return Hardened(images=(batch.images + 0.1).clamp(0, 1), sources=torch.arange(len(batch.images)))


def run(trainer: Trainer, epochs: int | None = None) -> list[EpochSummary]:
    """Epochs until the end, or so many."""
    if epochs is not None:
        return [trainer.run_epoch() for _ in range(epochs)]
    log: list[EpochSummary] = []
    train(trainer, on_epoch=lambda _, summary: log.append(summary))
    return log


def losses(log: list[EpochSummary]) -> list[dict[str, Any]]:
    """What of a log must be the same every time."""
    return [{k: v for k, v in vars(line).items() if k not in {"seconds", "images_per_second"}} for line in log]


def check_resumed(make: Make, tmp_path: Path, forget: str = "") -> None:
    """Two epochs, a checkpoint, a fresh trainer that goes on: the state of an uninterrupted training, bit for bit."""
    whole, first, second = make(average=0.9), make(average=0.9), make(average=0.9)
    log = run(whole)
    early = run(first, 2)
    (tmp_path / "state").write_bytes(pack(first.state(), {}))
    state, _ = unpack(tmp_path / "state")
    if forget:
        state = {name: torch.zeros_like(t) if name.endswith(forget) else t for name, t in state.items()}
    second.resume(state, 2)
    assert losses(log) == losses(early + run(second))
    assert pack(whole.state(), {}) == pack(second.state(), {})


def test_it_learns(make_trainer: Make) -> None:
    """Chance is one in seven; after a few epochs nearly every image is told apart."""
    trainer = make_trainer(epochs=50, learning_rate=0.02)
    log = run(trainer)
    assert log[0].accuracy_clean is not None
    assert log[-1].accuracy_clean is not None
    assert log[0].accuracy_clean < 0.6
    assert log[-1].accuracy_clean > 0.9
    assert log[-1].loss < 0.7 * log[0].loss
    assert [line.epoch for line in log] == list(range(1, 51))
    assert log[0].softmax_perturbed is None
    assert not trainer.network.training


def test_it_goes_on_bit_for_bit(make_trainer: Make, tmp_path: Path) -> None:
    """Weights, classifier, moments, running averages and losses of a resumed training are those of a whole one."""
    check_resumed(make_trainer, tmp_path)


@pytest.mark.parametrize("part", ["exp_avg", "exp_avg_sq", ".step", "running_mean"])
def test_a_forgetful_resume_is_rejected(make_trainer: Make, tmp_path: Path, part: str) -> None:
    """The check sees a resume without the optimiser's moments, its count of steps or a batch norm's statistics."""
    with pytest.raises(AssertionError):
        check_resumed(make_trainer, tmp_path, forget=part)


def test_a_state_that_does_not_fit_is_refused(make_trainer: Make) -> None:
    """A state without its moments, and one of a training without an average."""
    trainer = make_trainer()
    run(trainer, 1)
    state = trainer.state()
    with pytest.raises(KeyError):
        make_trainer().resume({k: v for k, v in state.items() if not k.startswith("optimiser")}, 1)
    with pytest.raises(KeyError):
        make_trainer(average=0.9).resume(state, 1)


def test_global_randomness_is_left_alone(make_trainer: Make) -> None:
    """Neither torch's nor numpy's global state decides anything or moves."""
    torch.manual_seed(1)
    first = run(make_trainer(), 1)
    before = torch.get_rng_state(), str(np.random.get_state())  # noqa: NPY002 (the state that must not move)
    second = run(make_trainer(), 1)
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == str(np.random.get_state())  # noqa: NPY002
    assert losses(first) == losses(second)


def test_a_perturb_sees_the_network_as_it_is_used(make_trainer: Make) -> None:
    """Evaluation mode, frozen weights, features as `PixelEmbedder` gives them; training goes on as before."""
    perturb = Brighter()
    trainer = perturb.trainer = make_trainer(perturb=perturb)
    log = run(trainer, 1)
    assert perturb.calls == [(0, False, True), (1, False, True)]
    assert all(parameter.requires_grad for parameter in trainer.network.parameters())
    assert trainer.network.training
    assert [float(row.norm(dim=1)) for row in perturb.seen] == pytest.approx([1.0, 1.0])
    assert log[0].softmax_clean is None
    assert log[0].softmax_perturbed is not None
    images = torch.rand(3, 3, 16, 8)
    trainer.network.eval()
    mine = trainer.embed(images).detach()
    assert torch.allclose(PixelEmbedder(trainer.network, trainer.spec)(images), mine, atol=1e-5)


def test_share_and_preserve_make_up_the_loss(make_trainer: Make) -> None:
    """The logged loss is (1 - share) clean + share perturbed + preserve times the moved distance."""
    perturb = Brighter()
    plan = {"share": 0.25, "preserve": 2.0, "softmax": 1.5, "triplet": 0.5}
    trainer = perturb.trainer = make_trainer(perturb=perturb, **plan)
    (line,) = run(trainer, 1)
    values = vars(line)
    clean, perturbed = (1.5 * values[f"softmax_{k}"] + 0.5 * values[f"triplet_{k}"] for k in ("clean", "perturbed"))
    assert line.preserve is not None
    assert line.preserve > 0
    assert line.loss == pytest.approx(0.75 * clean + 0.25 * perturbed + 2 * line.preserve, rel=1e-5)


def test_the_average_lags_behind(make_trainer: Make) -> None:
    """The weights handed out are the running average, warmed up; without a decay they are the network's own."""
    trainer = make_trainer(average=0.999)
    start = trainer.network.state_dict()["last.weight"].clone()
    run(trainer, 1)
    now, handed = trainer.network.state_dict()["last.weight"], trainer.weights["last.weight"]
    # Two steps with decays 1/10 and 2/11; the state between them is not kept, so only the ends are compared.
    assert 0 < float((handed - now).norm()) < float((start - now).norm())
    plain = make_trainer()
    run(plain, 1)
    assert torch.equal(plain.weights["last.weight"], plain.network.state_dict()["last.weight"])


def test_a_loss_that_diverges_is_said(make_trainer: Make) -> None:
    """The sentence has the step and what to do."""
    trainer = make_trainer(learning_rate=1e30, warmup_epochs=0.0)
    with pytest.raises(UserError, match=r"no finite number at step \d+ \(epoch \d\).*lower the learning rate"):
        run(trainer, 4)


def test_the_learning_rate_rises_and_falls() -> None:
    """Up to the whole rate during the warm-up, never above it, down to nearly nothing at the end."""
    rates = [schedule(step, total=100, warmup=10) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10] == 1.0
    assert all(a >= b for a, b in itertools.pairwise(rates[10:]))
    assert 0 < rates[-1] < 0.001


@pytest.mark.parametrize(("precision", "dtype"), [("bfloat16", torch.bfloat16), ("float32", torch.float32)])
def test_bfloat16_trains_too(make_trainer: Make, precision: str, dtype: torch.dtype) -> None:
    """Passes are computed in it; weights and losses stay float32."""
    trainer = make_trainer(precision=precision, epochs=8)
    seen = []
    trainer.network.get_submodule("last").register_forward_hook(lambda _, __, output: seen.append(output.dtype))
    log = run(trainer)
    assert set(seen) == {dtype}
    assert log[-1].loss < log[0].loss
    assert {value.dtype for value in trainer.weights.values()} == {torch.float32, torch.int64}


def test_an_adversary_under_autocast_sees_half_width(make_trainer: Make) -> None:
    """Features and their norm, as the networks of docs/results.md were trained; the trainer's own losses do not."""
    trainer = make_trainer(precision="bfloat16")
    images = torch.rand(4, 3, 16, 8, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert trainer.embed(images).dtype == torch.bfloat16


def test_a_copy_is_not_watched(make_trainer: Make) -> None:
    """Whoever runs it does not fill the training's own list, and cannot move the network that trains."""
    trainer = make_trainer(bnneck=True)
    network = copied(trainer.network, trainer.weights).eval()
    network(torch.rand(2, 3, 16, 8))
    assert trainer._before_neck == []
    with torch.no_grad():
        network.get_parameter("last.weight").zero_()
    assert trainer.network.get_parameter("last.weight").abs().sum() > 0


def test_rounds_make_an_epoch_longer(make_trainer: Make) -> None:
    """Two rounds an epoch are the batches of two epochs of one round, in the same order."""
    twice, once = make_trainer(rounds=2, epochs=1), make_trainer(epochs=2)
    run(twice)
    run(once)
    assert twice.steps_per_epoch == 2 * once.steps_per_epoch
    seen = [trainer.network.state_dict()["norm.num_batches_tracked"].item() for trainer in (twice, once)]
    assert seen[0] == seen[1] == 2 * once.steps_per_epoch


def test_the_neck_stands_between_the_two_losses(make_trainer: Make) -> None:
    """The triplet loss looks before the batch norm, softmax behind it, and that batch norm has no shift."""
    trainer = make_trainer(bnneck=True, epochs=1, softmax=1.0, triplet=1.0)
    neck = trainer.network.get_submodule("bottleneck")
    assert isinstance(neck, torch.nn.BatchNorm1d)
    seen: list[Tensor] = []
    neck.register_forward_hook(lambda _, given, __: seen.append(given[0].detach()))
    compared = []

    def watched(plan: Plan, parts: Any, **others: Any) -> Any:
        compared.append(parts["clean"].compared.detach())
        return batch_loss(plan, parts, **others)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "batch_loss", watched)
        run(trainer)
    assert all(torch.equal(one, other) for one, other in zip(seen, compared, strict=True))
    assert not neck.bias.any()
    assert not neck.bias.requires_grad
    with pytest.raises(UserError, match="does not end in a batch norm called `bottleneck`"):
        make_trainer(bnneck=True, neck=False)


def test_a_compiled_training_runs_the_compiled_network(make_trainer: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training passes and the adversary's go through what `torch.compile` gave; weights are those of the plain one."""
    calls = []

    def compile_(network: torch.nn.Module) -> Callable[[Tensor], Tensor]:
        def run_it(images: Tensor) -> Tensor:
            calls.append(len(images))
            found: Tensor = network(images)
            return found

        return run_it

    monkeypatch.setattr(torch, "compile", compile_)
    plain, other = make_trainer(), make_trainer(is_compiled=True)
    assert losses(run(plain, 1)) == losses(run(other, 1))
    other.embed(torch.rand(2, 3, 16, 8))
    assert calls == [12, 12, 2]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_a_compiled_training_learns(make_trainer: Make) -> None:
    """With the machine's own compiler; losses are nearly those of the plain training."""
    plain, other = make_trainer(), make_trainer(is_compiled=True)
    try:
        found = run(other, 2)
    except Exception as error:  # noqa: BLE001 (whatever a missing compiler raises)
        pytest.skip(f"torch.compile does not work here: {type(error).__name__}")
    assert [line.loss for line in found] == pytest.approx([line.loss for line in run(plain, 2)], rel=1e-3)
