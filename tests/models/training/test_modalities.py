"""Training on two modalities: half of each in a batch, each image through its own stream, bit for bit again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from robustreid import UserError
from robustreid.models.base import MODALITIES, NORMALISATIONS, ModelSpec
from robustreid.models.training.augment import Augment
from robustreid.models.training.checkpoint import pack, unpack
from robustreid.models.training.loop import Trainer, train
from robustreid.models.training.plan import Batch, Embed, Hardened, Plan
from robustreid.models.training.sampling import batches, n_steps
from torch import Tensor, nn

from .conftest import MemorySet

SIZE = (16, 8)


class TwoStems(nn.Module):
    """A stem for each modality and a layer that both share; the contract of a network with streams."""

    has_streams = True
    feature_dim = 12

    def __init__(self) -> None:
        super().__init__()
        self.stems = nn.ModuleList(nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8)) for _ in MODALITIES)
        self.last = nn.Linear(8 * 8 * 4, self.feature_dim)
        self.bottleneck = nn.BatchNorm1d(self.feature_dim)
        #: What it was given, call by call.
        self.seen: list[Tensor | None] = []

    def forward(self, images: Tensor, modalities: Tensor | None = None) -> Tensor:
        self.seen.append(modalities)
        if modalities is None:
            modalities = torch.zeros(len(images), dtype=torch.int64)
        both = torch.stack([stem(images) for stem in self.stems])
        own = both[modalities, torch.arange(len(images))]
        features: Tensor = self.bottleneck(self.last(torch.relu(own).flatten(1)))
        return features


def two_modalities(n_people: int = 7, n_images: int = 4) -> MemorySet:
    """People whose infrared images are their visible ones, gray and dark; visible first, `n_images` of each."""
    random = np.random.default_rng(0)
    looks = random.integers(40, 216, (n_people, 1, 3, *SIZE))
    noise = random.integers(-30, 31, (n_people, 2 * n_images, 3, *SIZE))
    pixels = (looks + noise).astype(np.uint8)
    pixels[:, n_images:] = pixels[:, n_images:].mean(2, keepdims=True) // 2
    cameras = np.tile([1, 2, 4, 5, 3, 6, 3, 6], n_people)[: n_people * 2 * n_images]
    return MemorySet(
        identities=np.repeat(20 + np.arange(n_people), 2 * n_images),
        cameras=cameras,
        pixels=pixels.reshape(-1, 3, *SIZE),
        modalities=np.tile(np.repeat([0, 1], n_images), n_people),
    )


def check_halves(sample: Callable[..., NDArray[np.int64]]) -> None:
    """What a sampler of two modalities must keep."""
    data = two_modalities()
    for epoch in range(4):
        chosen = sample(
            data.identities,
            data.cameras,
            n_identities=3,
            n_images=4,
            seed=2,
            epoch=epoch,
            modalities=data.modalities,
        )
        assert chosen.shape == (2, 12)
        who = data.identities[chosen].reshape(-1, 4)
        assert (who == who[:, :1]).all(), "K images of one identity stand together"
        assert len(set(chosen.ravel().tolist())) == chosen.size, "an image comes twice"
        assert (data.modalities[chosen].reshape(-1, 4) == [0, 0, 1, 1]).all(), "half of each modality"
        there = data.cameras[chosen].reshape(-1, 2)
        assert (there[:, 0] != there[:, 1]).all(), "a camera comes twice while another was not seen"


def mixed(identities: NDArray[np.int64], cameras: NDArray[np.int64], **how: Any) -> NDArray[np.int64]:
    """The planted bug: modalities do not matter."""
    return batches(identities, cameras, **{**how, "modalities": None})


def test_batches_hold_half_of_each_modality() -> None:
    """Each identity with as many visible images as infrared ones; a sampler that mixes them is seen."""
    check_halves(batches)
    with pytest.raises(AssertionError, match="half"):
        check_halves(mixed)


def test_one_modality_is_sampled_as_ever() -> None:
    """Saying so changes no draw, whichever it is."""
    data = two_modalities()
    how: dict[str, Any] = {"n_identities": 3, "n_images": 3, "seed": 0, "epoch": 1}
    wanted = batches(data.identities, data.cameras, **how)
    for modality in (0, 1):
        found = batches(data.identities, data.cameras, modalities=np.full(len(data), modality), **how)
        assert np.array_equal(found, wanted)


def test_who_lacks_a_modality_never_comes() -> None:
    """Those are left out of the number of batches too; where nobody is left, or K is odd, it is said."""
    data = two_modalities()
    lacking = np.isin(data.identities, [20, 21, 22]) & (data.modalities == 1)
    identities, cameras, modalities = (part[~lacking] for part in (data.identities, data.cameras, data.modalities))
    assert (n_steps(identities, 2), n_steps(identities, 2, modalities)) == (3, 2)
    how: dict[str, Any] = {"n_images": 4, "seed": 0, "epoch": 0, "modalities": modalities}
    chosen = batches(identities, cameras, n_identities=2, **how)
    assert set(identities[chosen].ravel().tolist()) == {23, 24, 25, 26}
    with pytest.raises(UserError, match="4 identities with images of both modalities, too few for batches of 5"):
        batches(identities, cameras, n_identities=5, **how)
    alone = identities + 100 * modalities
    with pytest.raises(UserError, match="0 identities with images of both modalities"):
        batches(alone, cameras, n_identities=2, **how)
    with pytest.raises(UserError, match="make their number even"):
        batches(identities, cameras, n_identities=2, **{**how, "n_images": 3})


def trainer(
    network: nn.Module | None = None, *, data: MemorySet | None = None, perturb: Any = None, epochs: int = 6
) -> Trainer:
    """Of a network with streams, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        own = network or TwoStems()
    plan = Plan(
        epochs=epochs,
        identities=3,
        images=4,
        learning_rate=5e-3,
        warmup_epochs=0.5,
        triplet=0.0,
        weighted=1.0,
        bnneck=True,
        augment=Augment(flip=False, crop=0),
    )
    spec = ModelSpec(label="m", architecture="m", normalise=NORMALISATIONS["imagenet"])
    return Trainer(own, spec, data or two_modalities(), plan, perturb=perturb)


