"""What a weights file was trained on: from its card, from the table of published models, or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from robustreid import InvalidFileError
from robustreid.models.load import resolve
from robustreid.models.weights.cards import Card, card_of, trained_on
from robustreid.models.weights.files import file_sha256
from robustreid.models.zoo import ZOO, embedded_folder, find


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file that nobody knows."""
    path = tmp_path / "w_3.safetensors"
    path.write_bytes(b"whatever it is")
    return path


def write(path: Path, **card: Any) -> None:
    path.write_text(json.dumps(card), encoding="utf-8")


@pytest.mark.parametrize("name", ["card.json", "w_3.json"])
def test_a_card_beside_it_says_so(weights: Path, name: str) -> None:
    """In the folder of a training, or under the name of the file."""
    assert trained_on(weights) is None
    write(weights.with_name(name), trained_on=["regdb"], trial=3)
    assert card_of(weights) == Card(trained_on=("regdb",), trial=3)
    spec = resolve(label="m", plugin="my:model", weights=weights)
    assert trained_on(spec) == ("regdb",)


def test_its_own_name_comes_first(weights: Path) -> None:
    """Ten files of ten splits may share a folder with one card."""
    write(weights.with_name("card.json"), trained_on=["sysu"])
    write(weights.with_suffix(".json"), trained_on=["regdb"], trial=3)
    assert card_of(weights) == Card(trained_on=("regdb",), trial=3)


def test_a_card_of_other_weights_says_nothing(weights: Path) -> None:
    """Its digest is that of another file; with the right one it counts."""
    write(weights.with_name("card.json"), trained_on=["sysu"], weights_sha256="0" * 64)
    assert trained_on(weights) is None
    write(weights.with_name("card.json"), trained_on=["sysu"], weights_sha256=file_sha256(weights))
    assert trained_on(weights) == ("sysu",)


@pytest.mark.parametrize("content", [b"", b"no JSON", b"[1]", b'{"model_type": "bert"}', b"\xff\xfe"])
def test_files_of_other_tools_say_nothing(weights: Path, content: bytes) -> None:
    """Many leave a JSON file beside their weights."""
    weights.with_suffix(".json").write_bytes(content)
    assert trained_on(weights) is None


@pytest.mark.parametrize(
    "card",
    [{"trained_on": "regdb"}, {"trained_on": [1]}, {"trained_on": ["regdb"], "trial": "3"}, {"trained_on": {}}],
)
def test_a_card_that_means_nothing_is_refused(weights: Path, card: dict[str, Any]) -> None:
    """Rather than taken for one that never saw the set."""
    write(weights.with_suffix(".json"), **card)
    with pytest.raises(InvalidFileError, match="expected a list of data set formats"):
        trained_on(weights)


def test_an_empty_list_is_an_answer_and_null_is_none(weights: Path) -> None:
    """It saw no data set; or nobody knows which."""
    write(weights.with_suffix(".json"), trained_on=[])
    assert trained_on(weights) == ()
    write(weights.with_suffix(".json"), trained_on=None)
    assert trained_on(weights) is None


def test_models_without_a_file_say_nothing(tmp_path: Path) -> None:
    """A plug-in that brings its own weights, and a file that is not there."""
    assert trained_on(resolve(label="m", plugin="my:model")) is None
    assert trained_on(tmp_path / "absent.safetensors") is None
    assert trained_on(None) is None


@pytest.mark.parametrize("name", sorted(name for name, entry in ZOO.items() if entry.is_embedded))
def test_shipped_weights_have_a_card_that_says_what_the_zoo_says(name: str) -> None:
    """Those of a defence in front of another model have that model's."""
    entry, path = find(name)
    assert path.parent == embedded_folder()
    assert trained_on(path) == entry.trained_on == ("synthetic",)


def test_published_weights_are_known_by_their_digest(real_data: Path, tmp_path: Path) -> None:
    """Whatever they are called; one byte more, and nothing is known."""
    content = (real_data / "weights" / "osnet_x0_25_msmt17.onnx").read_bytes()
    path = tmp_path / "mine.onnx"
    path.write_bytes(content)
    assert trained_on(path) == ("msmt17",)
    path.write_bytes(content + b"\0")
    assert trained_on(path) is None
