"""The sets in two kinds of light: who is on which side, by which camera, and what each trial is about."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid import InvalidFileError
from robustreid.benchmark.datasets import regdb, sysu
from robustreid.benchmark.datasets.retrieval import RetrievalSet
from robustreid.models.base import MODALITIES

Drawn = Callable[[str], Path]


def check_sysu(layouts: Any, root: Path, data: RetrievalSet, cameras: tuple[int, ...]) -> None:
    """Infrared queries of cameras 3 and 6, visible gallery of those searched; all images of the people tested on."""
    sides = ((data.query, (3, 6), "infrared"), (data.gallery, cameras, "visible"))
    for images, searched, modality in sides:
        truth: dict[str, tuple[int, int, str]] = {}
        for camera in searched:
            for who in layouts.SYSU_TEST:
                found = layouts.files(root, f"cam{camera}/{who:04d}/*.jpg")
                truth |= dict.fromkeys(found, (who, camera, modality))
        assert layouts.labels(images) == truth


@pytest.mark.parametrize("where", ["all", "indoor"])
@pytest.mark.parametrize("shots", ["", "-multi-shot"])
def test_sysu(drawn: Drawn, layouts: Any, monkeypatch: pytest.MonkeyPatch, where: str, shots: str) -> None:
    """Every protocol; exchanged modalities are caught; trials are those of the public code."""
    root, cameras = drawn("sysu"), (1, 2, 4, 5) if where == "all" else (1, 2)
    protocol = f"sysu-{where}{shots}"
    data = layouts.opened(root, "sysu", protocol=protocol)
    check_sysu(layouts, root, data, cameras)
    assert data.protocol.name == protocol
    assert len(data.trials) == 10
    for number, trial in enumerate(data.trials):
        assert trial.query.tolist() == list(range(len(data.query)))
        assert [data.gallery.paths[place] for place in trial.gallery] == plain_draw(
            layouts, root, cameras, number, 10 if shots else 1
        )
    monkeypatch.setattr(sysu, "_VISIBLE", (3, 6))
    monkeypatch.setattr(sysu, "_INDOOR", (3, 6))
    monkeypatch.setattr(sysu, "_INFRARED", cameras)
    with pytest.raises(AssertionError):
        check_sysu(layouts, root, layouts.opened(root, "sysu", protocol=protocol), cameras)


def plain_draw(layouts: Any, root: Path, cameras: tuple[int, ...], seed: int, shots: int) -> list[str]:
    """What the rules say, in a plain loop over folders."""
    chance = random.Random(seed)  # noqa: S311
    found = []
    for who in sorted(layouts.SYSU_TEST):
        for camera in cameras:
            names = layouts.files(root, f"cam{camera}/{who:04d}/*.jpg")
            if names:
                found += [chance.choice(names)] if shots == 1 else chance.sample(names, min(shots, len(names)))
    return sorted(found)


def check_regdb(layouts: Any, root: Path, data: RetrievalSet, words: tuple[str, str]) -> None:
    """Each trial is what the lists of that number name; a person has one number in all of them."""
    assert len(data.trials) == 10
    for number, trial in enumerate(data.trials, start=1):
        for word, images, places, camera in (
            (words[0], data.query, trial.query, 1),
            (words[1], data.gallery, trial.gallery, 2),
        ):
            lines = (root / f"idx/test_{word}_{number}.txt").read_text().split("\n")
            modality = "visible" if word == "visible" else "infrared"
            truth = {line.split()[0]: (int(line.split("/")[1]), camera, modality) for line in lines if line}
            assert layouts.labels(images.part(places)) == truth


@pytest.mark.parametrize("protocol", ["regdb-v2t", "regdb-t2v"])
def test_regdb(drawn: Drawn, layouts: Any, monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    """Both directions, ten different splits; lists of the training part in their place are caught."""
    root = drawn("regdb")
    words = ("visible", "thermal") if protocol == "regdb-v2t" else ("thermal", "visible")
    data = layouts.opened(root, "regdb", protocol=protocol)
    check_regdb(layouts, root, data, words)
    assert set(data.query.identities.tolist()) == set(layouts.REGDB_PEOPLE)
    assert len({tuple(trial.query.tolist()) for trial in data.trials}) == 10
    monkeypatch.setattr(regdb, "_TEST", "train")
    with pytest.raises(AssertionError):
        check_regdb(layouts, root, layouts.opened(root, "regdb", protocol=protocol), words)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("Thermal/20/", "Thermal/", "whose folder is the person's number"),
        (" 1\n", " 0\n", r"has the label 0, but that is folder \d+ elsewhere in split 3"),
        (" 1\n", " 77\n", r"has the label 77, but its folder has the label 1 elsewhere in split 3"),
        (" 1\n", " one\n", "expected a path and a number, got"),
        (" 1\n", "\n", "expected a path and a number, got"),
        ("Thermal/", "../Thermal/", "expected a path below the data set's folder"),
    ],
)
def test_regdb_lists_that_contradict(layouts: Any, copied: Callable[..., Path], old: str, new: str, told: str) -> None:
    """Labels agree with folders within a split; otherwise the list, the line and the reason are told."""
    root = copied("regdb")
    file = root / "idx/test_thermal_3.txt"
    old = f"Thermal/{file.read_text().split('/')[1]}/" if "20" in old else old
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(InvalidFileError, match=rf"test_thermal_3.txt', line \d+: .*{told}"):
        layouts.opened(root, "regdb")


@pytest.mark.parametrize("protocol", ["llcm-v2i", "llcm-i2v", "llcm-v2i-published"])
def test_llcm(drawn: Drawn, layouts: Any, protocol: str) -> None:
    """Both directions as their names say; the published variant asks in infrared, of all visible images."""
    root = drawn("llcm")
    data = layouts.opened(root, "llcm", protocol=protocol)
    asked, held = ("vis", "nir") if protocol == "llcm-v2i" else ("nir", "vis")
    for images, word in ((data.query, asked), (data.gallery, held)):
        truth = {}
        for path in layouts.files(root, f"test_{word}/cam*/*/*.jpg"):
            _, camera, who, _ = path.split("/")
            truth[path] = (int(who), int(camera[3:]), "visible" if word == "vis" else "infrared")
        assert layouts.labels(images) == truth
        assert {who for who, _, _ in truth.values()} == set(layouts.LLCM_TEST)
    names = list(data.protocol.modalities or ())
    assert names == [MODALITIES[images.modalities[0]] for images in (data.query, data.gallery)]
    for trial in data.trials:
        drawn_side = data.query.part(trial.query) if "published" in protocol else data.gallery.part(trial.gallery)
        cells: dict[tuple[int, int], int] = defaultdict(int)
        for who, camera, _ in layouts.labels(drawn_side).values():
            cells[who, camera] += 1
        assert set(cells.values()) == {1}
        assert len(cells) == 6 * (8 if "published" in protocol or protocol == "llcm-v2i" else 9)