def test_training_lowers_the_loss_and_joins_the_modalities() -> None:
    """People are found across modalities afterwards, by images that were learnt from."""
    made = trainer(epochs=40)
    losses = []
    train(made, on_epoch=lambda _, summary: losses.append(summary))
    assert losses[-1].loss < 0.8 * losses[0].loss
    assert losses[-1].weighted_clean is not None
    assert losses[-1].weighted_perturbed is None
    data = made.data
    with torch.no_grad():
        images = torch.from_numpy(data.batch(np.arange(len(data)))).float() / 255
        features = made.embed(images, modalities=torch.from_numpy(data.modalities))
    visible, infrared = np.flatnonzero(data.modalities == 0), np.flatnonzero(data.modalities == 1)
    nearest = (features[infrared] @ features[visible].T).argmax(1).numpy()
    assert (data.identities[visible][nearest] == data.identities[infrared]).mean() > 0.8


def test_a_killed_training_goes_on_bit_for_bit(tmp_path: Any) -> None:
    """Both stems and what they share."""
    whole = trainer()
    train(whole, on_epoch=lambda *_: None)
    first = trainer()
    for _ in range(2):
        first.run_epoch()
    (tmp_path / "state").write_bytes(pack(first.state(), {}))
    second = trainer()
    second.resume(unpack(tmp_path / "state")[0], 2)
    train(second, on_epoch=lambda *_: None)
    assert all(torch.equal(value, second.weights[name]) for name, value in whole.weights.items())


def test_a_network_without_streams_is_given_images_alone(make_network: Callable[..., nn.Module]) -> None:
    """It learns from both modalities in one stem; its batches are halves all the same."""
    seen: list[Tensor | None] = []

    def watch(embed: Embed, batch: Batch, step: int) -> Hardened:
        del embed, step
        seen.append(batch.modalities)
        return Hardened(images=batch.images, sources=torch.arange(len(batch.images)))

    made = trainer(make_network(neck=True), perturb=watch)
    made.run_epoch()
    assert seen == [None, None]


def test_a_network_with_streams_sees_a_set_of_one_modality_as_visible() -> None:
    """Nothing is passed that nobody needs."""
    data = two_modalities()
    flat = MemorySet(
        identities=data.identities,
        cameras=data.cameras,
        pixels=data.pixels,
        modalities=np.zeros_like(data.modalities),
    )
    network = TwoStems()
    trainer(network, data=flat).run_epoch()
    assert network.seen == [None, None]


def test_what_changes_a_batch_knows_its_modalities() -> None:
    """`embed` passes the batch's images through their own streams, others through those that are named."""
    gaps = []

    def perturb(embed: Embed, batch: Batch, step: int) -> Hardened:
        del step
        assert batch.modalities is not None
        assert batch.modalities.tolist() == [0, 0, 1, 1] * 3
        own, turned = embed(batch.images), embed(batch.images, modalities=1 - batch.modalities)
        named = embed(batch.images[:5], modalities=batch.modalities[:5])
        torch.testing.assert_close(named, own[:5])
        gaps.append(float((own - turned).abs().amax(1).min()))
        sources = torch.arange(len(batch.images)).flip(0)
        return Hardened(images=batch.images[sources], sources=sources)

    network = TwoStems()
    made = trainer(network, perturb=perturb)
    made.run_epoch()
    assert len(gaps) == 2
    assert min(gaps) > 1e-3
    # The share of the perturbed part is all of the loss: those images, turned round, by their own modalities.
    learnt = [seen for seen in network.seen if seen is not None and seen.tolist() == [1, 1, 0, 0] * 3]
    assert len(learnt) >= 2
