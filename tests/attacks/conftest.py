"""Doubles for the suites of attacks: scenes of two sides, smooth or real, and attacks run on them in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from robustreid.attacks.base import Attack, Attempt
from robustreid.attacks.catalogue import AttackSpec
from robustreid.attacks.counts import from_counts
from robustreid.attacks.draw import Draw
from robustreid.attacks.loss import FeatureMemo, Loss
from robustreid.attacks.neighbours import LOTS, FeatureBank, Neighbours
from robustreid.attacks.objectives import Objective, objective_for
from robustreid.attacks.optimisers import Optimiser
from robustreid.attacks.references import Person, ReferencePolicy, References, Selection, select, to_references
from robustreid.attacks.threat import Goal, Threat
from robustreid.attacks.transforms import Lens
from robustreid.models.base import Embedder, ModelSpec
from robustreid.models.load import build, resolve
from robustreid.models.pixels import PixelEmbedder
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A model and two small sides; the attacked one is attacked against the other one."""

    embedder: Embedder
    images: Tensor
    reference_images: Tensor
    attacked: Person
    reference: Person
    goal: Goal = "untargeted"
    policy: ReferencePolicy = "other-side"
    seed: int = 0
    side: Literal["query", "gallery"] = "query"
    #: Features by model and images, with both, so that neither goes away.
    _known: dict[tuple[int, int], tuple[Embedder, Tensor, Tensor]] = field(default_factory=dict, repr=False)

    def having(self, **changes: Any) -> Scene:
        """The same scene with changes."""
        return replace(self, **changes)

    def swapped(self) -> Scene:
        """The other side attacked."""
        return replace(
            self,
            images=self.reference_images,
            reference_images=self.images,
            attacked=self.reference,
            reference=self.attacked,
        )

    @property
    def selection(self) -> Selection:
        """Who is attacked, by which references."""
        return select(self.policy, attacked=self.attacked, reference=self.reference, goal=self.goal, seed=self.seed)

    def features(self, images: Tensor) -> Tensor:
        """Features (N, D), one image at a time."""
        with torch.no_grad():
            return torch.cat([self.embedder(image[None]) for image in images])

    def bank(self) -> tuple[NDArray[Any], NDArray[Any]]:
        """Counts and means of the references of every image of the attacked side."""
        sides = (self.reference_images, self.images)
        return self.selection.bank(*(self._features(side).numpy() for side in sides))

    def _features(self, side: Tensor) -> Tensor:
        key = id(self.embedder), id(side)
        if key not in self._known:
            self._known[key] = (self.embedder, side, self.features(side))
        return self._known[key][2]

    def batch(
        self, rows: Sequence[int], size: int, objective: str | Objective = "push", lens: Lens | None = None
    ) -> tuple[Loss, Tensor, Draw]:
        """A loss, images and random numbers of some attacked images, padded with black ones to `size`."""
        index, padding = np.array(rows), size - len(rows)
        images = torch.cat([self.images[index], torch.zeros_like(self.images[:1]).expand(padding, -1, -1, -1)])
        wanted = objective_for(objective, self.goal) if isinstance(objective, str) else objective
        draw = Draw(self.seed, tuple(self.attacked.image_ids[row] for row in rows) + ("",) * padding)
        memo = FeatureMemo(self.embedder, len(rows))
        references = self.references(rows, size, draw, images)
        return Loss(memo, wanted, references, clean=images, lens=lens, draw=draw), images, draw

    def references(self, rows: Sequence[int], size: int, draw: Draw, like: Tensor) -> References:
        """All that an objective may look at, of some attacked images padded to `size`."""
        index, padding = np.array(rows), size - len(rows)

        def padded(values: NDArray[Any], filler: float = 0) -> NDArray[Any]:
            return np.concatenate([values[index], np.full((padding, *values.shape[1:]), filler, values.dtype)])

        counts, means = self.bank()
        other, own = (self._features(side).numpy() for side in (self.reference_images, self.images))
        bank, peers = (
            FeatureBank(
                features=torch.from_numpy(features).to(like),
                identities=torch.from_numpy(people.identities),
                cameras=torch.from_numpy(people.cameras),
            )
            for features, people in ((other, self.reference), (own, self.attacked))
        )
        found = to_references(padded(counts), padded(means), like, padded(own))
        assert found.clean is not None
        near = Neighbours(
            bank=bank,
            peers=peers,
            side=self.side,
            places=torch.tensor([*rows, *[-1] * padding]),
            clean=found.clean,
            identities=torch.from_numpy(padded(self.attacked.identities, -1)),
            aims=torch.from_numpy(padded(self.selection.target_identities, -1)),
            cameras=torch.from_numpy(padded(self.attacked.cameras, -1)),
            lots=draw.meant_for("lots").rows(0, 0, (LOTS,)),
        )
        return replace(found, neighbours=near)

    def attempts(
        self,
        optimiser: Optimiser,
        threat: Threat,
        *,
        objective: str | Objective = "push",
        lens: Lens | None = None,
        size: int | None = None,
        order: Sequence[int] | None = None,
    ) -> tuple[Tensor, list[Attempt]]:
        """The whole side after an attack, in its own order, and what each batch said.

        `order` places the attacked images in the batches, `size` is the fixed batch shape.
        """
        rows = self.selection.attacked.tolist() if order is None else list(order)
        size = size or len(rows)
        found, said = self.images.clone(), []
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            loss, images, draw = self.batch(part, size, objective, lens)
            (attempt,) = Attack(optimiser=optimiser)(loss, images, [threat], draw)
            found[part] = attempt.images[: len(part)]
            said.append(attempt)
        return found, said

    def run(self, optimiser: Optimiser, threat: Threat, **options: Any) -> Tensor:
        """The whole side after an attack, in its own order."""
        return self.attempts(optimiser, threat, **options)[0]

    def of(self, spec: AttackSpec, goal: Goal | None = None) -> Scene:
        """The scene with the references, the goal and the side that an attack is for."""
        goal = goal or spec.objective.goals[0]
        side: Literal["query", "gallery"] = "query" if "query" in spec.sides else "gallery"
        return self.having(policy=spec.references, goal=goal, side=side)

    def by(self, spec: AttackSpec, threat: Threat, **options: Any) -> Tensor:
        """The whole side after an attack as the catalogue has it."""
        return self.attempts_by(spec, threat, **options)[0]

    def attempts_by(self, spec: AttackSpec, threat: Threat, **options: Any) -> tuple[Tensor, list[Attempt]]:
        """The same, and what each batch said."""
        objective = spec.objective_for(self.goal)
        return self.attempts(spec.optimiser, threat, objective=objective, lens=spec.lens, **options)

    def values(self, images: Tensor, objective: str | Objective = "push") -> Tensor:
        """The objective (n,) of the attacked images of a whole side."""
        rows = self.selection.attacked.tolist()
        loss, _, _ = self.batch(rows, len(rows), objective)
        with torch.no_grad():
            return loss(images[rows])

    def to(self, dtype: torch.dtype, embedder: Embedder) -> Scene:
        """The same images in another type, before another model."""
        sides = ((side * 255).round().to(dtype) / 255 for side in (self.images, self.reference_images))
        images, reference_images = sides
        return replace(self, embedder=embedder, images=images, reference_images=reference_images)


