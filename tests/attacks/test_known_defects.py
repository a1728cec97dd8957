"""Defects of public implementations, each written out as it stands there, and a check that it fails and ours passes.

They distort published comparisons: an attack that is weaker, or stronger, than its name says. docs/attacks.md tells
what each did.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from robustreid.attacks.base import FLAG_PROJECTED
from robustreid.attacks.catalogue import PRESETS, resolve_attack
from robustreid.attacks.counts import quantise
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import Loss
from robustreid.attacks.objectives import Given
from robustreid.attacks.optimisers import FGSM, IFGSM, Optimiser, RandomIFGSM
from robustreid.attacks.references import References
from robustreid.attacks.threat import Threat
from robustreid.models.base import Embedder
from torch import Tensor, nn
from torch.nn import functional as F


def threat(counts: str) -> Threat:
    return Threat(norm="linf", epsilon=Fraction(counts) / 255)


# 1. The opposite direction attack ascends ||f + f0||^2, because the library under it ascends unless told `targeted`.


def assert_turns_away(scene: Any, objective: Any) -> None:
    """The check: the feature turns away from its clean self, further than noise turns it, and past a right angle."""
    scene = scene.having(policy="self")
    clean = F.normalize(scene.features(scene.images))

    def cosines(images: Tensor) -> Tensor:
        return (F.normalize(scene.features(images)) * clean).sum(1)[scene.selection.attacked.tolist()]

    found = cosines(scene.run(RandomIFGSM(), threat("8"), objective=objective))
    noise = cosines(scene.run(resolve_attack("noise").optimiser, threat("8")))
    assert (found < noise - 0.5).all()
    assert found.mean() < 0


def _ascending(features: Tensor, references: References) -> Tensor:
    assert references.clean is not None
    return (features + references.clean).square().sum(1)


def test_odfa_descends(real32: Any) -> None:
    """Ours ends on the far side of the sphere; the public copy's sign keeps the feature where it was."""
    assert_turns_away(real32, resolve_attack("odfa").objective)
    with pytest.raises(AssertionError):
        assert_turns_away(real32, Given(function=_ascending))


# 2. After its random start, an attack lays the ball around the randomised image.


class AroundItsStart(RandomIFGSM):
    """The defective form: up to two epsilon from the clean image."""

    def _walk(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw) -> Tensor:
        start = self._start(images * 255, threat, draw) / 255
        x, eps = start, float(threat.epsilon)
        for step in range(self.n_steps(threat)):
            x = x + loss.gradient(x, (0, step)).sign() / 255
            x = torch.minimum(torch.maximum(x, start - eps), start + eps).clamp(0, 1)
        return x


def unconfined(scene: Any, optimiser: Optimiser, asked: Threat, objective: Any = "push") -> tuple[Tensor, Tensor]:
    """What an optimiser hands back by itself, and the clean images; nobody has projected it yet."""
    rows = scene.selection.attacked.tolist()
    loss, images, draw = scene.batch(rows, len(rows), objective)
    (found,) = optimiser.run(loss, images, [asked], draw)
    return found, images


def assert_keeps_its_budget(scene: Any, optimiser: Optimiser, asked: Threat, objective: Any = "push") -> None:
    """The check: inside the ball and the range, all of it used somewhere, without the final projection's help."""
    found, clean = unconfined(scene, optimiser, asked, objective)
    size = (found.double() - clean.double()).abs().flatten(1).amax(1)
    assert (size <= float(asked.epsilon) + 1e-6).all()
    assert size.max() >= float(asked.epsilon) - 1e-6
    assert found.min() >= 0
    assert found.max() <= 1


RANDOM_STARTS = [name for name in PRESETS if resolve_attack(name).optimiser.is_random and name != "noise"]


@pytest.mark.parametrize("name", RANDOM_STARTS)
def test_a_random_start_does_not_double_the_budget(smooth: Any, name: str) -> None:
    """SMA, and whatever else starts at random; steps enough that twice the ball would be reached."""
    steps = {"queries": 60} if name == "square" else {"steps": 20}
    spec = resolve_attack(name, steps)
    goal = spec.objective.goals[0]
    assert_keeps_its_budget(smooth.of(spec), spec.optimiser, threat("4"), spec.objective_for(goal))


def test_a_ball_around_the_start_is_rejected(smooth: Any) -> None:
    """The defective form leaves the ball; before it is scored it is brought back, and the row says so."""
    scene, objective = smooth.having(policy="self"), resolve_attack("sma").objective
    wrong = AroundItsStart(steps=15)
    with pytest.raises(AssertionError):
        assert_keeps_its_budget(scene, wrong, threat("4"), objective)
    images, said = scene.attempts(wrong, threat("4"), objective=objective)
    assert all(FLAG_PROJECTED in attempt.flags for attempt in said)
    assert (images - scene.images).abs().max() <= 4 / 255 + 1e-9


