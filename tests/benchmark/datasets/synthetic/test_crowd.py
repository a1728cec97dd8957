"""The drawn data set: the same to the last bit everywhere, its people apart, and hard enough to mean something."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from robustreid import UserError
from robustreid.benchmark.datasets.catalogue import open_dataset
from robustreid.benchmark.datasets.decoded import decode
from robustreid.benchmark.datasets.manifest import read_manifest
from robustreid.benchmark.datasets.retrieval import RetrievalSet
from robustreid.benchmark.datasets.synthetic import crowd, scene, sites
from robustreid.benchmark.datasets.synthetic.canvas import Canvas
from robustreid.benchmark.datasets.synthetic.crowd import Crowd, bitmap, read_training_synthetic
from robustreid.benchmark.datasets.synthetic.scene import HEIGHT, WIDTH, picture
from robustreid.benchmark.datasets.synthetic.wardrobe import GROUP, dress
from robustreid.benchmark.evaluation import rank, score
from robustreid.benchmark.progress import Silent, Stage
from robustreid.models.architectures.tinynet import tinynet

#: Of version 1 with the default crowd. If this test fails, a picture has changed: raise VERSION and say so.
DIGEST = "3ecc023c263cdcf852375cc22b316cebc46cea6f3fba7eddb7ff307a14f497f2"

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[RetrievalSet, NDArray[np.uint8], str]:
    """The default set, its images (N, 128, 64, 3) in its order, and its digest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROBUSTREID_CACHE", str(tmp_path_factory.mktemp("cache")))
        data = open_dataset("synthetic", None, None)
        manifest = read_manifest(data)
        decoded = decode(data, manifest)
        return data, np.stack([decoded[index] for index in range(len(data.paths))]), manifest.sha256


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder."""
    monkeypatch.setenv("ROBUSTREID_CACHE", str(tmp_path))
    return tmp_path


def test_the_default_set_has_its_digest(people: tuple[RetrievalSet, NDArray[np.uint8], str]) -> None:
    """Names and bytes of all 480 files: the same on every machine."""
    assert people[2] == DIGEST


def test_one_count_elsewhere_is_another_set(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a machine that rounds one pixel of one image another way does not have the digest."""
    right = read_manifest(open_dataset("synthetic", None, None, {"identities": 2, "distractors": 0})).sha256

    def off_by_one(*key: int) -> NDArray[np.uint8]:
        image = picture(*key)
        if key == (0, 2, 3, 1):
            image[100, 30, 1] ^= 1
        return image

    monkeypatch.setattr(crowd, "picture", off_by_one)
    monkeypatch.setenv("ROBUSTREID_CACHE", str(cache / "other"))
    assert read_manifest(open_dataset("synthetic", None, None, {"identities": 2, "distractors": 0})).sha256 != right


def test_four_numbers_decide_a_picture() -> None:
    """Seed, identity, camera and shot: each changes it, and nothing else does."""
    keys = [(0, 1, 1, 0), (1, 1, 1, 0), (0, 2, 1, 0), (0, 1, 2, 0), (0, 1, 1, 1)]
    pictures = {picture(*key).tobytes() for key in keys}
    assert len(pictures) == len(keys)
    assert picture(*keys[0]).shape == (HEIGHT, WIDTH, 3)
    np.random.default_rng(5).random(100)
    assert picture(*keys[0]).tobytes() in pictures


def test_a_picture_is_whole_numbers_all_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """No array of floats is made on the way: what machines could round differently does not occur."""
    kinds = set()

    class Watched(Canvas):
        def _fill(self, box: Any, inside: Any, paint: Any) -> None:
            colours = paint(box.xs, box.ys) if callable(paint) else np.array(paint)
            kinds.update({colours.dtype.kind, self.pixels.dtype.kind})
            super()._fill(box, inside, paint)

        def image(self) -> NDArray[np.int32]:
            found: NDArray[np.int32] = super().image()
            kinds.add(found.dtype.kind)
            return found

    monkeypatch.setattr(scene, "Canvas", Watched)
    for camera in range(1, 9):
        picture(0, camera, camera, 0)
    assert kinds == {"i"}


