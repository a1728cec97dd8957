"""`submission.yaml`: what it may hold, and that it says the same as a grid where both say it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from robustreid import UserError
from robustreid.benchmark.config.schema import ModelEntry as GridModelEntry
from robustreid.leaderboards.submission.description import read_description, read_folder
from robustreid.leaderboards.submission.findings import BundleError
from robustreid.leaderboards.submission.schema import KEYS, ModelEntry
from robustreid.leaderboards.submission.strict_yaml import read_yaml

DOCUMENTED = Path(__file__).resolve().parents[3] / "docs" / "submitting.md"


def test_every_key_comes_back(making: Any) -> None:
    """In plain values, frozen; a single track is a list of one."""
    text = making.YAML.replace("adaptive_attack: null", "adaptive_attack: {name: own, transforms: [di], eot: 20}")
    text = text.replace("normalise: imagenet", "defence: [{name: jpeg, quality: 60}, blur]\n  input_size: [256, 128]")
    found = read_description(text)
    assert (found.name, found.title, found.licence) == ("mine", "A defence, 4/255 < 8/255", "MIT")
    assert (found.authors, found.tracks) == (("First Author", "Second Author"), ("market1501-query-4",))
    assert (found.contact, found.training_epsilon) == ("first@example.org", "8/255")
    assert found.paper == "https://arxiv.org/abs/1706.06083"
    assert dict(found.adaptive_attack or {}) == {"name": "own", "transforms": ["di"], "eot": 20}
    assert dict(found.model_entry) == {
        "weights": "weights.safetensors",
        "architecture": "tinynet",
        "input_size": [256, 128],
        "defence": [{"name": "jpeg", "quality": 60}, {"name": "blur"}],
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        found.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        found.model_entry["plugin"] = "os:system"  # type: ignore[index]


def test_a_model_is_what_a_grid_calls_one() -> None:
    """The same keys, without the name, the zoo and code."""
    assert set(ModelEntry.model_fields) == set(GridModelEntry.model_fields) - {"name", "zoo", "plugin"}


def test_every_key_is_documented() -> None:
    """In the table of docs/submitting.md."""
    text = DOCUMENTED.read_text()
    assert [key for keys in (KEYS[""], KEYS["model"]) for key in keys if f"`{key}`" not in text] == []


def test_every_problem_is_reported_at_once(making: Any) -> None:
    """With its line, its key and the nearest name; the error carries them all and its exit code is 4."""
    text = making.YAML.replace("licence: MIT", "lisence: MIT").replace("schema: 1", "schema: 2")
    with pytest.raises(BundleError, match=r"schema: expected 1.*\(SUB107\) \(and 2 more\)") as caught:
        read_description(text)
    assert caught.value.exit_code == 4
    said = {fault.place: fault.problem for fault in caught.value.faults}
    assert said["submission.yaml:8: lisence"] == "unknown key 'lisence'. Did you mean 'licence'?"
    assert said["submission.yaml:1"] == "the key 'licence' is missing; add it."


def test_a_folder_without_one_is_the_users_to_mend(tmp_path: Path) -> None:
    """Exit code 2, and the command that begins one."""
    with pytest.raises(UserError, match="robustreid submit init") as caught:
        read_folder(tmp_path)
    assert caught.value.exit_code == 2


def test_variables_mean_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are refused in a description; in a grid, where data roots have them, they stay as they are written."""
    monkeypatch.setenv("SECRET", "hunter2")
    document, faults = read_yaml(b"root: '${SECRET}/x'\n", "x.yml")
    assert document is None
    assert [fault.code for fault in faults] == ["SUB106"]
    document, faults = read_yaml(b"root: '${SECRET}/x'\n", "x.yml", variables=True)
    assert faults == ()
    assert document is not None
    assert "hunter2" not in repr(document)


def test_work_is_bounded_by_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However much text follows, no more than the first levels and values are looked at."""
    from ruamel.yaml import YAML

    taken = 0
    whole = YAML.parse

    def counted(self: Any, stream: Any) -> Any:
        nonlocal taken
        for event in whole(self, stream):
            taken += 1
            yield event

    monkeypatch.setattr(YAML, "parse", counted)
    assert read_yaml(b"[" * 8_000, "x.yml")[0] is None
    assert taken < 20
    assert read_yaml(b"- a\n" * 8_000, "x.yml")[0] is None
    assert taken < 4_100