# 3. Attacked images are written as JPEG, or cut off to 8 bit, before they are scored; one scalar stands for the
# standard deviations of three channels.

Keeping = Callable[[Tensor, Tensor], Tensor]


def as_jpeg(images: Tensor, clean: Tensor) -> Tensor:
    """The defective form: an image library's JPEG, because the file kept its `.jpg` name."""
    del clean
    found = []
    for image in (images * 255).round().byte().permute(0, 2, 3, 1).numpy():
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="JPEG")
        found.append(torch.from_numpy(np.array(Image.open(buffer))).permute(2, 0, 1))
    return torch.stack(found).to(images) / 255


def cut_off(images: Tensor, clean: Tensor) -> Tensor:
    """The defective form: what `mul(255).byte()` does, for negative changes away from the clean pixel."""
    del clean
    return (images * 255).floor() / 255


def assert_scores_what_was_attacked(scene: Any, keep: Keeping) -> None:
    """The check: an 8-bit image survives as it is, and no other one is moved out of its ball, nor to one side."""
    whole = scene.run(FGSM(), threat("5"))
    assert torch.equal(whole, keep(whole, scene.images))
    for counts in ("3/2", "9/2"):
        found = scene.run(FGSM(), threat(counts))
        kept = keep(found, scene.images)
        assert (kept - scene.images).abs().max() <= float(threat(counts).epsilon) + 1e-6
        assert abs(float((kept - scene.images).mean())) < 0.1 / 255


def test_images_are_scored_without_loss(real32: Any) -> None:
    """Ours is exact for whole counts and rounds toward the clean pixel; JPEG and cutting off are told apart."""
    assert_scores_what_was_attacked(real32, quantise)
    for wrong in (as_jpeg, cut_off):
        with pytest.raises(AssertionError):
            assert_scores_what_was_attacked(real32, wrong)


def test_kept_images_are_lossless(real32: Any, tmp_path: Any) -> None:
    """Whatever the name of the original, an attacked image is kept as PNG with the very pixels that were scored."""
    from robustreid.benchmark.runner.images import image_file, write_image

    class Folder:
        def write(self, file: Any, content: bytes) -> None:
            file.write_bytes(content)

    (image,) = real32.run(FGSM(), threat("5"))[:1]
    file = image_file(tmp_path, "0002_c1s1_000451_03.jpg")
    write_image(Folder(), file, image)  # type: ignore[arg-type]
    with Image.open(file) as found:
        assert found.format == "PNG"
        assert np.array_equal((image * 255).round().byte().permute(1, 2, 0).numpy(), np.asarray(found))


class ScalarUnit(FGSM):
    """The defective form: a step of eps / 0.226 in normalised pixels, whose units are 0.229, 0.224 and 0.225."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        unit = images.new_tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1) / 0.226
        sign = loss.gradient(images).sign()
        return [(images + float(asked.epsilon) * unit * sign).clamp(0, 1) for asked in threats]


def test_epsilon_is_the_same_in_every_channel(smooth: Any) -> None:
    """In [0, 1] pixel units; a scalar unit leaves the ball in red and does not fill it in green and blue."""
    for epsilon in ("1", "4", "8"):
        assert_keeps_its_budget(smooth, FGSM(), threat(epsilon))
        with pytest.raises(AssertionError):
            assert_keeps_its_budget(smooth, ScalarUnit(), threat(epsilon))


# 4. A loop over the references starts from the clean image each time, so only the last one is used; and pixels are
# clamped to [-1, 1].


def alone(scene: Any, row: int, references: list[int]) -> Tensor:
    """FGSM of one image against some references, from the equation."""
    guides = scene.features(scene.reference_images)[references]
    x = scene.images[row][None].clone().requires_grad_()
    loss = torch.stack([(scene.embedder(x)[0] - guide).square().mean() for guide in guides]).sum()
    (gradient,) = torch.autograd.grad(loss, x)
    found: Tensor = (x.detach() + 5 / 255 * gradient.sign()).clamp(0, 1)[0]
    return found


def last_reference_only(scene: Any) -> Tensor:
    """The defective form: every reference begins again at the clean image."""
    found: Tensor = scene.images.clone()
    for row in scene.selection.attacked.tolist():
        for reference in scene.selection.members[row].tolist():
            found[row] = alone(scene, row, [reference])
    return found


def assert_every_reference_counts(scene: Any, found: Tensor) -> None:
    """The check: each image is the one that all of its references together give."""
    for row in scene.selection.attacked.tolist():
        expected = alone(scene, row, scene.selection.members[row].tolist())
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-9)


def test_all_references_are_followed(smooth: Any) -> None:
    """Ours sums over them; the public loop's images are those of the last one."""
    assert max(len(members) for members in smooth.selection.members) > 1
    assert_every_reference_counts(smooth, smooth.run(FGSM(), threat("5")))
    with pytest.raises(AssertionError, match="not close"):
        assert_every_reference_counts(smooth, last_reference_only(smooth))


