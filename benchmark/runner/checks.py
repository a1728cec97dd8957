"""How far to believe the rows of a model: checks done once for a model, a data set and a side, and kept in the run."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ... import StorageError
from ...attacks.draw import Draw
from ...attacks.loss import FeatureMemo, Loss, NonFiniteGradientError
from ...attacks.objectives import Push
from ...attacks.references import Selection, select, to_references
from ...attacks.reliability.features import feature_findings
from ...attacks.reliability.gradients import gradient_findings
from ...attacks.reliability.thresholds import ABOVE_CHANCE, CHECKED_IMAGES, FLAGS, UNBOUNDED_IMAGES
from ...attacks.reliability.unbounded import Walk, attack_unbounded
from ...attacks.transforms import Lens
from ...models.base import MODALITIES
from ...models.pixels import PixelEmbedder
from ..datasets.retrieval import RetrievalSet, SideName
from ..evaluation import Labels, RankingScores, rank, score
from ..records import Cell, Checks, digest
from .attacking import Arena
from .batches import Batch
from .failures import is_out_of_memory
from .features import feature_identity, to_rows
from .loading import LoadedModel
from .scoring import Scorer


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was found of one model."""

    #: About its features, whoever attacks it.
    features: frozenset[str] = frozenset()
    #: About the gradients that an attack follows.
    gradients: frozenset[str] = frozenset()

    def __add__(self, other: Findings) -> Findings:
        return Findings(features=self.features | other.features, gradients=self.gradients | other.gradients)


@dataclass(frozen=True, kw_only=True)
class Checker:
    """Checks models on the sides of one data set."""

    #: What the cells of a group share: images, the run directory.
    arena: Arena
    device: torch.device
    level: Checks
    #: Told what could not be checked.
    note: Callable[[str], None]

    def all(self, cell: Cell, models: Mapping[str, tuple[LoadedModel, Scorer]]) -> Mapping[str, Findings]:
        """What is found of the models of a cell's group, by label, on each side that the group attacks."""
        sides: tuple[SideName, ...] = ("gallery", "query") if cell.side == "both" else (cell.side,)
        return {
            label: sum((self._known(cell, side, model, scorer) for side in sides), Findings())
            for label, (model, scorer) in models.items()
        }

    @property
    def at_once(self) -> int:
        """Images that go through a model together, at most."""
        return min(self.arena.batch_size, UNBOUNDED_IMAGES)

    def _known(self, cell: Cell, side: SideName, model: LoadedModel, scorer: Scorer) -> Findings:
        identity = {
            **feature_identity(model.embedder.spec, cell.dataset, cell.perturb_at, self.at_once, self.device),
            "side": side,
            "checks": self.level,
            "adaptive": model.adaptive.parameters(),
            "flags": [flag.raised_if for flag in FLAGS.values()],
        }
        path = self.arena.run.checks / f"{digest(identity)}.json"
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(path.read_bytes())
            if kept["identity"] == json.loads(json.dumps(identity)):
                return Findings(features=frozenset(kept["features"]), gradients=frozenset(kept["gradients"]))
        found = self._found(side, model, scorer)
        if found is None:
            return Findings()
        content = {"features": sorted(found.features), "gradients": sorted(found.gradients), "identity": identity}
        self.arena.run.write(path, json.dumps(content).encode())
        return found

    def _found(self, side: SideName, model: LoadedModel, scorer: Scorer) -> Findings | None:
        """None where the model cannot be checked: whatever it does wrong, its cells meet too, and say so."""
        other: SideName = "gallery" if side == "query" else "query"
        data = self.arena.data
        selection = select("other-side", attacked=data.side(side).people, reference=data.side(other).people)
        trial = _Trial(checker=self, side=side, model=model, scorer=scorer, selection=selection)
        try:
            few = trial.batches(selection.attacked[:CHECKED_IMAGES])[:1]
            if not few:
                return None
            model = model.of(few[0].modality)
            features = feature_findings(model.embedder, trial.loaded(few[0]))
            gradients = trial.gradients(few[0], model.follower)
            if model.passes_straight and "zero-gradient" in trial.gradients(few[0], model.embedder):
                features |= {"hides-gradients"}
            if self.level == "full" and "non-finite-gradient" not in gradients and not trial.is_won():
                gradients |= {"unbounded-attack-fails"}
        except StorageError:
            raise
        except NonFiniteGradientError:
            gradients |= {"non-finite-gradient"}
        except Exception as error:
            if is_out_of_memory(error) and self.arena.batch_size > 1:
                raise  # the run goes on with fewer images at once
            self.note(f"{model.label!r} could not be checked on the {side} side: {type(error).__name__}: {error}")
            return None
        return Findings(features=features, gradients=gradients)


