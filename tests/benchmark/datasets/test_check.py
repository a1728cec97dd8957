"""What `check` finds: each planted defect, and nothing where there is none."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from robustreid import UserError
from robustreid.benchmark.datasets import counts
from robustreid.benchmark.datasets.catalogue import Option
from robustreid.benchmark.datasets.check import Finding, check_dataset
from robustreid.benchmark.datasets.counts import OFFICIAL, Count, counted

Copied = Callable[..., Path]
PART: dict[str, Option] = {"verify": False}


def errors(findings: list[Finding]) -> list[str]:
    """What is wrong."""
    return [found.text for found in findings if found.severity == "error"]


def texts(findings: list[Finding]) -> list[str]:
    """All that is said, each in one line."""
    assert all("\n" not in found.text for found in findings)
    return [f"{found.severity} {found.text}" for found in findings]


@pytest.fixture
def as_published(layouts: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str], None]:
    """A function that makes what a folder holds the published counts of its format."""

    def publish(root: Path, layout: str) -> None:
        data = layouts.opened(root, layout)
        own = {name: counted(found[0]) for name, found in counts.parts_of(data).items() if found}
        known = counts.Official(title="The set", parts=own, cameras=counts.cameras_of(data))
        name = {"sysu": "sysu sysu-all", "llcm": "llcm llcm-v2i", "cuhk03": "cuhk03 detected"}.get(layout, layout)
        monkeypatch.setitem(OFFICIAL, name, known)

    return publish


def test_a_whole_set(copied: Copied, as_published: Callable[[Path, str], None]) -> None:
    """Good facts are facts; every image was looked at once."""
    root = copied("market1501")
    told: list[int] = []
    as_published(root, "market1501")
    findings = check_dataset("market1501", root, advance=told.append, workers=2)
    assert texts(findings) == [
        "ok query: 6 images of 6 identities, as published",
        "ok gallery: 21 images of 6 identities, as published",
        "ok train: 12 images of 6 identities",
        "ok cameras: 1 to 6, as published",
        "ok people: nobody is both in train and in test",
        "ok files: all 39 images decode",
        "ok files: none has the same content as one on another side",
    ]
    assert sum(told) == 39


@pytest.mark.parametrize("layout", ["market1501", "sysu", "regdb", "llcm", "viper", "msmt17", "cuhk01", "cuhk03"])
def test_counts_that_are_not_published(layout: str, copied: Copied) -> None:
    """Errors, unless the user says that it is a part: then they are warnings."""
    root = copied(layout)
    assert any("; published are " in text for text in errors(check_dataset(layout, root)))
    findings = check_dataset(layout, root, PART)
    assert not errors(findings)
    assert any("; published are " in text for text in texts(findings))


def test_every_defect_is_found(copied: Copied, as_published: Callable[[Path, str], None]) -> None:
    """A missing image, a cut one, one that is no image, a camera too many, a person and a file on both sides."""
    root = copied("market1501")
    as_published(root, "market1501")
    (root / "query/0003_c2s1_000002_00.jpg").unlink()
    cut = root / "bounding_box_test/0001_c1s2_000001_01.jpg"
    cut.write_bytes(cut.read_bytes()[:-30])
    (root / "bounding_box_train/0004_c1s1_000002_01.jpg").write_bytes(b"no image")
    (root / "bounding_box_test/0003_c2s2_000002_01.jpg").rename(root / "bounding_box_test/0003_c9s2_000002_01.jpg")
    shutil.copy(root / "query/0005_c3s1_000003_00.jpg", root / "bounding_box_train/0005_c3s1_000003_00.jpg")
    shutil.copy(root / "query/0007_c4s1_000004_00.jpg", root / "bounding_box_test/0007_c4s1_000004_77.jpg")
    findings = check_dataset("market1501", root)
    assert texts(findings)[:5] == [
        "error query: 5 images of 5 identities; published are 6 images of 6 identities",
        "error gallery: 22 images of 6 identities; published are 21 images of 6 identities",
        "ok train: 13 images of 7 identities",
        "error cameras: 1, 2, 3, 4, 5, 6, 9; published are 1 to 6",
        "error people: 1 are both in train and in test, the first is 5",
    ]
    broken = [text for text in errors(findings) if "is not a readable image" in text]
    assert len(broken) == 2
    assert str(cut) in broken[0]
    assert "0004_c1s1_000002_01.jpg" in broken[1]
    train, test, again = "bounding_box_train/0005_c3s1_000003_00.jpg", "query/0005_c3s1_000003_00.jpg", "query/0007"
    said = [text for text in texts(findings) if "same content" in text]
    assert said[0] == (
        f"error files: 1 of test have the same content as one of train, the first is {test!r} (as {train!r})"
    )
    assert said[1].startswith("warning files: 1 of gallery have the same content as one of query")
    assert again in said[1]
    assert len(said) == 2


def test_a_split_that_leaks(copied: Copied) -> None:
    """A person of the test part among those learnt from, in one of ten splits; the trial is told."""
    root = copied("regdb")
    for word in ("visible", "thermal"):
        tested, learnt = (root / f"idx/{part}_{word}_6.txt" for part in ("test", "train"))
        line = tested.read_text().splitlines()[0].rpartition(" ")[0]
        learnt.write_text(f"{learnt.read_text()}{line} 6\n")
    findings = check_dataset("regdb", root, PART)
    assert [text for text in errors(findings) if "people" in text] == [
        f"people: 1 are both in train and in test of trial 6, the first is {line.split('/')[1]}"
    ]
    assert any("2 of test of trial 6 have the same content as one of train" in text for text in errors(findings))
    assert any("train of a trial (trial 6): 26 images of 7 identities" in text for text in texts(findings))
    assert any("train of a trial (trial 1, 2, 3, 4, 5, 7, 8, 9, 10): 24 images" in text for text in texts(findings))


def test_a_training_part_that_is_not_there(copied: Copied) -> None:
    """Is no error: nothing that is scored needs it; one that names what is absent is."""
    root = copied("llcm")
    (root / "vis/0001/0001_c01_s185535_f7001_vis.jpg").unlink()
    findings = check_dataset("llcm", root, PART)
    assert len(errors(findings)) == 1
    assert "train_vis.txt' names 1 images that are not there" in errors(findings)[0]
    (root / "idx/train_vis.txt").unlink()
    findings = check_dataset("llcm", root, PART)
    assert not errors(findings)
    assert any(text.startswith("warning train: none can be read; There is no list") for text in texts(findings))


def test_what_others_report_is_marked(copied: Copied, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers that were not traced are no reason to fail, and are said to be what they are."""
    root = copied("sysu")
    published = OFFICIAL["sysu sysu-all"]
    for images, expected in (
        (301, "warning gallery of a trial (all 10): 23 images of 6 identities; others report 301 images"),
        (23, "ok gallery of a trial (all 10): 23 images of 6 identities, as reported by others (not verified)"),
    ):
        known = counts.Official(
            title=published.title,
            parts=published.parts,
            cameras=published.cameras,
            reported={"gallery of a trial": Count(images=images, identities=None)},
        )
        monkeypatch.setitem(OFFICIAL, "sysu sysu-all", known)
        assert any(text.startswith(expected) for text in texts(check_dataset("sysu", root, PART)))


