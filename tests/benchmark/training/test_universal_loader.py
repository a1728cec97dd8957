"""The batches of a fit: of everybody, or of one modality by turns, the same every time; and what cannot give them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from robustreid import UserError
from robustreid.attacks.universal import Batch
from robustreid.benchmark.training.recipe import read_recipe
from robustreid.benchmark.training.universal_loader import FittingLoader, refuse_to_fit
from robustreid.benchmark.training.universal_recipe import PerturbationRecipe, resolve_perturbation
from robustreid.models.training.sampling import batches

Write = Callable[..., Path]
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Labels:
    """A training set whose images say who they show: red the identity, green the place."""

    identities: NDArray[np.int64]
    modalities: NDArray[np.int64]
    label: str = "made-up"
    size: tuple[int, int] = (4, 2)

    @property
    def cameras(self) -> NDArray[np.int64]:
        """Two a modality."""
        return 2 * self.modalities + np.arange(len(self)) % 2

    def __len__(self) -> int:
        return len(self.identities)

    def batch(self, indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Images of one colour."""
        colours = np.stack([self.identities[indices], indices, 0 * indices], axis=1).astype(np.uint8)
        return np.broadcast_to(colours[:, :, None, None], (len(indices), 3, *self.size)).copy()


def labels(visible: int = 7, infrared: int = 7, shots: int = 3) -> Any:
    """People from 1 on, some of whom may be seen in one modality only."""
    people = [np.arange(1, n + 1).repeat(shots) for n in (visible, infrared)]
    return Labels(np.concatenate(people), np.arange(2).repeat([len(part) for part in people]))


def recipe_of(write_fit: Write, attack: str) -> PerturbationRecipe:
    """Batches of three people, two images each."""
    return resolve_perturbation(read_recipe(write_fit(attack=f"attack: {attack}")))


def colours(batch: Batch) -> list[list[int]]:
    """Identity and place of each image."""
    found: list[list[int]] = (255 * batch.images[:, :2, 0, 0]).round().int().tolist()
    return found


def assert_takes_turns(loader: Any, data: Any) -> None:
    """The check: visible, infrared, visible and so on, of the same people, each at most once; others another epoch."""
    epochs = [list(loader.epoch(epoch)) for epoch in (0, 0, 1)]
    shown = [[colours(batch) for batch in epoch] for epoch in epochs]
    assert shown[0] == shown[1] != shown[2]
    for epoch in epochs:
        assert [batch.modality for batch in epoch] == ["visible", "infrared"] * 2
        assert sum(len(batch.images) for batch in epoch) == loader.n_epoch == 24
        people = [batch.identities.tolist() for batch in epoch]
        assert people[0] == people[1]
        assert people[2] == people[3]
        assert len({*people[0], *people[2]}) == 6
        for batch in epoch:
            places = [place for _, place in colours(batch)]
            assert data.identities[places].tolist() == batch.identities.tolist()
            assert data.modalities[places].tolist() == batch.modalities.tolist()
            assert len(set(places)) == 6


def test_turns(write_fit: Write) -> None:
    """As CMPS asks for them."""
    data = labels()
    assert_takes_turns(FittingLoader(data=data, recipe=recipe_of(write_fit, "cmps"), device=CPU), data)


def test_batches_of_everybody_are_rejected_as_turns(write_fit: Write) -> None:
    """The wrong twin: what the other procedures get."""
    with pytest.raises((AssertionError, ValueError)):
        assert_takes_turns(FittingLoader(data=labels(), recipe=recipe_of(write_fit, "muap"), device=CPU), labels())


def test_turns_end_with_the_modality_of_fewer_people(write_fit: Write) -> None:
    """Equally many batches of each."""
    loader = FittingLoader(data=labels(visible=10, infrared=4), recipe=recipe_of(write_fit, "cmps"), device=CPU)
    found = [batch.modality for batch in loader.epoch(0)]
    assert found == ["visible", "infrared"]
    assert loader.n_epoch == 12


def test_batches_of_everybody(write_fit: Write) -> None:
    """The other procedures get what the sampler gives, with modalities."""
    data, recipe = labels(), recipe_of(write_fit, "muap")
    loader = FittingLoader(data=data, recipe=recipe, device=CPU)
    expected = batches(data.identities, data.cameras, n_identities=3, n_images=2, seed=0, epoch=4)
    found = list(loader.epoch(4))
    assert [[place for _, place in colours(batch)] for batch in found] == expected.tolist()
    assert loader.n_epoch == expected.size
    for batch, rows in zip(found, expected, strict=True):
        assert batch.modalities is not None
        assert batch.modalities.tolist() == data.modalities[rows].tolist()


@pytest.mark.parametrize("attack", ["cmps", "muap"])
def test_everyone_once_in_order(write_fit: Write, attack: str) -> None:
    """And how many there are of each modality."""
    data = labels(visible=6, infrared=5)
    loader = FittingLoader(data=data, recipe=recipe_of(write_fit, attack), device=CPU)
    found = [place for batch in loader.everyone() for _, place in colours(batch)]
    assert found == list(range(len(data)))
    assert (loader.n_of("visible"), loader.n_of("infrared"), loader.n_images) == (18, 15, 33)


@pytest.mark.parametrize(
    ("attack", "data", "said"),
    [
        ("cmps", labels(infrared=0), "cmps is fitted .* 'made-up' has no infrared ones"),
        ("cmps", labels(visible=0), "'made-up' has no visible ones"),
        ("cmps", labels(infrared=2), "2 identities, too few for batches of 3"),
        ("muap", labels(visible=1, infrared=2), "2 identities, too few for batches of 3"),
    ],
)
def test_refusals(write_fit: Write, attack: str, data: Any, said: str) -> None:
    """One modality where two are needed, or too few people in one of them."""
    with pytest.raises(UserError, match=said):
        refuse_to_fit(recipe_of(write_fit, attack), data)


def test_what_can_be_fitted(write_fit: Write) -> None:
    """Both modalities, or one where one is enough."""
    refuse_to_fit(recipe_of(write_fit, "cmps"), labels())
    refuse_to_fit(recipe_of(write_fit, "muap"), labels(infrared=0))
