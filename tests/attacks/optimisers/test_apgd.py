"""APGD against a straight transcription of algorithm 1 of Croce and Hein 2020, one image at a time, in pixel units."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from math import ceil
from typing import Any

import pytest
import torch
from robustreid.attacks.optimisers import APGD
from robustreid.attacks.optimisers.apgd import checkpoints
from scipy.stats import chi2, norm  # type: ignore[import-untyped]
from torch import Tensor


@dataclass
class Algorithm1:
    """The paper's algorithm; every constant a field, so that a wrong one can be tried."""

    steps: int
    rho: float = 0.75
    alpha: float = 0.75
    first: float = 2.0
    p1: Fraction = Fraction(22, 100)
    uses_condition_1: bool = True
    uses_condition_2: bool = True
    restarts_from_best: bool = True
    keeps_best: bool = True
    #: At which checkpoints which conditions held, for the test to know that it saw them.
    seen: list[tuple[bool, bool]] = field(default_factory=list)

    @property
    def checkpoints(self) -> list[int]:
        p = [Fraction(0), self.p1]
        while p[-1] + max(p[-1] - p[-2] - Fraction(3, 100), Fraction(6, 100)) <= 1:
            p.append(p[-1] + max(p[-1] - p[-2] - Fraction(3, 100), Fraction(6, 100)))
        return [ceil(share * self.steps) for share in p]

    def __call__(self, hills: Any, row: int, threat: Any, start: Tensor, project: Any) -> Tensor:
        clean, eta, w = hills.images[row], self.first * float(threat.epsilon), self.checkpoints
        # x[k] is where step k begins, came[k] where step k - 1 ended; they differ where the walk went back to the best.
        x, came = [start], [start]
        f = [float(hills.value(row, start))]
        x_max, f_max = start, f[0]
        f_max_at, eta_at, j, gains = {0: f_max}, {0: eta}, 1, 0
        for k in range(self.steps):
            g = hills.gradient(row, x[k])
            z = project(x[k] + eta * (g.sign() if threat.norm == "linf" else g / g.norm()), clean, threat)
            new = z
            if k > 0:
                new = project(x[k] + self.alpha * (z - x[k]) + (1 - self.alpha) * (x[k] - came[k - 1]), clean, threat)
            value = float(hills.value(row, new))
            gains += value > f[k]
            if value > f_max:
                x_max, f_max = new, value
            came_here, here, f_here = x[k], new, value
            if j < len(w) and k + 1 == w[j] < self.steps:
                condition_1 = gains < self.rho * (w[j] - w[j - 1])
                condition_2 = eta == eta_at[w[j - 1]] and f_max == f_max_at[w[j - 1]]
                eta_at[w[j]], f_max_at[w[j]] = eta, f_max
                self.seen.append((condition_1, condition_2))
                if (condition_1 and self.uses_condition_1) or (condition_2 and self.uses_condition_2):
                    eta /= 2
                    if self.restarts_from_best:
                        here, f_here = x_max, f_max
                j, gains = j + 1, 0
            x.append(here)
            f.append(f_here)
            came[k] = came_here
            came.append(here)
        return x_max if self.keeps_best else x[-1]


def start_of(hills: Any, row: int, threat: Any, restart: int, project: Any) -> Tensor:
    """A uniform point of the ball."""
    uniform, clean = hills.uniform(row, restart), hills.images[row]
    if threat.norm == "linf":
        return project(clean + float(threat.epsilon) * (2 * uniform - 1), clean, threat)  # type: ignore[no-any-return]
    n = torch.from_numpy(norm.ppf(uniform.numpy()))
    share = float(chi2.cdf(n.square().sum(), n.numel())) ** (1 / n.numel())
    return project(clean + float(threat.epsilon) * share * n / n.norm(), clean, threat)  # type: ignore[no-any-return]


def looped(algorithm: Algorithm1, hills: Any, threat: Any, project: Any, restarts: int = 1) -> Tensor:
    ends = []
    for row in range(len(hills.images)):
        found = [
            algorithm(hills, row, threat, start_of(hills, row, threat, restart, project), project)
            for restart in range(restarts)
        ]
        ends.append(max(found, key=lambda x: float(hills.value(row, x))))
    return torch.stack(ends)


