"""Published models: found where the user put them, by digest."""

from __future__ import annotations

import json
import os
from pathlib import Path

import platformdirs
import pytest
from robustreid import InvalidFileError, UserError
from robustreid.models.catalogue import ARCHITECTURES
from robustreid.models.weights.files import file_sha256
from robustreid.models.zoo import ZOO, embedded_folder, find

NAME = "person-reidentification-retail-0031"


@pytest.fixture
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for the user's own; no other is set."""
    monkeypatch.delenv("ROBUSTREID_WEIGHTS", raising=False)
    monkeypatch.setattr(platformdirs, "user_data_path", lambda name: tmp_path / name)
    folder = tmp_path / "robustreid" / "weights"
    folder.mkdir(parents=True)
    return folder


EMBEDDED = sorted(name for name, entry in ZOO.items() if entry.is_embedded)


@pytest.mark.parametrize("name", sorted(ZOO.keys() - set(EMBEDDED)))
def test_every_entry_is_found(real_data: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Name, file and digest of the table are those of the real file."""
    monkeypatch.setenv("ROBUSTREID_WEIGHTS", str(real_data / "weights"))
    entry, path = find(name)
    assert (name, real_data / "weights" / entry.file) == (entry.name, path)
    assert entry.sha256 == file_sha256(path)


@pytest.mark.parametrize("name", EMBEDDED)
def test_what_the_package_brings_is_there(name: str, user_folder: Path) -> None:
    """Found with nothing set up; its card is about this very file, and says recipe, data digest and scores."""
    entry, path = find(name)
    card = json.loads((embedded_folder() / f"{name}.json").read_text(encoding="utf-8"))
    assert entry.sha256 == card["weights_sha256"] == file_sha256(path)
    assert (card["name"], card["architecture"], card["metric"]) == (name, entry.architecture, entry.metric)
    assert len(card["data_sha256"]) == len(card["recipe_sha256"]) == 64
    assert {(score["attack"], score["side"]) for score in card["scores"]} >= {
        (attack, side) for attack in ("ama-ifgsm", "pgd", "noise") for side in ("query", "gallery")
    }
    assert name in os.fspath(path.relative_to(embedded_folder()))
    assert not list(user_folder.iterdir())


def test_what_the_package_brings_is_small() -> None:
    """All weights together are under 3 MB, and each network under 500 thousand parameters."""
    assert sum(path.stat().st_size for path in embedded_folder().glob("*.safetensors")) < 3_000_000
    for name in EMBEDDED:
        network = ARCHITECTURES.load(ZOO[name].architecture)()
        assert sum(parameter.numel() for parameter in network.parameters()) < 500_000


def test_a_file_in_the_users_folder_is_no_match_for_an_embedded_one(user_folder: Path) -> None:
    """Weights of ours are taken from the package alone."""
    (user_folder / ZOO["tiny"].file).write_bytes(b"something else")
    assert find("tiny")[1].parent == embedded_folder()


def test_the_users_folder_is_the_second_place(
    user_folder: Path, real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that the named folder lacks is taken from the user's data folder."""
    monkeypatch.setenv("ROBUSTREID_WEIGHTS", str(user_folder.parent))
    (user_folder / ZOO[NAME].file).write_bytes((real_data / "weights" / ZOO[NAME].file).read_bytes())
    assert find(NAME)[1] == user_folder / ZOO[NAME].file


def test_absent_weights_say_where_to_get_them(user_folder: Path) -> None:
    """The message has the file, its digest, the source and both places."""
    with pytest.raises(UserError) as caught:
        find(NAME)
    for part in (ZOO[NAME].file, ZOO[NAME].sha256, ZOO[NAME].source, "$ROBUSTREID_WEIGHTS", str(user_folder)):
        assert part in str(caught.value)
    assert caught.value.exit_code == 2


def test_another_file_of_that_name_is_refused(user_folder: Path) -> None:
    """A wrong digest is an invalid file (4), never used."""
    (user_folder / ZOO[NAME].file).write_bytes(b"something else")
    with pytest.raises(InvalidFileError, match=f"expected {ZOO[NAME].sha256}"):
        find(NAME)


def test_an_unknown_name_has_the_nearest() -> None:
    """A typo is answered with the name that was meant."""
    with pytest.raises(UserError, match=r"Unknown zoo model 'osnet_x0_25_msmt71'\. Did you mean 'osnet_x0_25_msmt17'"):
        find("osnet_x0_25_msmt71")


def test_the_docs_table_is_the_zoo() -> None:
    """Every entry stands in docs/models.md with its licence, source and digest."""
    lines = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text(encoding="utf-8").splitlines()
    for entry in ZOO.values():
        (line,) = [line for line in lines if line.startswith(f"| `{entry.name}` |") and entry.sha256 in line]
        assert all(word in line for word in (entry.licence, entry.source, entry.sha256))


@pytest.mark.parametrize("name", EMBEDDED)
def test_the_docs_scores_are_the_cards(name: str) -> None:
    """Every figure that docs/models.md prints of an embedded model stands on its card."""
    lines = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in lines if line.startswith(f"| `{name}` | ") and " / " in line]
    card = json.loads((embedded_folder() / f"{name}.json").read_text(encoding="utf-8"))
    scores = {(score["attack"], score["side"]): score for score in card["scores"]}

    def pair(attack: str, side: str, state: str) -> str:
        score = scores[attack, side]
        return f"{100 * score[f'rank1_{state}']:.2f} / {100 * score[f'mAP_{state}']:.2f}"

    attacked = [pair(attack, side, "attacked") for side in ("gallery", "query") for attack in ("ama-ifgsm", "pgd")]
    assert line.strip("| ").split(" | ")[1:] == [pair("noise", "query", "clean"), *attacked]
