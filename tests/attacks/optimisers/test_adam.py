"""Adam on the perturbation against `torch.optim.Adam`, one image at a time, in pixel units."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from robustreid.attacks.optimisers import Adam
from torch import Tensor


def looped(hills: Any, threat: Any, project: Any, steps: int, **options: Any) -> Tensor:
    """Every image from its uniform start, projected after every step; `maximize` climbs."""
    ends = []
    for row, clean in enumerate(hills.images):
        start = clean + float(threat.epsilon) * (2 * hills.uniform(row, 0) - 1)
        x = project(start, clean, threat).clone().requires_grad_()
        climber = torch.optim.Adam([x], maximize=True, **options)
        for _ in range(steps):
            climber.zero_grad()
            hills.value(row, x).backward()
            climber.step()
            with torch.no_grad():
                x.copy_(project(x, clean, threat))
        ends.append(x.detach())
    return torch.stack(ends)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {"lr": 0.0226}),
        ({"learning_rate": 0.001, "beta1": 0.5, "beta2": 0.9}, {"lr": 0.001, "betas": (0.5, 0.9)}),
        ({"beta1": 0.0}, {"lr": 0.0226, "betas": (0.0, 0.999)}),
    ],
)
def test_adam_is_adam(hills: Any, ball: Any, radius: Any, ours: Any, theirs: Any) -> None:
    """The same steps as PyTorch's, with its defaults and others."""
    made, threat = hills(0), radius("8/255")
    expected = looped(made, threat, ball, 12, **theirs)
    torch.testing.assert_close(made.run(Adam(steps=12, **ours), threat), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("wrong", [{"lr": 0.0452}, {"lr": 0.0226, "betas": (0.8, 0.999)}, {"lr": 0.0226, "eps": 0.1}])
def test_another_adam_is_told_apart(hills: Any, ball: Any, radius: Any, wrong: Any) -> None:
    """Another rate, another memory, another floor: the loop ends elsewhere."""
    made, threat = hills(0), radius("16/255")
    with pytest.raises(AssertionError, match="not close"):
        torch.testing.assert_close(
            made.run(Adam(steps=12), threat), looped(made, threat, ball, 12, **wrong), rtol=0, atol=1e-9
        )


def test_without_projection_it_would_leave_the_ball(hills: Any, radius: Any) -> None:
    """Precondition: the projection decides."""
    made, threat = hills(0), radius("8/255")
    free = looped(made, threat, lambda x, clean, threat: x, 12, lr=0.0226)
    assert ((free - made.images).abs() > 8 / 255 + 1e-6).any()
