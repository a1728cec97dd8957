"""Where the package's own code does not do what its paper says, or not on every device or shape."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor


def _cw(usual: Any) -> type:
    """3.3.0 looks labels of the GPU up in a table that lies on the CPU."""

    class CW(usual):  # type: ignore[misc]
        def f(self, outputs: Tensor, labels: Tensor) -> Tensor:
            own = torch.eye(outputs.shape[1], device=outputs.device, dtype=outputs.dtype)[labels]
            others, real = ((1 - own) * outputs).amax(1), (own * outputs).sum(1)
            return torch.clamp(real - others, min=-self.kappa)

    return CW


def _apgd(usual: Any) -> type:
    """As it comes it hands back the clean image wherever the nearest centroid is still the own one."""

    class APGD(usual):  # type: ignore[misc]
        def forward(self, images: Tensor, labels: Tensor) -> Tensor:
            images, labels = images.clone().detach(), labels.clone().detach()
            found: Tensor = self.perturb(images, labels, best_loss=True)[1]
            return found

    return APGD


def _square(usual: Any) -> type:
    """As it comes it hands back clean images like APGD, and draws squares wider than a person's image.

    It also leaves images alone that the clean model mistakes, and starts its generator anew.
    """

    class Square(usual):  # type: ignore[misc]
        def init_hyperparam(self, x: Tensor) -> None:
            super().init_hyperparam(x)
            height, width = x.shape[2:]
            self._widest = max(min(height, width) - 1, 1) ** 2 / (height * width)

        def p_selection(self, it: int) -> float:
            share: float = super().p_selection(it)
            return min(share, self._widest)

        def perturb(self, x: Tensor, y: Tensor) -> Tensor:
            self.init_hyperparam(x)
            if self.targeted:
                y = self.get_target_label(x, y)
            best, least = x.clone(), torch.full_like(x[:, 0, 0, 0], torch.inf)
            for _ in range(self.n_restarts):
                _, found = self.attack_single_run(x, y)
                with torch.no_grad():
                    _, value = self.margin_and_loss(found, y)
                better = value < least
                least = torch.where(better, value, least)
                best = torch.where(better.reshape(-1, 1, 1, 1), found, best)
            return best

    return Square


#: By name: a class of ours around the package's.
OVERRIDES: Mapping[str, Callable[[Any], type]] = {"APGD": _apgd, "CW": _cw, "Square": _square}