class WideRange(IFGSM):
    """The defective form: images in [0, 1] clamped to [-1, 1]."""

    def _walk(self, loss: Loss, images: Tensor, threat: Threat, draw: Draw) -> Tensor:
        x, eps = images, float(threat.epsilon)
        for step in range(self.n_steps(threat)):
            x = x + loss.gradient(x, (0, step)).sign() / 255
            x = torch.minimum(torch.maximum(x, images - eps), images + eps).clamp(-1, 1)
        return x


def test_pixels_stay_pixels(smooth: Any) -> None:
    """Black stays black or gets lighter; the wide range makes it darker than black."""
    dark = smooth.having(images=(smooth.images * 255 // 32 / 255))
    assert dark.images.min() == 0
    assert_keeps_its_budget(dark, IFGSM(), threat("8"))
    with pytest.raises(AssertionError):
        assert_keeps_its_budget(dark, WideRange(), threat("8"))


# 5. Adversarial examples are made while the model is in training mode: statistics of the batch, and statistics moved.


@dataclass(frozen=True)
class Wavering:
    """The defective form: a model that is in training mode whenever gradients are taken."""

    network: nn.Module

    def __call__(self, images: Tensor) -> Tensor:
        self.network.train(torch.is_grad_enabled())
        found: Tensor = self.network(images)
        return found


@pytest.fixture
def normalising() -> nn.Module:
    """A network with a batch norm, in evaluation mode."""
    with torch.random.fork_rng():
        torch.manual_seed(2)
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.LazyLinear(8))
        network(torch.rand(16, 3, 9, 6) * 0.2)
    return network.double().eval()


def assert_attacks_what_is_scored(scene: Any, network: nn.Module, embedder: Embedder) -> None:
    """The check: an image's gradient is that of the model in evaluation mode, and the model's statistics stay."""
    before = {name: value.clone() for name, value in network.state_dict().items()}
    scene = scene.having(embedder=embedder)
    found = scene.run(FGSM(), threat("5"))
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert_every_reference_counts(scene.having(embedder=network), found)


def test_models_are_attacked_in_evaluation_mode(smooth: Any, normalising: nn.Module) -> None:
    """Ours takes gradients of the model that is scored; training mode would give another one's."""
    assert_attacks_what_is_scored(smooth, normalising, normalising)
    with pytest.raises(AssertionError):
        assert_attacks_what_is_scored(smooth, normalising, Wavering(normalising))


def test_adversarial_training_perturbs_in_evaluation_mode(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loop switches the network over while it makes adversarial examples, and back again."""
    from robustreid.models.training import loop

    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(12), nn.Dropout())

    def assert_crafted_in_eval(frozen: Callable[[nn.Module], Any]) -> None:
        network.train()
        with frozen(network):
            modes = {module.training for module in network.modules()}
        assert modes == {False}
        assert network.training

    @contextmanager
    def unchanged(network: nn.Module) -> Iterator[None]:
        yield

    assert_crafted_in_eval(loop._frozen)
    with pytest.raises(AssertionError):
        assert_crafted_in_eval(unchanged)


# 6. An attack has an epsilon of its own and does not look at the one that was asked for.


class OneEpsilon(IFGSM):
    """The defective form: 0.05, whatever the configuration says."""

    def run(self, loss: Loss, images: Tensor, threats: Any, draw: Draw) -> list[Tensor]:
        return super().run(loss, images, [Threat(norm="linf", epsilon=Fraction(1, 20))] * len(threats), draw)


@pytest.mark.parametrize("counts", ["1", "4", "8", "15"])
def test_fna_uses_the_epsilon_asked_for(smooth: Any, counts: str) -> None:
    """All of it and no more; a fixed one is too large for small balls and too small for large ones."""
    spec = resolve_attack("fna")
    assert_keeps_its_budget(smooth, spec.optimiser, threat(counts), spec.objective)
    with pytest.raises(AssertionError):
        assert_keeps_its_budget(smooth, OneEpsilon(steps=15), threat(counts), spec.objective)