def is_fair(test: Crowd, train: Crowd) -> bool:
    """Whether nobody is in both, and no distractor is somebody else."""
    queries = {shown.person for shown in test.retrieval() if shown.path.startswith("query/")}
    named = {shown.person for shown in test.retrieval() if "/0000_" not in shown.path}
    nobody = {shown.person for shown in test.retrieval() if "/0000_" in shown.path}
    trained = {shown.person for shown in train.training()}
    groups = {person // GROUP for person in trained} & {person // GROUP for person in named | nobody}
    return queries == named and not (named & nobody) and not (trained & (named | nobody)) and not groups


def test_train_and_test_people_are_disjoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the largest sizes too; planted: training people who begin at 1 are found out."""
    small, largest = Crowd(), Crowd(identities=9_990, cameras=2, distractors=9_999)
    assert is_fair(small, small)
    assert is_fair(largest, largest)
    monkeypatch.setattr(sites, "FIRST_TRAINING_PERSON", 1)
    assert not is_fair(small, small)


def test_splits_have_the_sizes_asked_for(cache: Path) -> None:
    """Queries, gallery and distractors of any size; a name says who and where."""
    data = open_dataset(
        "x", "synthetic", None, {"identities": 5, "cameras": 3, "shots": 2, "distractors": 4, "seed": 7}
    )
    assert (len(data.query), len(data.gallery)) == (15, 34)
    assert sorted(set(data.gallery.identities.tolist())) == [0, 1, 2, 3, 4, 5]
    assert sorted(set(data.query.cameras.tolist())) == [1, 2, 3]
    folder, _ = read_training_synthetic("x", reporter=Silent(), identities=3, cameras=2, shots=2)
    assert len(list((folder / "bounding_box_train").iterdir())) == 12
    assert {path.name for path in folder.iterdir()} == {"bounding_box_train"}


def test_an_interrupted_drawing_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stops in the middle is not taken for a set; the next call draws it whole."""
    drawn = []

    def tired(*key: int) -> NDArray[np.uint8]:
        drawn.append(key)
        if len(drawn) == 5:
            raise KeyboardInterrupt
        return picture(*key)

    monkeypatch.setattr(crowd, "picture", tired)
    with pytest.raises(KeyboardInterrupt):
        open_dataset("synthetic", None, None, {"identities": 2, "distractors": 0})
    assert not [path for path in (cache / "synthetic").iterdir() if path.is_dir()]
    assert len(open_dataset("synthetic", None, None, {"identities": 2, "distractors": 0}).paths) == 16
    n_drawn = len(drawn)
    open_dataset("synthetic", None, None, {"identities": 2, "distractors": 0})
    assert len(drawn) == n_drawn


@pytest.mark.parametrize("harm", ["a file less", "a file more", "a file cut", "folders only"])
def test_a_damaged_folder_is_drawn_anew(cache: Path, harm: str) -> None:
    """What a cleaner of caches leaves is not taken for a data set: the digest is what it was."""
    options = {"identities": 2, "distractors": 1}
    data = open_dataset("synthetic", None, None, options)
    right = read_manifest(data).sha256
    file = data.root / data.gallery.paths[3]
    if harm == "a file less":
        file.unlink()
    elif harm == "a file more":
        file.with_name("0003_c1s1_000001_00.bmp").write_bytes(file.read_bytes())
    elif harm == "a file cut":
        file.write_bytes(file.read_bytes()[:-9])
    else:
        for path in (*data.query.paths, *data.gallery.paths):
            (data.root / path).unlink()
    assert read_manifest(open_dataset("synthetic", None, None, options)).sha256 == right


def test_drawing_says_how_far_it_is(cache: Path) -> None:
    """One unit an image, of as many as there are; nothing is said where nothing is drawn."""
    told: list[tuple[str, float]] = []

    class Listening(Silent):
        def start(self, title: str, total: float) -> Stage:
            told.append((title, total))
            return self

        def advance(self, units: float) -> None:
            told.append(("image", units))

    for _ in range(2):
        open_dataset("few", "synthetic", None, {"identities": 2, "distractors": 1}, Listening())
    assert told == [("drawing few", 17), *[("image", 1)] * 17]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"identities": 0}, "has identities 0; expected a whole number from 1 to 9990"),
        ({"cameras": 1}, "has cameras 1; expected a whole number from 2 to 99"),
        ({"distractors": 10_000}, "has distractors 10000"),
        ({"shots": True}, "has shots True"),
    ],
)
def test_wrong_numbers_are_refused(cache: Path, options: dict[str, int], message: str) -> None:
    """A size that cannot be is one sentence, and nothing is drawn."""
    with pytest.raises(UserError, match=message):
        open_dataset("synthetic", None, None, options)
    assert not (cache / "synthetic").exists()


