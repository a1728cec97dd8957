"""One cell of I-FGSM at 5/255 beside torchattacks, foolbox and ART, all of which do the very same work."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
import torch
from robustreid.attacks.threat import Threat
from torch import Tensor, nn

THREAT = Threat(norm="linf", epsilon=Fraction(5, 255))
STEPS = 6
#: Images of a timed cell, and of one that is only checked.
TIMED, CHECKED = 16, {"resnet50": 2, "osnet_x0_25": 4}
#: 8-bit images and their features.
Found = tuple[Tensor, Tensor]
NAMES = {"resnet50": "ResNet-50", "osnet_x0_25": "OSNet x0.25"}


def import_peer(name: str) -> Any:
    """A library that the extra `bench` brings; without it the test skips."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # foolbox names places in scipy that are to go
        return pytest.importorskip(name, reason=f"{name} is not installed: pip install 'robustreid[bench]'")


def by_torchattacks(scene: Any) -> Found:
    """The cell by torchattacks, which asks for no gradient of weights."""
    found: Found = scene.torchattacked("ama-ifgsm", THREAT)
    return found


def by_foolbox(scene: Any) -> Found:
    """The cell by foolbox."""
    foolbox = import_peer("foolbox")
    model = foolbox.PyTorchModel(scene.judged(), bounds=(0, 1), device="cpu")
    attack = foolbox.attacks.LinfBasicIterativeAttack(abs_stepsize=1 / 255, steps=STEPS, random_start=False)
    labels = torch.zeros(len(scene.images), dtype=torch.long)
    # `run` is the attack alone; a call would look once more at every image.
    found = attack.run(model, scene.images, foolbox.criteria.Misclassification(labels), epsilon=5 / 255)
    scored: Found = scene.scored(found.detach())
    return scored


def by_art(scene: Any) -> Found:
    """The cell by ART, which takes and gives arrays, and measures its success at the end."""
    evasion, classification = import_peer("art.attacks.evasion"), import_peer("art.estimators.classification")
    classifier = classification.PyTorchClassifier(
        scene.judged(),
        loss=nn.CrossEntropyLoss(),
        input_shape=scene.images.shape[1:],
        nb_classes=2,
        clip_values=(0, 1),
        device_type="cpu",
    )
    attack = evasion.BasicIterativeMethod(
        classifier, eps=5 / 255, eps_step=1 / 255, max_iter=STEPS, batch_size=len(scene.images), verbose=False
    )
    labels = torch.tensor([[1.0, 0.0]]).repeat(len(scene.images), 1).numpy()
    found: Found = scene.scored(torch.from_numpy(attack.generate(scene.images.numpy(), labels)))
    return found


def with_weights(work: Callable[[Any], Found], scene: Any, *, frozen: bool) -> Callable[[], Found]:
    """The work with weights that want gradients, as a model has them when it is made, or with frozen ones."""

    def done() -> Found:
        scene.ordinary.requires_grad_(not frozen)
        return work(scene)

    return done


@pytest.mark.benchmark(group="one cell of I-FGSM")
@pytest.mark.parametrize(
    ("architecture", "library", "peer", "work", "bar"),
    [
        pytest.param(
            "resnet50",
            "torchattacks",
            "torchattacks",
            by_torchattacks,
            1.2,
            id="resnet50-torchattacks",
            marks=pytest.mark.slow,
        ),
        pytest.param("resnet50", "foolbox", "foolbox", by_foolbox, 1.75, id="resnet50-foolbox", marks=pytest.mark.slow),
        pytest.param("resnet50", "art", "ART", by_art, None, id="resnet50-art", marks=pytest.mark.slow),
        pytest.param("osnet_x0_25", "torchattacks", "torchattacks", by_torchattacks, 1.5, id="osnet-torchattacks"),
    ],
)
def test_cell(
    duel: Any,
    is_timed: bool,
    scene: Any,
    architecture: str,
    library: str,
    peer: str,
    work: Callable[[Any], Found],
    bar: float | None,
) -> None:
    """Six gradients and one forward of every image; the bar is against weights as they are when a model is made."""
    import_peer(library)
    seen = scene(architecture, TIMED if is_timed else CHECKED[architecture])
    works = {peer: with_weights(work, seen, frozen=False)}
    if work is not by_torchattacks:
        works[f"{peer}, weights frozen"] = with_weights(work, seen, frozen=True)
    ours, theirs = duel(
        lambda: seen.ours("ama-ifgsm", THREAT),
        works,
        title=f"I-FGSM 5/255, exact, {NAMES[architecture]}",
        bar={peer: bar},
        rounds=3 if architecture == "resnet50" else 7,
        count=len(seen.images) * STEPS,
        per="image and gradient",
        note=f"batch {len(seen.images)}",
    )
    for found in theirs.values():
        seen.check_same_work(ours, found, THREAT)


def test_wrong_twins_are_found_out(scene: Any) -> None:
    """A peer that takes fewer steps, one that passes the bound, or one before another model is not let through."""
    seen = scene("osnet_x0_25", 4)
    ours = seen.ours("ama-ifgsm", THREAT)
    seen.check_same_work(ours, seen.torchattacked("ama-ifgsm", THREAT), THREAT)
    weaker, stronger = (Threat(norm="linf", epsilon=Fraction(k, 255)) for k in (3, 6))
    with pytest.raises(AssertionError):
        seen.check_same_work(ours, seen.torchattacked("ama-ifgsm", weaker), THREAT)
    with pytest.raises(AssertionError):
        seen.check_same_work(ours, seen.torchattacked("ama-ifgsm", stronger), THREAT)
    with torch.no_grad():
        seen.ordinary.network.conv5.bn.weight[0] += 1e-3
    assert seen.gradient_error(exact=False) < 0.02
    with pytest.raises(AssertionError, match="gradient_error"):
        seen.check_same_work(ours, seen.torchattacked("ama-ifgsm", THREAT), THREAT)
