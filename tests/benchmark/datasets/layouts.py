"""Small data sets in the exact layout on disk of the real ones, drawn at test time: a dozen people, random pixels."""

from __future__ import annotations

import csv
import random
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from robustreid.benchmark.datasets.catalogue import open_dataset
from robustreid.benchmark.datasets.retrieval import Images, RetrievalSet
from robustreid.models.base import MODALITIES

#: (height, width) of the images of each set, one or several.
SIZES: dict[str, tuple[tuple[int, int], ...]] = {
    "market1501": ((128, 64),),
    "dukemtmc": ((150, 60), (188, 72)),
    "occluded-duke": ((150, 60), (188, 72)),
    "cuhk03": ((139, 52), (163, 61)),
    "cuhk01": ((160, 60),),
    "msmt17": ((180, 66), (96, 40), (121, 44)),
    "viper": ((128, 48),),
    "sysu": ((200, 70), (150, 64)),
    "regdb": ((128, 64),),
    "llcm": ((140, 50), (110, 44)),
    "table": ((64, 32),),
}
SYSU_TRAIN, SYSU_VAL, SYSU_TEST = (1, 2, 3, 4, 5), (6, 10), (7, 8, 9, 11, 12, 533)
LLCM_TRAIN, LLCM_TEST = (1, 2, 4, 5, 6, 8), (3, 7, 9, 10, 11, 1064)
REGDB_PEOPLE = (3, 20, 73, 105, 117, 168, 222, 285, 300, 333, 401, 412)
LLCM_VISIBLE, LLCM_INFRARED = (1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 4, 5, 6, 7, 8, 9)


def opened(root: Path, layout: str, **options: Any) -> RetrievalSet:
    """A small set, its counts not verified."""
    return open_dataset("small", layout, root, options if layout == "table" else {"verify": False, **options})


def labels(images: Images) -> dict[str, tuple[int, int, str]]:
    """(identity, camera, modality) by path."""
    columns = (images.identities.tolist(), images.cameras.tolist(), images.modalities.tolist())
    return {
        path: (who, camera, MODALITIES[modality])
        for path, who, camera, modality in zip(images.paths, *columns, strict=True)
    }


def files(root: Path, pattern: str) -> list[str]:
    """The files below a root, sorted."""
    return sorted(file.relative_to(root).as_posix() for file in root.glob(pattern))


def draw(root: Path, path: str, layout: str) -> str:
    """A random image at a path below the root, its pixels a function of the path."""
    chance = np.random.default_rng(zlib.crc32(path.encode()))
    sizes = SIZES[layout]
    height, width = sizes[int(chance.integers(len(sizes)))]
    # Few random pixels made larger: quick to write and to read, and no two alike.
    small = chance.integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(small).resize((width, height), Image.Resampling.NEAREST).save(file)
    return path


