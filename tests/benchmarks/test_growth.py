"""How cost grows: with images, epsilons and attacks of a run, and with the gallery and the features of a ranking.

Each case says in `extra_info` what grows (`what`), how large it is (`x`), and whose line it is on (`line`).
docs/performance.md draws them from the file that --benchmark-json writes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import robustreid
from numpy.typing import NDArray
from robustreid.benchmark.evaluation import PROTOCOLS, Labels, rank, score

GRID = """\
name: growth
models: [{model}]
datasets: [{{name: synthetic, identities: {identities}, cameras: 2, shots: 1, distractors: 0}}]
attacks: [{attacks}]
epsilons: [{epsilons}]
side: query
"""
EPSILONS = ("1/255", "2/255", "4/255", "5/255", "8/255", "16/255")
ATTACKS = ("ama-fgsm", "ama-ifgsm", "ama-mifgsm")
#: Images that are attacked where something else grows; the batch, which is full in every case but the smallest.
IMAGES, BATCH = 16, 16
#: Queries, gallery images and numbers a feature, where something else grows.
QUERIES, GALLERY, DIMENSION = 256, 4096, 512

MODELS = pytest.mark.parametrize("model", ["tiny", pytest.param("osnet_x0_25", marks=pytest.mark.slow)])

Run = Callable[..., None]


@pytest.fixture
def run(
    benchmark: Any, weights: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., None]:
    """A function that times a whole run and checks that it did all of its cells."""

    def measure(
        model: str, *, what: str, x: int, images: int = IMAGES, epsilons: int = 1, attacks: tuple[str, ...] = ()
    ) -> None:
        monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path / "cache"))
        chosen, radii = attacks or ("ama-ifgsm",), EPSILONS[:epsilons] if epsilons > 1 else ("5/255",)
        images = images if benchmark.enabled else min(images, 4)
        path = f'{{name: {model}, architecture: {model}, weights: "{weights(model)}"}}' if model != "tiny" else model
        grid = tmp_path / "grid.yml"
        grid.write_text(
            GRID.format(model=path, identities=images // 2, attacks=", ".join(chosen), epsilons=", ".join(radii))
        )
        folders = (tmp_path / f"run-{number}" for number in range(100))
        robustreid.run(grid, next(folders), device="cpu", batch_size=BATCH, limit=0)  # draws the people
        benchmark.extra_info.update(what=what, x=x, line={"tiny": "tiny", "osnet_x0_25": "OSNet x0.25"}[model])
        found = benchmark.pedantic(
            lambda: robustreid.run(grid, next(folders), device="cpu", batch_size=BATCH), rounds=3, warmup_rounds=1
        )
        assert found.n_done == len(chosen) * len(radii)

    return measure


@MODELS
@pytest.mark.parametrize("images", [16, 32, 64, 128])
@pytest.mark.benchmark(group="growth with images")
def test_images(run: Run, model: str, images: int) -> None:
    """One I-FGSM cell at 5/255 on more and more images."""
    run(model, what="attacked images", x=images, images=images)


@MODELS
@pytest.mark.parametrize("epsilons", [2, 3, 4, 6])
@pytest.mark.benchmark(group="growth with epsilons")
def test_epsilons(run: Run, model: str, epsilons: int) -> None:
    """I-FGSM at the first of 1, 2, 4, 5, 8 and 16 / 255."""
    run(model, what="epsilons", x=epsilons, epsilons=epsilons)


@MODELS
@pytest.mark.parametrize("attacks", [1, 2, 3])
@pytest.mark.benchmark(group="growth with attacks")
def test_attacks(run: Run, model: str, attacks: int) -> None:
    """I-FGSM, with MI-FGSM, with FGSM too; each at six epsilons."""
    run(model, what="attacks", x=attacks, epsilons=6, attacks=ATTACKS[::-1][:attacks])


def ranked(benchmark: Any, *, what: str, x: int, gallery: int = GALLERY, dimension: int = DIMENSION) -> None:
    """Times ranking and scoring of random features of random people."""
    queries, gallery = (QUERIES, gallery) if benchmark.enabled else (16, min(gallery, 256))
    random = np.random.default_rng(0)

    def side(size: int) -> tuple[NDArray[np.float32], Labels]:
        features = random.standard_normal((size, dimension), dtype=np.float32)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        return features, Labels(identities=random.integers(1, 65, size), cameras=random.integers(0, 6, size))

    (q, query_labels), (g, gallery_labels) = side(queries), side(gallery)
    benchmark.extra_info.update(what=what, x=x, line="ranking")
    _, scores = benchmark.pedantic(
        lambda: score(rank(q, g, query_labels, gallery_labels, PROTOCOLS["market"], "cosine")),
        rounds=5,
        warmup_rounds=1,
    )
    assert 0 < scores.mAP.value < 0.1


@pytest.mark.parametrize("gallery", [1024, 2048, 4096, 8192, 16384])
@pytest.mark.benchmark(group="growth with the gallery")
def test_gallery(benchmark: Any, gallery: int) -> None:
    """Ranking 256 queries in a larger and larger gallery."""
    ranked(benchmark, what="gallery images", x=gallery, gallery=gallery)


@pytest.mark.parametrize("dimension", [128, 256, 512, 1024, 2048])
@pytest.mark.benchmark(group="growth with the features")
def test_features(benchmark: Any, dimension: int) -> None:
    """Ranking by longer and longer features."""
    ranked(benchmark, what="numbers a feature", x=dimension, dimension=dimension)