RADII = (("8/255", "linf"), ("3/510", "linf"), ("1/2", "l2"))


def cases() -> Iterator[tuple[int, float, int, str, Any]]:
    for steps, rho, restarts in ((100, 0.75, 1), (30, 0.75, 2), (40, 0.2, 1), (7, 0.75, 1), (1, 0.75, 1), (25, 1.0, 1)):
        for epsilon, kind in RADII:
            yield steps, rho, restarts, epsilon, kind


@pytest.mark.parametrize(("steps", "rho", "restarts", "epsilon", "kind"), list(cases()))
def test_apgd_is_algorithm_1(
    hills: Any, ball: Any, radius: Any, steps: int, rho: float, restarts: int, epsilon: str, kind: Any
) -> None:
    """Long and short walks, both norms, other shares, several restarts; on gentle and rough hills.

    L2 steps carry last bits on, and rough hills make them grow, so hills are gentler there.
    """
    threat = radius(epsilon, kind)
    for seed, speed in enumerate((40.0, 160.0) if kind == "linf" else (3.0, 9.0)):
        made = hills(seed, speed=speed)
        expected = looped(Algorithm1(steps, rho), made, threat, ball, restarts)
        found = made.run(APGD(steps=steps, rho=rho, restarts=restarts), threat)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(6))
def test_the_first_checkpoint_looks_at_the_start(hills: Any, ball: Any, radius: Any, seed: int) -> None:
    """Where nothing beats the random start, though many steps gain: hills so rough that a gradient says nothing."""
    algorithm, made, threat = Algorithm1(40, 0.2), hills(seed, speed=2000.0, n=8), radius("8/255")
    expected = looped(algorithm, made, threat, ball)
    torch.testing.assert_close(made.run(APGD(steps=40, rho=0.2), threat), expected, rtol=0, atol=1e-9)


def test_every_branch_is_walked(hills: Any, ball: Any, radius: Any) -> None:
    """Precondition of the above: neither condition, the first alone, the second alone, and both."""
    seen = []
    for steps, rho in ((100, 0.75), (40, 0.2)):
        for seed, speed in enumerate((40.0, 160.0)):
            algorithm = Algorithm1(steps, rho)
            looped(algorithm, hills(seed, speed=speed), radius("8/255"), ball)
            seen += algorithm.seen
    assert {(False, False), (True, False), (False, True), (True, True)} == set(seen)


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 0.5},
        {"alpha": 1.0},
        {"first": 1.0},
        {"rho": 0.5},
        {"p1": Fraction(1, 4)},
        {"uses_condition_1": False},
        {"uses_condition_2": False, "rho": 0.2},
        {"restarts_from_best": False},
        {"keeps_best": False},
    ],
)
def test_another_algorithm_is_told_apart(hills: Any, ball: Any, radius: Any, wrong: Any) -> None:
    """Each constant and each rule decides: with any one of them changed the loop ends elsewhere."""
    made, threat = hills(1, speed=160.0), radius("8/255")
    rho = 0.2 if len(wrong) > 1 else 0.75
    found = made.run(APGD(steps=60, rho=rho), threat)
    torch.testing.assert_close(found, looped(Algorithm1(60, rho), made, threat, ball), rtol=0, atol=1e-9)
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(
            found, looped(Algorithm1(60, **{"rho": rho, **wrong}), made, threat, ball), rtol=0, atol=1e-9
        )


@pytest.mark.parametrize("steps", [1, 2, 7, 20, 50, 100, 500, 1000])
def test_checkpoints(steps: int) -> None:
    """As the paper's recursion has them, in exact fractions; a float's last bit would move some."""
    assert Algorithm1(steps).checkpoints[1:] == list(checkpoints(steps))


def test_the_best_image_is_handed_back(hills: Any, radius: Any) -> None:
    """No worse than its start, and never worse than with fewer restarts."""
    made, threat = hills(2), radius("8/255")

    def values(images: Tensor) -> Tensor:
        return torch.stack([made.value(row, image) for row, image in enumerate(images)])

    few, many = (values(made.run(APGD(steps=9, restarts=restarts), threat)) for restarts in (1, 3))
    assert (many >= few).all()
    assert (many > few).any()