@dataclass(frozen=True, kw_only=True)
class _Trial:
    """One model on one side."""

    checker: Checker
    side: SideName
    model: LoadedModel
    scorer: Scorer
    selection: Selection

    def batches(self, indices: NDArray[np.int64]) -> list[Batch]:
        """Images of a side in batches of one size and modality, without padding."""
        kinds = self.checker.arena.images(self.side).kinds
        by_kind: dict[tuple[int, ...], list[int]] = {}
        for index in indices.tolist():
            by_kind.setdefault(tuple(kinds[index].tolist()), []).append(index)
        step = self.checker.at_once
        return [
            Batch(
                indices=np.array(same[start : start + step], dtype=np.int64),
                places=np.arange(len(same[start : start + step])),
                size=len(same[start : start + step]),
                modality=MODALITIES[modality],
            )
            for (_, _, modality), same in by_kind.items()
            for start in range(0, len(same), step)
        ]

    def loaded(self, batch: Batch) -> Tensor:
        """Its clean images."""
        return self.checker.arena.images(self.side).load(batch)

    def _loss(self, batch: Batch, images: Tensor, follower: PixelEmbedder) -> tuple[Loss, Draw]:
        """Away from the own identity on the other side, by the gradients of a model."""
        own = self.scorer.clean.side(self.side)
        counts, means = self._bank
        draw = Draw(0, tuple(self.checker.arena.data.side(self.side).paths[index] for index in batch.indices))
        references = to_references(counts[batch.indices], means[batch.indices], images, own[batch.indices])
        memo = FeatureMemo(follower, len(batch.indices))
        lens = self.model.of(batch.modality).lens(Lens())
        return Loss(memo, Push(), references, clean=images, lens=lens, draw=draw), draw

    @property
    def _bank(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        other: SideName = "gallery" if self.side == "query" else "query"
        return self.selection.bank(self.scorer.clean.side(other), self.scorer.clean.side(self.side))

    def gradients(self, batch: Batch, follower: PixelEmbedder) -> frozenset[str]:
        """Whether a model's gradients lead anywhere."""
        images = self.loaded(batch)
        loss, draw = self._loss(batch, images, follower)
        return gradient_findings(loss, images, len(images), draw)

    def is_won(self) -> bool:
        """Whether an attack without a budget brings some images to chance."""
        data, clean = self.checker.arena.data, self.scorer.clean
        chosen, queries, gallery = few_images(data, self.side, self.selection)
        labels = [
            Labels(identities=images.identities[kept], cameras=images.cameras[kept])
            for images, kept in ((data.query, queries), (data.gallery, gallery))
        ]
        batches = self.batches(chosen)
        loaded = [self.loaded(batch) for batch in batches]
        walks = [
            Walk(loss=self._loss(batch, images, self.model.of(batch.modality).follower)[0], images=images)
            for batch, images in zip(batches, loaded, strict=True)
        ]

        def is_reached(attacked: Sequence[Tensor]) -> bool:
            features = {"query": clean.query.copy(), "gallery": clean.gallery.copy()}
            with torch.no_grad():
                for batch, images in zip(batches, attacked, strict=True):
                    embedder = self.model.of(batch.modality).embedder
                    features[self.side][batch.indices] = to_rows(embedder(images), len(images))
            found = self._scores(features["query"][queries], features["gallery"][gallery], labels)
            return found.mAP.value <= found.chance_mAP + ABOVE_CHANCE

        return attack_unbounded(walks, is_reached).reached

    def _scores(
        self, queries: NDArray[np.float32], gallery: NDArray[np.float32], labels: Sequence[Labels]
    ) -> RankingScores:
        """Scores of features under labels of both sides."""
        protocol, device = self.checker.arena.data.protocol, self.scorer.device
        found = rank(queries, gallery, labels[0], labels[1], protocol, self.scorer.metric, device=device)
        return score(found)[1]


def few_images(
    data: RetrievalSet, side: SideName, selection: Selection
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Images that are attacked without a budget, and the queries and gallery images they are scored by.

    Query side: one image of each identity, then a second one; they are looked for in the whole gallery. Gallery side:
    all images of some identities, so that no clean one of theirs is left; of an identity with too many the first. They
    are looked for by the queries of these identities among everybody else's clean images.
    """
    identities = data.side(side).identities
    if side == "query":
        seen: dict[int, int] = {}
        turns = []
        for index in selection.attacked.tolist():
            turn = seen.get(int(identities[index]), 0)
            seen[int(identities[index])] = turn + 1
            turns.append((turn, index))
        chosen = np.array(sorted(index for _, index in sorted(turns)[:UNBOUNDED_IMAGES]), dtype=np.int64)
        return chosen, chosen, np.arange(len(data.gallery))
    by_identity: dict[int, list[int]] = {}
    for index in selection.attacked.tolist():
        by_identity.setdefault(int(identities[index]), []).append(index)
    chosen_list: list[int] = []
    people = []
    for identity, images in by_identity.items():
        if len(chosen_list) >= UNBOUNDED_IMAGES:
            break
        people.append(identity)
        chosen_list += images[: UNBOUNDED_IMAGES - len(chosen_list)]
    chosen = np.array(sorted(chosen_list), dtype=np.int64)
    others = np.flatnonzero(~np.isin(identities, people))
    queries = np.flatnonzero(np.isin(data.query.identities, people))
    return chosen, queries, np.sort(np.concatenate([chosen, others]))
