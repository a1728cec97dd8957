"""`rankings.json` of real runs: its lists, and the files that it names."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from robustreid.benchmark.runner import keeping, rankings
from robustreid.benchmark.runner.images import write_image
from safetensors.numpy import load_file

FOLDERS = {"query": "query", "gallery": "bounding_box_test"}
COUNT = 4


class Seen:
    """What passed through the runner: the scored pixels and the features of every attacked image, by cell and id."""

    def __init__(self) -> None:
        self.pixels: dict[tuple[str, str], NDArray[np.uint8]] = {}
        self.features: dict[tuple[str, str], NDArray[np.float32]] = {}
        self.written: set[Path] = set()

    def watch(self, patch: pytest.MonkeyPatch) -> Seen:
        """Look over the shoulder of every keeper."""
        keep, write = keeping.Keeper.keep, write_image

        def keeps(keeper: Any, batch: Any, features: Any, scored: Any) -> None:
            for row, place in enumerate(batch.indices.tolist()):
                name = keeper.cell_id, keeper.paths[place]
                self.pixels[name] = (scored[row] * 255).round().byte().permute(1, 2, 0).numpy()
                self.features[name] = features[row]
            keep(keeper, batch, features, scored)

        def writes(run: Any, file: Path, image: Any) -> None:
            self.written.add(file)
            write(run, file, image)

        patch.setattr(keeping.Keeper, "keep", keeps)
        patch.setattr(keeping, "write_image", writes)
        return self


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """What passes through the runner in one test."""
    return Seen().watch(monkeypatch)


@pytest.fixture(scope="module")
def shown(
    crowd: Path, tiny: Path, grid_file: Callable[..., Path], run: Callable[..., Any], tmp_path_factory: Any
) -> Iterator[tuple[Any, Seen]]:
    """A run that keeps four lists a cell, of a set with distractors and junk, and what passed through it."""
    grid = grid_file(tiny, crowd, epsilons=["0", "8/255"], side=["gallery", "query", "both"])
    with pytest.MonkeyPatch.context() as patch:
        seen = Seen().watch(patch)
        yield run(grid, tmp_path_factory.mktemp("lists") / "run", keep_images=COUNT), seen


def _pixels(file: Path) -> NDArray[np.uint8]:
    with Image.open(file) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        return np.asarray(image)


def _who(image_id: str) -> tuple[int, int]:
    """Identity and camera by the name of a file."""
    identity, camera = Path(image_id).name.split("_")[:2]
    return int(identity), int(camera[1])


def _near(query: NDArray[np.float32], gallery: NDArray[np.float32]) -> int:
    """The rounded similarity of two unit vectors, in whole numbers all the way."""
    pairs = zip(query.tolist(), gallery.tolist(), strict=True)
    return round(Fraction(sum(round(a * 2**26) * round(b * 2**26) for a, b in pairs), 2**32))


def _plain_list(query: str, features: dict[str, NDArray[np.float32]], gallery: list[str]) -> list[str]:
    """The ten nearest by a plain loop; `sorted` leaves ties in the order of the gallery."""
    answers = [
        name for name in gallery if _who(name)[0] != -1 and _who(name) != _who(query)
    ]  # junk: bad detections, and the same person under the same camera
    return sorted(answers, key=lambda name: -_near(features[query], features[name]))[:10]


def check_lists(ran: Any, seen: Seen, data: Path, cell_id: str, side: str) -> list[dict[str, Any]]:
    """Everything that `rankings.json` of a cell says, against loops over stored features; gives its queries."""
    (stored,) = (load_file(file) for file in (ran.path / "features").iterdir())
    names = {key: [f"{at}/{file.name}" for file in sorted((data / at).iterdir())] for key, at in FOLDERS.items()}
    clean = {name: row for key in FOLDERS for name, row in zip(names[key], stored[key], strict=True)}
    attacked = {name: row for (cell, name), row in seen.features.items() if cell == cell_id}
    assert attacked
    assert all(name.startswith(FOLDERS[side]) for name in attacked)
    content = json.loads((ran.path / "images" / cell_id / "rankings.json").read_text())
    assert {key: content[key] for key in ("version", "cell_id", "side")} == {
        "version": 1,
        "cell_id": cell_id,
        "side": side,
    }
    valid = [
        query
        for query in names["query"]
        if any(_who(name)[0] == _who(query)[0] and _who(name)[1] != _who(query)[1] for name in names["gallery"])
    ]
    if side == "query":
        valid = [query for query in valid if query in attacked]
    firsts = list({_who(query)[0]: query for query in reversed(valid)}.values())[::-1]
    assert [query["image_id"] for query in content["queries"]] == firsts[:COUNT]
    for query in content["queries"]:
        for when, features in (("before", clean), ("after", clean | attacked)):
            expected = _plain_list(query["image_id"], features, names["gallery"])
            assert [entry["image_id"] for entry in query[when]] == expected
            for entry in query[when]:
                assert entry["is_match"] is (entry["identity"] == query["identity"])
                assert (entry["attacked_file"] is not None) is (when == "after" and entry["image_id"] in attacked)
        assert (query["attacked_file"] is not None) is (query["image_id"] in attacked)
    queries: list[dict[str, Any]] = content["queries"]
    return queries


def check_files(ran: Any, seen: Seen, data: Path, cell_id: str, queries: list[dict[str, Any]]) -> None:
    """Every image is where it is named, pixel for pixel; what is not named is not there."""
    folder = ran.path / "images" / cell_id
    named = {"rankings.json", "manifest.json"}
    for entry in [entry for query in queries for entry in (query, *query["before"], *query["after"])]:
        assert (entry["identity"], entry["camera"]) == _who(entry["image_id"])
        with Image.open(data / entry["image_id"]) as image:
            assert np.array_equal(_pixels(folder / entry["clean_file"]), np.asarray(image.convert("RGB")))
        assert entry["clean_file"] == f"clean/{entry['image_id']}.png"
        if entry["attacked_file"] is not None:
            assert entry["attacked_file"] == f"{entry['image_id']}.png"
            assert np.array_equal(_pixels(folder / entry["attacked_file"]), seen.pixels[cell_id, entry["image_id"]])
        named |= {entry["clean_file"], entry["attacked_file"]} - {None}
    named |= {entry["file"] for entry in json.loads((folder / "manifest.json").read_text())["images"]}
    assert {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} == named
    assert all(any(path.iterdir()) for path in folder.rglob("*") if path.is_dir())


@pytest.mark.parametrize("side", ["gallery", "query"])
@pytest.mark.parametrize("epsilon", ["0/255", "8/255"])
def test_lists_and_files(shown: tuple[Any, Seen], crowd: Path, side: str, epsilon: str) -> None:
    """Lists are those of a plain loop over the stored features, files the images that were scored."""
    ran, seen = shown
    row = ran.row(side=side, epsilon_label=epsilon)
    queries = check_lists(ran, seen, crowd, row["cell_id"], side)
    check_files(ran, seen, crowd, row["cell_id"], queries)
    table = ran.queries(row["cell_id"]).set_index("query_id")
    for query in queries:
        for when, column in (("before", "first_rank_clean"), ("after", "first_rank_attacked")):
            matches = [place for place, entry in enumerate(query[when], 1) if entry["is_match"]]
            first = table.loc[query["image_id"], column]
            assert matches[0] == first if matches else first > 10
    ids = {when: [[entry["image_id"] for entry in query[when]] for query in queries] for when in ("before", "after")}
    assert (ids["before"] == ids["after"]) is (epsilon == "0/255")


def test_images_that_fell_out_are_gone(shown: tuple[Any, Seen]) -> None:
    """On side gallery some images were written on the way that are in no list at the end."""
    ran, seen = shown
    folder = ran.path / "images" / ran.row(side="gallery", epsilon_label="8/255")["cell_id"]
    written = {file for file in seen.written if file.is_relative_to(folder)}
    assert any(not file.exists() for file in written)
    assert set(folder.rglob("*.png")) < written


def test_no_lists_on_both_sides_or_with_a_target(
    shown: tuple[Any, Seen],
    crowd: Path,
    tiny: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
) -> None:
    """Their images are listed in the manifest, and nothing else is kept."""
    targeted = run(grid_file(tiny, crowd, goal="targeted"), tmp_path / "run", keep_images=COUNT)
    for ran, wanted, count in (
        (shown[0], {"side": "both", "epsilon_label": "8/255"}, 2 * COUNT),
        (targeted, {}, COUNT),
    ):
        folder = ran.path / "images" / ran.row(**wanted)["cell_id"]
        assert (folder / "manifest.json").exists()
        assert len([path for path in folder.rglob("*") if path.is_file()]) == count + 1


def test_clean_images_at_the_models_own_size(
    crowd: Path, tiny: Path, grid_file: Callable[..., Path], run: Callable[..., Any], seen: Seen, tmp_path: Path
) -> None:
    """The clean image is the resized one that was perturbed: at epsilon 0 the very image that was scored."""
    ran = run(grid_file(tiny, crowd, perturb_at="input", epsilons=["0"]), tmp_path / "run", keep_images=COUNT)
    cell_id = ran.row()["cell_id"]
    folder = ran.path / "images" / cell_id
    queries = json.loads((folder / "rankings.json").read_text())["queries"]
    found = [entry for query in queries for entry in query["after"] if entry["attacked_file"]]
    assert found
    for entry in found:
        clean = _pixels(folder / entry["clean_file"])
        assert clean.shape == (32, 16, 3)
        assert np.array_equal(clean, _pixels(folder / entry["attacked_file"]))
        assert np.array_equal(clean, seen.pixels[cell_id, entry["image_id"]])


@pytest.mark.parametrize("bug", ["junk stays", "not written on the way", "black images are written"])
def test_planted_bugs_are_found(
    bug: str,
    crowd: Path,
    tiny: Path,
    grid_file: Callable[..., Path],
    run: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A list with junk in it, one whose images are not there, and one whose images are not those that were scored."""
    keep = keeping.Keeper.keep

    def no_junk(data: Any, queries: Any, places: Any) -> Any:
        del data
        return np.zeros((len(queries), len(places)), dtype=bool)

    def keeps_black(keeper: Any, batch: Any, features: Any, scored: Any) -> None:
        keep(keeper, batch, features, scored * 0)

    if bug == "junk stays":
        monkeypatch.setattr(rankings, "is_junk", no_junk)
    elif bug == "not written on the way":
        monkeypatch.setattr(rankings.Nearest, "members", lambda _: frozenset())
    else:
        monkeypatch.setattr(keeping.Keeper, "keep", keeps_black)
    seen = Seen().watch(monkeypatch)
    ran = run(grid_file(tiny, crowd, epsilons=["8/255"]), tmp_path / "run", keep_images=COUNT)
    cell_id = ran.row()["cell_id"]

    def check() -> None:
        check_files(ran, seen, crowd, cell_id, check_lists(ran, seen, crowd, cell_id, "gallery"))

    with pytest.raises((AssertionError, FileNotFoundError)):
        check()