def test_people_of_msmt17_are_not_compared(copied: Copied) -> None:
    """Both folders count from 0, which says nothing; files are compared all the same."""
    root = copied("msmt17")
    findings = check_dataset("msmt17", root, PART)
    assert "ok people: those of train and test are numbered apart and cannot be compared" in texts(findings)
    train = next((root / "mask_train_v2").rglob("*.jpg"))
    first = (root / "list_query.txt").read_text().split()[0]
    shutil.copy(train, root / "mask_test_v2" / first)
    assert any("test have the same content" in text for text in errors(check_dataset("msmt17", root, PART)))


def test_withdrawn_sets_say_so(copied: Copied) -> None:
    """First of all."""
    for layout, title in (("dukemtmc", "DukeMTMC-reID"), ("occluded-duke", "Occluded-Duke")):
        first = check_dataset(layout, copied(layout, layout), PART)[0]
        assert first.severity == "warning"
        assert first.text.startswith(f"{title} was withdrawn by its authors in 2019")


def test_later_distractors_are_counted_apart(copied: Copied) -> None:
    """The gallery as published stays comparable."""
    said = texts(check_dataset("market1501", copied("market1501_500k"), {"with_500k": True, **PART}))
    assert "ok gallery, later distractors: 5 images of 0 identities" in said
    assert any(text.startswith("warning gallery: 21 images of 6 identities; published") for text in said)


def test_real_people(real_data: Path) -> None:
    """The minis as any folder: sound, and four queries of the one show somebody who is not in the gallery."""
    findings = check_dataset("folder", real_data / "cuhk01-mini")
    assert not errors(findings)
    assert "ok query: 200 images of 100 identities" in texts(findings)
    assert any(text.startswith("warning train: none can be read") for text in texts(findings))
    findings = check_dataset("folder", real_data / "market1501-mini")
    assert not errors(findings)
    assert "ok gallery: 1,494 images of 106 identities" in texts(findings)
    assert "warning query: 4 images show someone who is not in the gallery" in texts(findings)
    assert "ok people: nobody is both in train and in test" in texts(findings)


def test_requests_that_make_no_sense(tmp_path: Path, copied: Copied) -> None:
    """No folder, no layout, a drawn set; a name that says nothing is a finding."""
    with pytest.raises(UserError, match="there is no folder"):
        check_dataset("market1501", tmp_path / "absent")
    with pytest.raises(UserError, match="has no folder 'query'"):
        check_dataset("market1501", tmp_path)
    with pytest.raises(UserError, match="is drawn by this package, and there is nothing to check"):
        check_dataset("synthetic", tmp_path)
    root = copied("market1501")
    (root / "query/who.jpg").touch()
    (found,) = check_dataset("market1501", root)
    assert (found.severity, "does not say who is on it" in found.text) == ("error", True)


def test_held_out_people(copied: Copied) -> None:
    """A split of a training part has no training part of its own."""
    findings = check_dataset("held-out", copied("market1501"), {"identities": 2})
    assert not errors(findings)
    assert not any(text.startswith("warning train") for text in texts(findings))
