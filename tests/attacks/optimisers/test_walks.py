"""NI-FGSM and I-FGSM from a random start against loops over one image, and the names that their traces give."""

from __future__ import annotations

from collections.abc import Hashable
from fractions import Fraction
from typing import Any

import pytest
import torch
from robustreid.attacks.base import confine
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import Loss
from robustreid.attacks.optimisers import IFGSM, MIFGSM, NIFGSM, Adam, Optimiser, RandomIFGSM
from torch import Tensor


def nesterov(hills: Any, threat: Any, project: Any, steps: int, mu: float, ahead: float = 1.0) -> Tensor:
    """x_nes = x + alpha mu g; g <- mu g + grad(x_nes) / mean|grad|; x <- clip(x + alpha sign(g))."""
    ends, alpha = [], 1 / 255 if threat.norm == "linf" else 0.1
    for row, clean in enumerate(hills.images):
        x, g = clean, torch.zeros_like(clean)
        for _ in range(steps):
            unit = g if threat.norm == "linf" else g / g.norm().clamp_min(1e-300)
            grad = hills.gradient(row, (x + ahead * alpha * mu * unit).clamp(0, 1))
            g = mu * g + grad / grad.abs().mean()
            x = project(x + alpha * (g.sign() if threat.norm == "linf" else g / g.norm()), clean, threat)
        ends.append(x)
    return torch.stack(ends)


@pytest.mark.parametrize("mu", [1.0, 0.5])
@pytest.mark.parametrize(("epsilon", "norm"), [("8/255", "linf"), ("3/255", "linf"), ("3/10", "l2")])
def test_ni_fgsm_is_its_equations(hills: Any, ball: Any, radius: Any, mu: float, epsilon: str, norm: Any) -> None:
    """Gradients where the momentum leads, steps from where the walk is; without the look ahead it ends elsewhere."""
    made, threat = hills(3), radius(epsilon, norm)
    size = Fraction(1, 255) if norm == "linf" else Fraction(1, 10)
    found = made.run(NIFGSM(momentum=mu, steps=7, step_size=size), threat)
    torch.testing.assert_close(found, nesterov(made, threat, ball, 7, mu), rtol=0, atol=1e-9)
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(found, nesterov(made, threat, ball, 7, mu, ahead=0), rtol=0, atol=1e-9)


def test_without_momentum_ni_fgsm_is_i_fgsm(hills: Any, radius: Any) -> None:
    """There is nowhere to look ahead to."""
    made, threat = hills(3), radius("8/255")
    assert torch.equal(made.run(IFGSM(), threat), made.run(NIFGSM(momentum=0.0), threat))
    assert not torch.equal(made.run(MIFGSM(), threat), made.run(NIFGSM(), threat))


def from_random(hills: Any, threat: Any, project: Any, steps: int) -> Tensor:
    """A uniform point of the ball, then steps of 1/255, projected onto the ball around the clean image."""
    ends = []
    for row, clean in enumerate(hills.images):
        x = project(clean + float(threat.epsilon) * (2 * hills.uniform(row, 0) - 1), clean, threat)
        for _ in range(steps):
            x = project(x + hills.gradient(row, x).sign() / 255, clean, threat)
        ends.append(x)
    return torch.stack(ends)


def assert_random_walk(optimiser: Optimiser, hills: Any, threat: Any, project: Any, steps: int) -> None:
    """The check: the loop's images, found without the final projection's help."""
    torch.testing.assert_close(
        hills.run(optimiser, threat), from_random(hills, threat, project, steps), rtol=0, atol=1e-9
    )


@pytest.mark.parametrize(("epsilon", "steps"), [("2/255", 2), ("4/255", 5), ("8/255", 10), ("16/255", 20)])
def test_a_random_start_stays_in_the_ball(hills: Any, ball: Any, radius: Any, epsilon: str, steps: int) -> None:
    """Around the clean image, not around the start, with round(min(eps + 4, 1.25 eps)) steps."""
    assert_random_walk(RandomIFGSM(), hills(4), radius(epsilon), ball, steps)
    assert_random_walk(RandomIFGSM(steps=15), hills(4), radius(epsilon), ball, 15)


@pytest.mark.parametrize(
    ("expected", "counts"), [(2, 2), (5, 4), (6, 5), (8, 6), (10, 8), (15, 12), (20, 16), (1, 0), (4, 3)]
)
def test_the_schedule_of_odfa(radius: Any, expected: int, counts: int) -> None:
    """Rounded where the metric attack's schedule is cut off."""
    assert expected == RandomIFGSM().n_steps(radius(f"{counts}/255"))


class AroundItsStart(RandomIFGSM):
    """The wrong twin: the ball is laid around the random start, so images end up to 2 epsilon away."""

    def _walk(self, loss: Loss, images: Tensor, threat: Any, draw: Draw) -> Tensor:
        start = self._start(images * 255, threat, draw) / 255
        x = start
        for step in range(self.n_steps(threat)):
            x = x + loss.gradient(x, (0, step)).sign() / 255
            x = torch.minimum(torch.maximum(x, start - float(threat.epsilon)), start + float(threat.epsilon))
            x = x.clamp(0, 1)
        return x


def test_a_ball_around_the_start_is_rejected(hills: Any, ball: Any, radius: Any) -> None:
    """The final projection has to move its images, and says so."""
    made, threat = hills(4), radius("4/255")
    with pytest.raises(AssertionError):
        assert_random_walk(AroundItsStart(), made, threat, ball, 5)


class _Noting(Loss):
    """Keeps the images at which gradients are asked for."""

    asked: list[Tensor]

    def slope(self, images: Tensor, moment: Any = (0, 0)) -> tuple[Tensor, Tensor]:
        self.asked.append(images.clone())
        return super().slope(images, moment)


def test_equal_names_are_equal_images(smooth: Any, radius: Any) -> None:
    """Every name of every trace stands for one image, whatever the momentum, the step and the ball."""
    rows = smooth.selection.attacked.tolist()
    known: dict[Hashable, Tensor] = {}
    optimisers = [
        *(kind(momentum=mu, steps=4) for kind in (NIFGSM, MIFGSM, RandomIFGSM) for mu in (0.0, 0.5, 1.0)),
        *(kind(momentum=mu, steps=3, step_size=Fraction(1, 4)) for kind in (NIFGSM, RandomIFGSM) for mu in (0.0, 0.5)),
        *(Adam(steps=steps, beta1=beta) for steps in (2, 3) for beta in (0.5, 0.9)),
    ]
    for optimiser in optimisers:
        for threat in (radius("2/255"), radius("8/255"), radius("1/4", "l2"), radius("2", "l2")):
            loss, images, draw = smooth.batch(rows, len(rows))
            noting = _Noting(loss._features, loss._objective, loss._references)
            noting.asked = []
            (found,) = optimiser.run(noting, images, [threat], draw)
            trace = optimiser.trace(threat)
            assert not confine(found, images, threat)[1]
            for name, image in zip((*trace.gradients, trace.final), [*noting.asked, found], strict=True):
                assert torch.equal(known.setdefault(name, image), image), name
    assert len(known) > 60