def test_a_root_and_a_drawn_set_contradict_each_other(cache: Path, tmp_path: Path) -> None:
    """Either the package draws, or a folder is read."""
    with pytest.raises(UserError, match="takes no `root`"):
        open_dataset("synthetic", None, tmp_path)
    with pytest.raises(UserError, match="takes no `identities`; that is for synthetic"):
        open_dataset("x", "folder", tmp_path, {"identities": 3})


@pytest.mark.parametrize("width", [1, 2, 3, 4, 64])
def test_bitmaps_read_back(width: int) -> None:
    """Pillow sees the same pixels, whatever the padding of a row; the bytes are ours alone."""
    pixels = np.random.default_rng(width).integers(0, 256, (5, width, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(bitmap(pixels)))), pixels)
    assert hashlib.sha256(bitmap(np.zeros((2, 3, 3), np.uint8))).hexdigest().startswith("25f70451704bea8a")


def test_groups_dress_alike_but_not_the_same() -> None:
    """Within a group a third and more of what two people wear is the same; between groups far less."""

    def shared(one: int, other: int) -> float:
        a, b = vars(dress(0, one)), vars(dress(0, other))
        return float(np.mean([a[name] == b[name] for name in ("upper_colour", "lower_colour", "shoes", "hair_colour")]))

    within = np.mean([shared(person, person + 1) for person in range(0, 600, GROUP)])
    between = np.mean([shared(person, person + GROUP) for person in range(0, 600, GROUP)])
    assert between < 0.2
    assert 0.33 < within < 0.6


def rank1(people: tuple[RetrievalSet, NDArray[np.uint8], str], embed: Embed) -> float:
    """Rank-1 of features of the default set."""
    data, images, _ = people
    features = embed(images)
    features = (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)
    n = len(data.query)
    ranking = rank(features[:n], features[n:], data.query.labels, data.gallery.labels, data.protocol, "cosine")
    return score(ranking)[1].rank1.value


def stripes(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means and deviations of colour in eight stripes, the cast of the whole image removed, the set's mean too."""
    light = images.astype(np.float32) + 1
    light /= light.mean((1, 2), keepdims=True)
    parts = light.reshape(len(light), 8, HEIGHT // 8, WIDTH, 3)[:, :, :, 16:48]
    features = np.concatenate([parts.mean((2, 3)), parts.std((2, 3))], 2).reshape(len(light), -1)
    centred: NDArray[np.float32] = features - features.mean(0)
    return centred


def histograms(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Square roots of colour histograms in four stripes, 512 bins each."""
    bins = (images // 32).astype(np.int64) @ np.array([64, 8, 1])
    parts = bins.reshape(len(images), 4, -1)
    return np.stack([np.sqrt(np.concatenate([np.bincount(p, minlength=512) for p in image])) for image in parts])


def untrained(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The small network with random weights."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        network = tinynet().eval()
        features: NDArray[np.float32] = network(
            (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.45) / 0.225
        ).numpy()
        return features


@pytest.mark.parametrize("embed", [stripes, histograms, untrained])
def test_colours_alone_do_not_find_people(people: tuple[RetrievalSet, NDArray[np.uint8], str], embed: Embed) -> None:
    """Colour statistics and an untrained network stay under 50 % Rank-1."""
    assert rank1(people, embed) < 0.5


def test_the_strongest_of_them_is_no_straw_man(people: tuple[RetrievalSet, NDArray[np.uint8], str]) -> None:
    """Colour by stripe, the cast removed, finds far more people than chance: the bar above means something."""
    assert rank1(people, stripes) > 0.2