def write_list(file: Path, lines: Iterable[str]) -> None:
    """A list, with the line ends of Unix."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="")


def market1501(root: Path) -> Path:
    """Six people to learn from, six to look for by six cameras, one image of junk and two of distractors."""
    for who in range(1, 7):
        for camera in (1, 2):
            draw(root, f"bounding_box_train/{2 * who:04d}_c{camera}s1_{who:06d}_01.jpg", "market1501")
    for who in range(1, 7):
        draw(root, f"query/{2 * who - 1:04d}_c{who}s1_{who:06d}_00.jpg", "market1501")
        for camera in (who, 1 + who % 6, 1 + (who + 1) % 6):
            draw(root, f"bounding_box_test/{2 * who - 1:04d}_c{camera}s2_{who:06d}_01.jpg", "market1501")
    draw(root, "bounding_box_test/-1_c1s1_000401_03.jpg", "market1501")
    for camera in (1, 2):
        draw(root, f"bounding_box_test/0000_c{camera}s1_000151_01.jpg", "market1501")
    return root


def market1501_500k(root: Path) -> Path:
    """The same with distractors that came later."""
    for number in range(4):
        draw(market1501(root), f"images/0000_c{1 + number}s1_{number:06d}_00.jpg", "market1501")
    draw(root, "images/7777_c6s1_000001_00.jpg", "market1501")
    return root


def dukemtmc(root: Path, layout: str = "dukemtmc") -> Path:
    """Eight cameras, names without sequences, and people in the gallery whom nobody looks for."""
    for who in range(1, 5):
        for camera in (who, who + 1):
            draw(root, f"bounding_box_train/{who:04d}_c{camera}_f{who:07d}.jpg", layout)
    for who in range(5, 9):
        draw(root, f"query/{who:04d}_c{who - 4}_f{who:07d}.jpg", layout)
        for camera in (who - 4, who):
            draw(root, f"bounding_box_test/{who:04d}_c{camera}_f{who + 1:07d}.jpg", layout)
    for who in (7001, 7002):
        draw(root, f"bounding_box_test/{who:04d}_c1_f{who:07d}.jpg", layout)
    return root


def occluded_duke(root: Path) -> Path:
    """As Duke."""
    return dukemtmc(root, "occluded-duke")


#: (pair of cameras, person of that pair): part.
_CUHK03 = {(1, 1): "train", (1, 2): "train", (2, 1): "train", (1, 3): "test", (3, 7): "test", (5, 49): "test"}


def _cuhk03_names(part: str) -> dict[str, list[str]]:
    people = [key for key, where in _CUHK03.items() if where == part]
    shots = {(camera, shot) for camera in (1, 2) for shot in (1, 2, 3)}
    named = {
        "query": [(*who, camera, 1) for who in people for camera in (1, 2)],
        "gallery": [(*who, camera, shot) for who in people for camera, shot in sorted(shots) if shot > 1],
    }
    named = named if part == "test" else {"train": sorted(named["query"] + named["gallery"])}
    return {name: ["{}_{:03d}_{}_{:02d}.png".format(*item) for item in items] for name, items in named.items()}


def cuhk03(root: Path) -> Path:
    """Both kinds of boxes as folders, with the names of the original set."""
    folders = {"train": "bounding_box_train", "query": "query", "gallery": "bounding_box_test"}
    for boxes in ("labeled", "detected"):
        for part, names in {**_cuhk03_names("train"), **_cuhk03_names("test")}.items():
            for name in names:
                draw(root, f"{boxes}/{folders[part]}/{name}", "cuhk03")
    return root


def cuhk03_mat(root: Path) -> Path:
    """The published indices beside the extracted images."""
    from scipy.io import savemat  # type: ignore[import-untyped]

    parts = {**_cuhk03_names("train"), **_cuhk03_names("test")}
    names = sorted(name for found in parts.values() for name in found)
    people = sorted({name[:5] for name in names})
    for boxes in ("labeled", "detected"):
        for name in names:
            draw(root, f"images_{boxes}/{name}", "cuhk03")
        content: dict[str, Any] = {
            f"{part}_idx": np.array([[names.index(name) + 1] for name in found]) for part, found in parts.items()
        }
        content["filelist"] = np.array([[name] for name in names], dtype=object)
        content["labels"] = np.array([[people.index(name[:5]) + 1] for name in names])
        content["camId"] = np.array([[int(name[6])] for name in names])
        savemat(root / f"cuhk03_new_protocol_config_{boxes}.mat", content)
    return root


def cuhk01(root: Path, people: Iterable[int] = range(1, 12)) -> Path:
    """Eleven people, four images each."""
    for who in people:
        for shot in range(1, 5):
            draw(root, f"campus/{who:04d}{shot:03d}.png", "cuhk01")
    return root


def msmt17(root: Path, folders: tuple[str, str] = ("mask_train_v2", "mask_test_v2")) -> Path:
    """Twelve people, numbered from 0 in both folders; the camera is neither the first nor the fourth number."""
    lists: dict[str, list[str]] = {name: [] for name in ("train", "val", "query", "gallery")}
    for place, (folder, parts) in enumerate(zip(folders, (("train", "val"), ("query", "gallery")), strict=True)):
        for who in range(6):
            for shot in range(4):
                camera = 1 + (5 * who + 4 * shot + place) % 15
                name = f"{who:04d}/{who:04d}_{shot:03d}_{camera:02d}_0303morning_{20 + shot:04d}_{shot % 3}.jpg"
                draw(root, f"{folder}/{name}", "msmt17")
                part = parts[0] if (shot < 3) == (place == 0) else parts[1]
                lists[part].append(f"{name} {who}")
    for name, lines in lists.items():
        write_list(root / f"list_{name}.txt", lines)
    return root


def viper(root: Path, people: Iterable[int] = range(12)) -> Path:
    """Twelve people, numbered from 0."""
    for who in people:
        for folder, angle in (("cam_a", 45), ("cam_b", 90)):
            draw(root, f"{folder}/{who:03d}_{angle}.bmp", "viper")
    return root


def sysu(root: Path) -> Path:
    """Six cameras; person 9 was not seen by camera 2, and camera 1 took eleven images of person 7."""
    for who in (*SYSU_TRAIN, *SYSU_VAL, *SYSU_TEST):
        for camera in range(1, 7):
            for shot in range(1, 12 if (who, camera) == (7, 1) else 3):
                if (who, camera) != (9, 2):
                    draw(root, f"cam{camera}/{who:04d}/{shot:04d}.jpg", "sysu")
    for name, people in (("train", SYSU_TRAIN), ("val", SYSU_VAL), ("test", SYSU_TEST)):
        write_list(root / f"exp/{name}_id.txt", [",".join(map(str, people))])
    return root


def regdb(root: Path, people: Iterable[int] = REGDB_PEOPLE, shots: int = 2) -> Path:
    """Ten splits into halves; labels count the people of one split, and say nothing in another."""
    order = sorted(people)
    names: dict[tuple[str, int], list[str]] = {}
    for who in order:
        for word, letter in (("Visible", "v"), ("Thermal", "t")):
            named = [f"{word}/{who}/male_back_{letter}_{1000 * who + shot:05d}_{who}.bmp" for shot in range(shots)]
            names[word, who] = [draw(root, name, "regdb") for name in named]
    for number in range(1, 11):
        shuffled = random.Random(number).sample(order, len(order))  # noqa: S311 (a split is no secret)
        halves = {"train": shuffled[: len(order) // 2], "test": shuffled[len(order) // 2 :]}
        for part, half in halves.items():
            for word in ("Visible", "Thermal"):
                lines = [f"{path} {label}" for label, who in enumerate(half) for path in names[word, who]]
                write_list(root / f"idx/{part}_{word.lower()}_{number}.txt", lines)
    return root


def llcm(root: Path) -> Path:
    """Nine cameras; no infrared images of camera 3."""
    for modality, cameras in (("vis", LLCM_VISIBLE), ("nir", LLCM_INFRARED)):
        lines = []
        for label, who in enumerate(LLCM_TRAIN):
            for camera in (1, 9):
                path = f"{modality}/{who:04d}/{who:04d}_c{camera:02d}_s185535_f{7000 + camera}_{modality}.jpg"
                lines.append(f"{draw(root, path, 'llcm')} {label}")
        write_list(root / f"idx/train_{modality}.txt", lines)
        for who in LLCM_TEST:
            for camera in cameras:
                for shot in range(2 if camera < 3 else 1):
                    name = f"{who:04d}_c{camera:02d}_s185734_f{3000 + shot}_{modality}.jpg"
                    draw(root, f"test_{modality}/cam{camera}/{who:04d}/{name}", "llcm")
    write_list(root / "idx/test_id.txt", [",".join(map(str, LLCM_TEST))])
    return root


def rows(root: Path) -> list[dict[str, Any]]:
    """What the table of `table` says: two people to learn from, three to look for, in both kinds of light."""
    found = []
    for who in (1, 2, 11, 12, 13):
        for camera, modality in ((1, "visible"), (2, "infrared")):
            split = "train" if who < 11 else "query" if camera == 1 else "gallery"
            path = draw(root, f"images/{split}/{who}_{camera}.png", "table")
            found.append({"path": path, "identity": who, "camera": camera, "split": split, "modality": modality})
    return found


def write_csv(file: Path, found: list[dict[str, Any]], delimiter: str = ",") -> Path:
    """A table as spreadsheets write it."""
    with file.open("w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, list(found[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(found)
    return file


def table(root: Path) -> Path:
    """A folder with one table."""
    write_csv(root / "people.csv", rows(root))
    return root


#: By format, what draws a set of it, and what such a small one is opened with.
BUILDERS: dict[str, Callable[[Path], Path]] = {
    "market1501": market1501,
    "dukemtmc": dukemtmc,
    "occluded-duke": occluded_duke,
    "cuhk03": cuhk03,
    "cuhk01": cuhk01,
    "msmt17": msmt17,
    "viper": viper,
    "sysu": sysu,
    "regdb": regdb,
    "llcm": llcm,
    "table": table,
}