def _person(identities: list[int], cameras: list[int], prefix: str) -> Person:
    return Person(
        identities=np.array(identities),
        cameras=np.array(cameras),
        image_ids=[f"{prefix}/{index}.png" for index in range(len(identities))],
    )


@pytest.fixture(scope="session")
def grid_images() -> Callable[..., Tensor]:
    """A function that draws images (n, 3, height, width) on the 8-bit grid."""

    def make(
        n: int, height: int = 9, width: int = 6, *, seed: int = 0, dtype: torch.dtype = torch.float64, low: int = 0
    ) -> Tensor:
        source = torch.Generator().manual_seed(seed)
        return from_counts(torch.randint(low, 256 - low, (n, 3, height, width), generator=source).to(dtype))

    return make


@pytest.fixture(scope="session")
def smooth_embedder() -> PixelEmbedder:
    """A small float64 network of smooth layers, cosine, with a resize inside."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        first = nn.Conv2d(3, 6, 3, padding=1)
        network = nn.Sequential(first, nn.Tanh(), nn.Conv2d(6, 6, 3, stride=2), nn.GELU(), nn.Flatten())
        network.append(nn.Linear(6 * 5 * 3, 5))
        # Far from linear, so that directions change from step to step.
        first.weight.data.mul_(4)
    spec = ModelSpec(label="smooth", architecture="plugin", input_size=(12, 8), metric="cosine")
    return PixelEmbedder(network, spec).double()


@pytest.fixture(scope="session")
def smooth(smooth_embedder: PixelEmbedder, grid_images: Callable[..., Tensor]) -> Scene:
    """Eight images to attack, of three persons, with one distractor, one junk image and one unmatched beside them."""
    return Scene(
        embedder=smooth_embedder,
        images=grid_images(11, seed=1),
        reference_images=grid_images(9, seed=2),
        attacked=_person([4, 7, 9, 0, 4, 7, -1, 9, 4, 9, 12], [1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2], "a"),
        reference=_person([9, 4, 7, 4, 0, 9, -1, 9, 7], [3, 1, 2, 2, 1, 1, 1, 2, 1], "r"),
    )


@pytest.fixture(scope="session")
def real_embedder(real_data: Path) -> PixelEmbedder:
    """The small real model in float32."""
    return build(resolve(label="0031", weights=real_data / "weights" / "person-reidentification-retail-0031.onnx"))


@pytest.fixture(scope="session")
def real32(real_data: Path, real_embedder: PixelEmbedder) -> Scene:
    """Four real gallery images of two persons against their four queries, in float32."""
    sides = []
    for folder in ("bounding_box_test", "query"):
        paths = sorted((real_data / "cuhk01-mini" / folder).glob("*.png"))[:4]
        pixels = np.stack([np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1) for path in paths])
        people = _person([int(path.name[:4]) for path in paths], [int(path.name[6]) for path in paths], folder)
        sides.append((from_counts(torch.from_numpy(pixels).float()), people))
    (images, attacked), (reference_images, reference) = sides
    return Scene(
        embedder=real_embedder,
        images=images,
        reference_images=reference_images,
        attacked=attacked,
        reference=reference,
    )


@pytest.fixture(scope="session")
def real(real_data: Path, real32: Scene) -> Scene:
    """The same in float64."""
    weights = real_data / "weights" / "person-reidentification-retail-0031.onnx"
    return real32.to(torch.float64, build(resolve(label="0031", weights=weights)).double())
