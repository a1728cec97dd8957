"""Sets with trials: attacked once, scored trial by trial, against a plain loop; and each modality by its own stream."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from robustreid.benchmark.datasets.catalogue import open_dataset
from robustreid.benchmark.runner import batches, groups
from robustreid.benchmark.runner.features import CleanFeatures
from robustreid.benchmark.runner.judging import Judge
from robustreid.benchmark.runner.scoring import Problem, Scorer
from safetensors.torch import save_file

EPSILON = 4 / 255
PEOPLE = 5
#: By protocol of a drawn set: which cameras the queries are of, whether they are infrared, and what is never compared.
SYSU = {"query": ((3, 6), "infrared"), "gallery": ((1, 2, 4, 5), "visible")}


def drawn(protocol: str, **options: Any) -> dict[str, Any]:
    """A drawn set under a protocol, as a grid has it."""
    return {"name": "d", "format": "synthetic", "protocol": protocol, "identities": PEOPLE, **options}


@pytest.fixture(scope="module")
def two_stream(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A network with a stream for each modality, its weights random and its statistics made up, and its file."""
    from robustreid.models.architectures.two_stream import agw_tiny

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = agw_tiny()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.uniform_(-0.1, 0.1)  # type: ignore[union-attr]
    path = tmp_path_factory.mktemp("streams") / "w.safetensors"
    save_file(network.state_dict(), path)
    return network.double().eval(), path


class _Plain:
    """AMA's FGSM on a drawn SYSU-like set, and its scores, in float64 and in loops."""

    def __init__(self, network: Any, data: Any) -> None:
        self.network, self.data = network, data
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        self.mean, self.std = (values.double().view(1, 3, 1, 1) for values in (mean, std))

    def images(self, side: str) -> torch.Tensor:
        """(N, 3, H, W) in [0, 1]."""
        paths = self.data.side(side).paths
        stacked = np.stack([np.asarray(Image.open(self.data.root / path).convert("RGB")) for path in paths])
        return torch.from_numpy(stacked).permute(0, 3, 1, 2).double() / 255

    def features(self, images: torch.Tensor, side: str) -> torch.Tensor:
        """Unit features, by the stream of the side's modality."""
        found = self.network.stream(SYSU[side][1])((images - self.mean) / self.std)
        return torch.nn.functional.normalize(found, dim=1)

    def attacked(self, side: str) -> torch.Tensor:
        """One step away from the mean of the own identity's features on the whole other side."""
        other = "gallery" if side == "query" else "query"
        images = self.images(side).requires_grad_()
        bank = self.features(self.images(other), other).detach()
        features = self.features(images, side)
        loss = torch.zeros(())
        for row, identity in enumerate(self.data.side(side).identities):
            own = bank[torch.from_numpy(self.data.side(other).identities == identity)]
            loss = loss + (features[row] - own).square().sum()
        (gradient,) = torch.autograd.grad(loss, images)
        return (images + EPSILON * gradient.sign()).clamp(0, 1).detach()

    def scores(self, queries: torch.Tensor, gallery: torch.Tensor) -> tuple[float, float, list[float]]:
        """MAP and Rank-1 in the mean of ten trials, and each trial's mAP."""
        people, cameras = self.data.gallery.identities.tolist(), self.data.gallery.cameras.tolist()
        each_ap, each_hit = [], []
        for trial in range(10):
            chance = random.Random(trial)  # noqa: S311
            chosen = []
            for identity in sorted(set(people)):
                for camera in (1, 2, 4, 5):
                    known = [row for row in range(len(people)) if (people[row], cameras[row]) == (identity, camera)]
                    chosen.append(chance.choice(sorted(known, key=lambda row: str(self.data.gallery.paths[row]))))
            precisions, hits = [], []
            for row, (identity, camera) in enumerate(
                zip(self.data.query.identities, self.data.query.cameras, strict=True)
            ):
                seen = [place for place in chosen if not (camera == 3 and cameras[place] == 2)]
                seen.sort(key=lambda place: -float(queries[row] @ gallery[place]))
                ranks = [rank for rank, place in enumerate(seen, start=1) if people[place] == identity]
                precisions.append(np.mean([(n + 1) / rank for n, rank in enumerate(ranks)]))
                hits.append(people[seen[0]] == identity)
            each_ap.append(float(np.mean(precisions)))
            each_hit.append(float(np.mean(hits)))
        return float(np.mean(each_ap)), float(np.mean(each_hit)), each_ap


