"""Checks by themselves: the rules that no twin decides for sure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from robustreid import UserError
from robustreid.attacks.reliability.thresholds import BLACK_BOX_BETTER, FLAGS
from robustreid.benchmark.inspection import contract
from robustreid.benchmark.inspection.feeding import GREY_LEVELS, feedings
from robustreid.benchmark.inspection.findings import Finding, Inspection, flagged
from robustreid.benchmark.inspection.following import Attacked, attacked, flags_of_rows
from robustreid.benchmark.inspection.sample import GALLERY_EACH, PEOPLE, QUERIES_EACH, copied_people
from robustreid.benchmark.inspection.telling import inspection_record, inspection_text
from robustreid.models.base import NORMALISATIONS
from torch import nn


def rows(fgsm: float, noise: float, **changes: Any) -> Attacked:
    """Two rows of a run that left so much mAP."""
    row = {"status": "done", "flags": (), "reason": ""}
    return Attacked(
        rows={"ama-fgsm": {**row, "mAP_attacked": fgsm, **changes}, "noise": {**row, "mAP_attacked": noise}}
    )


@pytest.mark.parametrize(
    ("fgsm", "noise", "clean", "expected"),
    [
        (0.30, 0.80, 0.90, "fine"),
        (0.80, 0.80, 0.90, "no-better-than-noise"),
        (0.80 - BLACK_BOX_BETTER / 2, 0.80, 0.90, "no-better-than-noise"),
        (0.80 + 2 * BLACK_BOX_BETTER, 0.80, 0.90, "black-box-beats-white-box"),
        (0.14, 0.14, 0.16, "note"),
        (0.11, 0.12, 0.90, "note"),  # noise alone takes everything
    ],
)
def test_one_step_is_held_against_noise(fgsm: float, noise: float, clean: float, expected: str) -> None:
    """By more than a point it has to be better, where there is anything to lose."""
    found = attacked(rows(fgsm, noise), clean, chance=0.13)
    assert (found.flag or found.verdict) == expected


def test_a_cell_that_failed_fails_the_model() -> None:
    """Its reason is told, whatever the other cell came to; flags of the one that stands are kept, known ones once."""
    found = rows(0.1, 0.8, status="failed", reason="NonFiniteGradientError: not finite")
    finding = attacked(found, 0.9, 0.1)
    assert (finding.verdict, finding.measured) == (
        "fails",
        "ama-fgsm at 4/255 failed: NonFiniteGradientError: not finite",
    )
    doubted = rows(0.1, 0.8, flags=("hides-gradients", "optimises-at-inference", "zero-gradient"))
    more = flags_of_rows(doubted, known=["zero-gradient"])
    assert [(each.name, each.flag) for each in more] == [
        ("gradient", "hides-gradients"),
        ("inference", "optimises-at-inference"),
    ]


def test_a_network_is_fed_in_every_other_way() -> None:
    """The way that is asked for is not tried again."""
    for given in (*NORMALISATIONS.values(), GREY_LEVELS):
        found = [(feeding.normalise, feeding.swaps_channels) for feeding in feedings(given)]
        assert len(found) == len(set(found))
        assert (given, False) not in found
        assert (given, True) in found
        assert (GREY_LEVELS, True) in found


def test_what_a_forward_leaves_behind_is_seen() -> None:
    """A gradient that was left, a weight that moved by a bit; NaN that stays NaN is no change."""
    linear, norm = nn.Linear(2, 2), nn.BatchNorm1d(2)
    network = nn.Sequential(linear, norm).eval()
    network.get_buffer("1.running_mean")[0] = float("nan")
    before = contract.tensors(network)
    assert contract.state(network, before).verdict == "fine"
    network(torch.zeros(1, 2)).sum().backward()
    assert contract.state(network, before).measured.startswith("gradients were left in 4 parameters, such as 0.weight")
    with torch.no_grad():
        linear.bias.copy_(torch.nextafter(linear.bias, torch.ones(2)))
    assert contract.state(network, before).flag == "changes-its-state"
    assert contract.state(lambda images: images, contract.tensors(None)).verdict == "fine"


def test_a_finding_has_a_flag_exactly_where_it_says_so() -> None:
    """A flag without the verdict would be lost in a table, and the other way round."""
    with pytest.raises(ValueError, match="expected a flag exactly with the verdict `flag`"):
        Finding(name="people", verdict="flag", measured="")
    with pytest.raises(ValueError, match="expected a flag exactly with the verdict `flag`"):
        Finding(name="people", verdict="note", measured="", flag="near-chance")
    with pytest.raises(ValueError, match="expected one of features, "):
        Finding(name="persons", verdict="fine", measured="")


def inspection(*findings: Finding) -> Inspection:
    """A made-up inspection."""
    return Inspection(
        label="m\x1b[31m",
        architecture="onnx",
        sha256="0123456789abcdef",
        dataset="mini",
        n_query=24,
        n_gallery=48,
        device="cpu: x86_64",
        threads=2,
        torch="2.13.0",
        findings=findings,
        epsilon="4/255",
        seconds=7.2,
    )


def test_an_inspection_reads_as_a_table() -> None:
    """A line a check, remedies below, a verdict at the end; names from files of others cannot colour the terminal."""
    found = inspection(
        Finding(name="features", verdict="fine", measured="(8, 4), finite"),
        flagged("people", "clean mAP 13.0", "near-chance"),
    )
    lines = inspection_text(found).splitlines()
    assert lines[0] == (
        "m\\x1b[31m (onnx, sha256 0123456789ab) on 24 queries and 48 gallery images of mini; cpu: x86_64, 2 threads, "
        "torch 2.13.0"
    )
    assert lines[2:6] == [
        "check     result  measured",
        "--------  ------  --------------",
        "features  fine    (8, 4), finite",
        "people    FLAG    clean mAP 13.0",
    ]
    assert lines[7:9] == ["What to do:", f"  people (near-chance): {FLAGS['near-chance'].what_to_do}"]
    assert lines[-1] == ("m\\x1b[31m can be scored; its numbers will be doubted: near-chance (docs/flags.md). (7 s)")
    broken = inspection(Finding(name="features", verdict="fails", measured="NaN", remedy="mend it"))
    assert inspection_text(broken).splitlines()[-1] == "m\\x1b[31m cannot be scored: features. (7 s)"
    good = inspection(Finding(name="features", verdict="fine", measured="finite"))
    assert inspection_text(good).splitlines()[-1] == "m\\x1b[31m keeps the contract. (7 s)"
    record = inspection_record(found)
    assert (record["can_be_scored"], record["flags"], record["findings"][1]["flag"]) == (
        True,
        ["near-chance"],
        "near-chance",
    )


def test_a_few_people_are_copied_out_of_a_set(write_people: Any, tmp_path: Path) -> None:
    """Those that can be recognised, evenly over the set, and a few images of each, of many cameras first."""
    root = write_people(tmp_path / "my set", people=range(1, 41), size=(8, 4))
    request = copied_people(root, tmp_path / "few")
    again = copied_people(root, tmp_path / "again")
    assert request.label == "my-set"
    kept = sorted(path.relative_to(tmp_path / "few") for path in (tmp_path / "few").rglob("*.png"))
    assert kept == sorted(path.relative_to(tmp_path / "again") for path in (tmp_path / "again").rglob("*.png"))
    people = {path.name[:4] for path in kept}
    assert len(people) == PEOPLE
    assert {"0001", "0040"} < people
    assert sum(path.parts[0] == "query" for path in kept) == PEOPLE  # the set has one each
    assert sum(path.parts[0] == "bounding_box_test" for path in kept) == 2 * PEOPLE
    assert QUERIES_EACH < GALLERY_EACH
    assert again.root == tmp_path / "again"


def test_a_set_in_which_nobody_can_be_recognised_is_refused(write_people: Any, tmp_path: Path) -> None:
    """Queries of some people and a gallery of others."""
    root = write_people(tmp_path / "a", people=[1, 2], size=(8, 4))
    for path in (root / "bounding_box_test").iterdir():
        path.rename(path.with_name("9" + path.name[1:]))
    with pytest.raises(UserError, match=r"no query has an image of the same person by another camera.* leave --data"):
        copied_people(root, tmp_path / "few")


def test_a_camera_comes_twice_only_after_all_have_come() -> None:
    """Order of the places that are taken."""
    from robustreid.benchmark.inspection.sample import _of_many_cameras

    wanted = np.array([True, True, True, False, True])
    assert _of_many_cameras(wanted, np.array([1, 1, 2, 3, 1])) == [0, 2, 1, 4]
