"""A few people to try a model on: drawn ones, or some of a folder's, copied out of it."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ... import UserError
from ...models.base import Embedder, ModelSpec
from ..config.grid import Grid, resolve
from ..config.reading import Document
from ..datasets.decoded import DecodedImages, decode
from ..datasets.market import read_folder
from ..datasets.opening import DatasetRequest, OpenSet, open_sets
from ..datasets.retrieval import RetrievalSet, SideName
from ..evaluation import Labels, QueryScores, RankingScores
from ..planner import make_plan
from ..progress import Silent
from ..records import PerturbAt
from ..runner.batches import Batch, SideImages
from ..runner.features import CleanFeatures, embed
from ..runner.scenes import scene_of
from ..runner.scoring import Problem, Scorer
from ..runtime import Settings

#: People, and of each the queries and gallery images that are used.
PEOPLE, QUERIES_EACH, GALLERY_EACH = 12, 2, 4
#: The attacks of an inspection, and their radius.
FGSM, NOISE, EPSILON = "ama-fgsm", "noise", "4/255"


def drawn_people() -> DatasetRequest:
    """People drawn by this package."""
    return DatasetRequest(
        label="synthetic",
        format="synthetic",
        root=None,
        options={"identities": PEOPLE, "distractors": 0},
        queries=PEOPLE * QUERIES_EACH,
    )


def copied_people(root: Path, folder: Path) -> DatasetRequest:
    """Some people of a set in Market-1501's layout, the same ones every time, as a set of its own in `folder`.

    Raises:
        UserError: no such set, or nobody in it is seen by two cameras.
        InvalidFileError: an image whose name does not say identity and camera.
    """
    label = root.resolve().name or "data"
    data = read_folder(label, root)
    people = _recognisable(data)
    if not people:
        raise UserError(
            f"In {str(root)!r} no query has an image of the same person by another camera in bounding_box_test/; give "
            f"a set in which people can be recognised, or leave --data out."
        )
    spaced = [people[place] for place in np.linspace(0, len(people) - 1, min(PEOPLE, len(people))).astype(int)]
    for side, most in ((data.query, QUERIES_EACH), (data.gallery, GALLERY_EACH)):
        for person in spaced:
            for place in _of_many_cameras(side.identities == person, side.cameras)[:most]:
                target = folder / side.paths[place]
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(root / side.paths[place], target)
    return DatasetRequest(label=_name(label), format="folder", root=folder)


def _recognisable(data: RetrievalSet) -> list[int]:
    """Identities, ascending, that some query shows and the gallery by another camera."""
    seen: dict[int, set[int]] = {}
    for person, camera in zip(data.gallery.identities.tolist(), data.gallery.cameras.tolist(), strict=True):
        seen.setdefault(person, set()).add(camera)
    pairs = zip(data.query.identities.tolist(), data.query.cameras.tolist(), strict=True)
    return sorted({person for person, camera in pairs if person > 0 and seen.get(person, set()) - {camera}})


def _of_many_cameras(is_wanted: NDArray[np.bool_], cameras: NDArray[np.int64]) -> list[int]:
    """The places that are wanted, one of each camera before a second of any."""
    turns: Counter[int] = Counter()
    order = []
    for place in np.flatnonzero(is_wanted).tolist():
        camera = int(cameras[place])
        order.append((turns[camera], place))
        turns[camera] += 1
    return [place for _, place in sorted(order)]


def _name(label: str) -> str:
    """A folder's name as a grid takes it."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in label)[:64]


@dataclass(frozen=True, kw_only=True)
class Sample:
    """A few people, open and decoded, and the grid that attacks a model on them."""

    grid: Grid
    opened: OpenSet
    decoded: DecodedImages
    #: Where the perturbation lives: the images' own size or the model's.
    perturb_at: PerturbAt
    device: torch.device
    batch_size: int

    @property
    def data(self) -> RetrievalSet:
        """Query and gallery."""
        return self.opened.data

    def _images(self, side: SideName) -> SideImages:
        return scene_of(self.opened, self.decoded).images(
            side, perturb_at=self.perturb_at, input_size=self.grid.models[0].input_size, device=self.device
        )

    def queries(self, count: int) -> tuple[NDArray[np.int64], Tensor]:
        """The places of at most `count` queries of one size, and their images (B, 3, H, W) in [0, 1]."""
        images = self._images("query")
        kinds = [tuple(kind) for kind in images.kinds.tolist()]
        commonest = Counter(kinds).most_common(1)[0][0]
        chosen = np.array([place for place, kind in enumerate(kinds) if kind == commonest][:count], dtype=np.int64)
        return chosen, images.load(Batch(indices=chosen, places=np.arange(len(chosen)), size=len(chosen)))

    def features(self, embedder: Embedder) -> CleanFeatures:
        """Features of both sides.

        Raises:
            NonFiniteFeatureError: a NaN or an infinity.
        """
        query, gallery = (
            embed(embedder, self._images(side), self.batch_size, lambda _: None) for side in ("query", "gallery")
        )
        return CleanFeatures(query=query, gallery=gallery)

    def scores(self, features: CleanFeatures, spec: ModelSpec) -> tuple[QueryScores, RankingScores]:
        """Scores of features, a query and in all."""
        device = str(self.device) if self.device.type == "cuda" else "cpu"
        labels: list[Labels] = [self.data.query.labels, self.data.gallery.labels]
        problem = Problem(query=labels[0], gallery=labels[1], protocol=self.data.protocol)
        (found,) = Scorer(metric=spec.metric, clean=features, device=device).clean_scores(problem).by_trial
        return found


def open_sample(spec: ModelSpec, request: DatasetRequest, settings: Settings, device: torch.device) -> Sample:
    """The sample behind a request, with a grid of FGSM and noise on the queries.

    Raises:
        UserError, InvalidFileError: the set is not there, or not what it should be.
    """
    asked = {
        "name": "inspect",
        "models": [{"name": "m", "plugin": "in:memory"}],
        "datasets": ["synthetic"],
        "attacks": [FGSM, NOISE],
        "epsilons": [EPSILON],
        "side": "query",
        "checks": "quick",
    }
    document = Document(name="inspect", text=json.dumps(asked), folder=Path.cwd(), data=asked, lines={})
    grid = replace(resolve(document), models=(spec,), datasets=(request,))
    sets, _ = open_sets(grid.datasets, workers=settings.workers, reporter=Silent())
    opened = sets[request.label]
    return Sample(
        grid=grid,
        opened=opened,
        decoded=decode(opened.data, opened.manifest, workers=settings.workers),
        perturb_at=make_plan(grid, sets).cells[0].perturb_at,
        device=device,
        batch_size=settings.batch_size or PEOPLE * QUERIES_EACH,
    )