def _check(ran: Any, network: Any, side: str) -> None:
    """One row against the plain loop; float32 moves a near tie, or a sign at the edge, now and then."""
    data = open_dataset("d", "synthetic", None, {"protocol": "sysu-all", "identities": PEOPLE})
    plain = _Plain(network, data)
    clean = {name: plain.features(plain.images(name), name).detach() for name in ("query", "gallery")}
    after = {**clean, side: plain.features(plain.attacked(side), side).detach()}
    row = ran.row(side=side)
    before_ap, before_hit, each = plain.scores(clean["query"], clean["gallery"])
    after_ap, after_hit, _ = plain.scores(after["query"], after["gallery"])
    assert row["trials"] == 10
    assert row["mAP_clean"] == pytest.approx(before_ap, abs=2e-4)
    assert row["rank1_clean"] == pytest.approx(before_hit, abs=2e-3)
    assert row["mAP_clean_std"] == pytest.approx(float(np.std(each)), abs=2e-4)
    assert row["mAP_attacked_float"] == pytest.approx(after_ap, abs=5e-3)
    assert row["rank1_attacked_float"] == pytest.approx(after_hit, abs=2e-2)
    queries = ran.queries(row["cell_id"])
    assert len(queries) == 10 * len(data.query)
    by_trial = queries.groupby("trial").ap_clean.mean()
    assert by_trial.tolist() == pytest.approx(each, abs=1e-3)
    assert by_trial.nunique() > 1


@pytest.fixture
def sysu(two_stream: tuple[Any, Path], grid_file: Callable[..., Path]) -> Path:
    """A grid of FGSM on both sides of a drawn set under SYSU's rules, on the two-stream network."""
    model = {"name": "m", "architecture": "agw_tiny", "weights": str(two_stream[1])}
    return grid_file([model], [drawn("sysu-all")], attacks=["ama-fgsm"], epsilons=["4/255"], side=["query", "gallery"])


@pytest.mark.parametrize("side", ["query", "gallery"])
def test_against_a_plain_loop(
    side: str, sysu: Path, two_stream: tuple[Any, Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    """References pass the other modality's stream; ten galleries; cameras 3 and 2 never meet; means over trials."""
    _check(run(sysu, tmp_path / "run"), two_stream[0], side)


def test_exchanged_modalities_are_rejected(
    sysu: Path,
    two_stream: tuple[Any, Path],
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wrong twin: infrared images pass the visible stream, and visible ones the infrared one."""
    monkeypatch.setattr(batches, "MODALITIES", ("infrared", "visible"))
    with pytest.raises(AssertionError):
        _check(run(sysu, tmp_path / "run"), two_stream[0], "query")


def test_one_trial_ten_times_is_rejected(
    sysu: Path,
    two_stream: tuple[Any, Path],
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The wrong twin: the first gallery is counted ten times."""

    def stuck(**given: Any) -> Any:
        return Scorer(**{**given, "trials": (given["trials"][0],) * 10})

    monkeypatch.setattr(groups, "Scorer", stuck)
    with pytest.raises(AssertionError):
        _check(run(sysu, tmp_path / "run"), two_stream[0], "query")


PROTOCOLS = ("sysu-indoor", "sysu-all-multi-shot", "llcm-v2i", "llcm-i2v", "llcm-v2i-published", "regdb-t2v")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_epsilon_zero_gives_the_clean_score(
    protocol: str, two_stream: tuple[Any, Path], grid_file: Callable[..., Path], run: Callable[..., Any], tmp_path: Path
) -> None:
    """Bit for bit, whichever stream an image passes and whichever trial it is in."""
    model = {"name": "m", "architecture": "agw_tiny", "weights": str(two_stream[1])}
    grid = grid_file([model], [drawn(protocol)], attacks=["ama-fgsm", "sma"], epsilons=[0], side=["query", "gallery"])
    rows = run(grid, tmp_path / "run").rows
    assert len(rows) == 4
    for metric in ("mAP", "rank1", "rank5", "mINP"):
        assert (rows[f"{metric}_attacked"] == rows[f"{metric}_clean"]).all()
    assert (rows.linf_max == 0).all()


def test_an_ensemble_judges_over_trials() -> None:
    """What a judge says of an image is the mean over the trials of what is scored."""
    data = open_dataset("d", "synthetic", None, {"protocol": "sysu-all", "identities": PEOPLE})
    random = np.random.default_rng(0)
    rows = [random.normal(size=(len(data.side(side)), 8)).astype(np.float32) for side in ("query", "gallery")]
    query, gallery = (side / np.linalg.norm(side, axis=1, keepdims=True) for side in rows)
    scorer = Scorer(metric="cosine", clean=CleanFeatures(query=query, gallery=gallery), trials=data.trials)
    places = np.arange(0, len(query), 3)
    batch = batches.Batch(indices=places, places=np.arange(len(places)), size=len(places) + 2)
    judge = Judge(
        data=data,
        scorer=scorer,
        batch=batch,
        features=lambda images: torch.from_numpy(np.concatenate([query[places], query[:2]])),
    )
    verdict = judge(torch.zeros(batch.size, 3, 2, 1))
    scores = scorer.clean_scores(Problem(query=data.query.labels, gallery=data.gallery.labels, protocol=data.protocol))
    wanted = np.mean([queries.ap for queries, _ in scores.by_trial], axis=0)[places]
    assert verdict.ap.tolist() == pytest.approx([*wanted, 0, 0])
    assert (verdict.least_ap[:-2] <= verdict.ap[:-2]).all()
