"""Both sides of a comparison of attacks: equal weights, equal people, equal references, equal steps, equal scoring."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
import torchattacks
from robustreid.attacks.catalogue import resolve_attack
from robustreid.attacks.counts import from_counts, quantise
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import FeatureMemo, Loss
from robustreid.attacks.objectives import Push
from robustreid.attacks.references import References
from robustreid.attacks.threat import Threat
from robustreid.models.base import NORMALISATIONS
from robustreid.models.catalogue import ARCHITECTURES
from robustreid.models.load import build, resolve
from robustreid.models.pixels import PixelEmbedder
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

#: 8-bit images and their features.
Found = tuple[Tensor, Tensor]


class Ordinary(nn.Module):
    """A network as people write it: eager, contiguous, batch norms apart, resize and normalisation in front.

    Its rectifiers work in place, as those of torchvision and torchreid do.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, architecture: str, weights: Path) -> None:
        super().__init__()
        self.network = ARCHITECTURES.load(architecture)()
        self.network.load_state_dict(load_file(weights))
        for module in self.network.modules():
            if isinstance(module, nn.ReLU):
                module.inplace = True
        normalise = NORMALISATIONS["imagenet"]
        self.register_buffer("mean", torch.tensor(normalise.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(normalise.std).view(1, 3, 1, 1))
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Unit features (B, D) of images (B, 3, 128, 64) in [0, 1]."""
        inputs = F.interpolate(images, size=(256, 128), mode="bilinear", align_corners=False)
        return F.normalize(self.network((inputs - self.mean) / self.std))

    def features(self, images: Tensor) -> Tensor:
        """The same without a gradient."""
        with torch.no_grad():
            features: Tensor = self(images)
        return features


class Judged(nn.Module):
    """The loss of metric attacks for libraries that want logits and labels.

    With label 0 the cross entropy of [-L, 0] is softplus(L). Its gradient is sigmoid(L) times that of L, and L is not
    negative, so the factor lies between a half and one.
    """

    def __init__(self, model: nn.Module, references: References) -> None:
        super().__init__()
        self.model = model
        self.references = references
        # A library that finds a wrapper in training mode puts the whole model into it.
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        """Logits (B, 2) of a batch, in the order of the references."""
        losses = Push()(self.model(images), self.references)
        return torch.stack([-losses, torch.zeros_like(losses)], 1)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One batch of people, before our model and before the ordinary one with the same weights."""

    weights: Path
    embedder: PixelEmbedder
    ordinary: Ordinary
    #: (B, 3, 128, 64) on the 8-bit grid.
    images: Tensor
    #: The other side: the same people, each by the same two cameras.
    reference_images: Tensor
    #: Both images of each identity on the other side, by the ordinary model.
    references: References

    def loss(self) -> Loss:
        """A loss of ours that has seen nothing yet."""
        return Loss(FeatureMemo(self.embedder, len(self.images)), Push(), self.references)

    def ours(self, attack: str, threat: Threat) -> Found:
        """One cell as a run does it: attacked, made 8 bit, scored."""
        memo = FeatureMemo(self.embedder, len(self.images))
        draw = Draw(0, tuple(str(index) for index in range(len(self.images))))
        (attempt,) = resolve_attack(attack).build()(Loss(memo, Push(), self.references), self.images, [threat], draw)
        attacked = quantise(attempt.images, self.images)
        return attacked, memo.features(attacked)

    def judged(self) -> Judged:
        """The ordinary model as other libraries take it."""
        return Judged(self.ordinary, self.references)

    def scored(self, attacked: Tensor) -> Found:
        """What a library gave, made 8 bit and scored."""
        rounded = from_counts((attacked * 255).round())
        return rounded, self.ordinary.features(rounded)

    def torchattacked(self, attack: str, threat: Threat) -> Found:
        """The same cell by torchattacks."""
        counts = threat.epsilon * 255
        epsilon, steps = float(threat.epsilon), int(min(counts + 4, counts * 5 / 4))
        judged, labels = self.judged(), torch.zeros(len(self.images), dtype=torch.long)
        work = {
            "ama-fgsm": lambda: torchattacks.FGSM(judged, eps=epsilon),
            "ama-ifgsm": lambda: torchattacks.BIM(judged, eps=epsilon, alpha=1 / 255, steps=steps),
            "ama-mifgsm": lambda: torchattacks.MIFGSM(judged, eps=epsilon, alpha=1 / 255, steps=steps, decay=1.0),
        }[attack]()
        return self.scored(work(self.images, labels))

    def strength(self, attacked: Tensor) -> float:
        """What the adversary has gained, as the ordinary model sees it."""
        return float(Push()(self.ordinary.features(attacked), self.references).mean())

    def part(self, start: int, count: int) -> Scene:
        """The scene of some of the images."""
        rows = slice(start, start + count)
        references = References(count=self.references.count[rows], mean=self.references.mean[rows])
        return replace(
            self, images=self.images[rows], reference_images=self.reference_images[rows], references=references
        )

    def on(self, device: torch.device, count: int) -> Scene:
        """The scene on another device, its images repeated until there are so many."""
        times = -(-count // len(self.images))
        images, others = (
            each.repeat(times, 1, 1, 1)[:count].to(device) for each in (self.images, self.reference_images)
        )
        number, mean = self.references.count.repeat(times)[:count], self.references.mean.repeat(times, 1)[:count]
        return replace(
            self,
            embedder=self.embedder.to(device),
            ordinary=self.ordinary.to(device),
            images=images,
            reference_images=others,
            references=References(count=number.to(device), mean=mean.to(device)),
        )

    def gradient_error(self, *, exact: bool) -> float:
        """The largest relative error of our first gradient, against that of other libraries, up to a positive scale.

        With `exact` both in float64 and our batch norms apart, as theirs are. In float32 a rectifier or a maximum that
        rounding tips over changes a gradient by its whole share, so two right programs differ by some percent.
        """
        seen = self
        if exact:
            few = self.part(0, 2)
            references = References(count=few.references.count.double(), mean=few.references.mean.double())
            seen = replace(
                few,
                embedder=build(replace(self.embedder.spec, folding=False)).double(),
                ordinary=copy.deepcopy(self.ordinary).double(),
                images=few.images.double(),
                references=references,
            )
        leaf = seen.images.clone().requires_grad_()
        labels = torch.zeros(len(leaf), dtype=torch.long)
        (wanted,) = torch.autograd.grad(F.cross_entropy(seen.judged()(leaf), labels), leaf)
        wanted, found = (F.normalize(gradient.flatten(1)) for gradient in (wanted, seen.loss().gradient(seen.images)))
        return float((wanted - found).norm(dim=1).max())

    def check_same_work(self, our: Found, their: Found, threat: Threat) -> None:
        """Fails unless both attacks climb one gradient, stay in the bound and are equally strong.

        Pixels may differ: a sign turns a last bit into a whole step.
        """
        (ours, _), (theirs, _) = our, their
        assert self.gradient_error(exact=True) < 1e-6
        assert self.gradient_error(exact=False) < 0.02
        for attacked in (ours, theirs):
            assert float((attacked.double() - self.images).abs().max()) <= float(threat.epsilon) + 1e-6
        assert self.strength(ours) > 1.5 * self.strength(self.images)
        assert self.strength(theirs) == pytest.approx(self.strength(ours), rel=0.02)


@pytest.fixture(scope="session")
def scene(weights: Callable[[str], Path], people: Callable[[int, int], Tensor]) -> Callable[[str, int], Scene]:
    """A function that sets a scene of so many images, an even number, before an architecture."""

    def make(architecture: str, count: int) -> Scene:
        path = weights(architecture)
        ordinary = Ordinary(architecture, path)
        others = people(count, 1)
        features = torch.cat([ordinary.features(others[row : row + 16]) for row in range(0, count, 16)])
        pairs = features.view(count // 2, 2, -1).mean(1)
        return Scene(
            weights=path,
            embedder=build(resolve(label=architecture, architecture=architecture, weights=path)),
            ordinary=ordinary,
            images=people(count, 0),
            reference_images=others,
            references=References(count=torch.full((count,), 2.0), mean=pairs.repeat_interleave(2, 0)),
        )

    return make
