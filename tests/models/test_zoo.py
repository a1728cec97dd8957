"""Published models: found where the user put them, by digest."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import platformdirs
import pytest
import torch
from robustreid import InvalidFileError, UserError
from robustreid.models import zoo
from robustreid.models.catalogue import ARCHITECTURES
from robustreid.models.weights.entry import MADE_OF, ZooFile
from robustreid.models.weights.files import file_sha256
from robustreid.models.weights.published import PUBLISHED
from robustreid.models.zoo import ZOO, embedded_folder, find, forms
from safetensors.torch import save_file

NAME = "person-reidentification-retail-0031"


@pytest.fixture
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for the user's own; no other is set."""
    monkeypatch.delenv("ROBUSTREID_WEIGHTS", raising=False)
    monkeypatch.setattr(platformdirs, "user_data_path", lambda name: tmp_path / name)
    folder = tmp_path / "robustreid" / "weights"
    folder.mkdir(parents=True)
    return folder


#: Those with weights of their own.
EMBEDDED = sorted(name for name, entry in ZOO.items() if entry.is_embedded and not entry.defence)


PROGRAMS = {form.name: form for entry in ZOO.values() for form in forms(entry) if form.architecture == "onnx"}


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_every_onnx_file_is_found(real_data: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Name, file and digest of the table are those of the real file; it stands in where published files are absent."""
    monkeypatch.setenv("ROBUSTREID_WEIGHTS", str(real_data / "weights"))
    entry, path = find(name)
    assert (entry, real_data / "weights" / entry.file) == (PROGRAMS[name], path)
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
    """All weights together are under 3.5 MB, and each network under 500 thousand parameters."""
    assert sum(path.stat().st_size for path in embedded_folder().glob("*.safetensors")) < 3_500_000
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
    file = PROGRAMS[NAME].file
    (user_folder / file).write_bytes((real_data / "weights" / file).read_bytes())
    assert find(NAME)[1] == user_folder / file


def test_absent_weights_say_where_to_get_them(user_folder: Path) -> None:
    """The message has the command, each file with digest and address, and both places."""
    with pytest.raises(UserError) as caught:
        find(NAME)
    parts = [part for file in ZOO[NAME].files for part in (file.name, file.digest, file.url)]
    for part in (*parts, f"robustreid data weights {NAME}", "$ROBUSTREID_WEIGHTS", str(user_folder)):
        assert part in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_conversion_without_an_address_says_so(user_folder: Path) -> None:
    """Nothing is claimed that cannot be fetched."""
    with pytest.raises(UserError, match=r"has no address of its own; put a copy of it into the folder") as caught:
        find("osnet_x0_25_msmt17")
    assert "fetches them" not in str(caught.value)
    assert str(user_folder) in str(caught.value)


UNPINNED = sorted(name for name, entry in ZOO.items() if not entry.is_pinned)


@pytest.mark.parametrize("name", UNPINNED)
def test_without_a_digest_nothing_is_used_by_name(user_folder: Path, name: str) -> None:
    """Whatever lies there under its name; the message says how to use the file under the user's own responsibility."""
    for file in (ZOO[name].file, ZOO[name].files[0].name):
        (user_folder / file).write_bytes(b"anything")
    with pytest.raises(UserError, match=f"no digest of {name}.pth is known.*architecture: {ZOO[name].architecture}"):
        find(name)


def test_the_published_file_goes_first(user_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both there: the published pair is taken, its other file checked as well."""
    published = tuple(replace(file, digest=hashlib.sha256(file.name.encode()).hexdigest()) for file in ZOO[NAME].files)
    monkeypatch.setitem(zoo.ZOO, NAME, replace(ZOO[NAME], files=published))
    for file in (*published, *PROGRAMS[NAME].files):
        (user_folder / file.name).write_bytes(file.name.encode())
    assert find(NAME) == (zoo.ZOO[NAME], user_folder / f"{NAME}.xml")
    (user_folder / f"{NAME}.bin").write_bytes(b"something else")
    with pytest.raises(InvalidFileError, match=rf"{NAME}\.bin' has sha256 .*expected {published[1].digest}"):
        find(NAME)
    (user_folder / f"{NAME}.bin").unlink()
    with pytest.raises(InvalidFileError, match=rf"{NAME}\.onnx' has sha256"):
        find(NAME)


def test_a_converted_file_says_what_it_was_made_of(user_folder: Path) -> None:
    """That of the pinned checkpoint is taken; without that mark, or with another, it is refused."""
    name = "torchreid_osnet_x0_25_msmt17"
    path = user_folder / ZOO[name].file
    save_file({"x": torch.ones(1)}, path, metadata={MADE_OF: ZOO[name].files[0].digest})
    assert find(name) == (ZOO[name], path)
    for metadata in ({MADE_OF: "0" * 64}, None):
        save_file({"x": torch.ones(1)}, path, metadata=metadata)
        with pytest.raises(InvalidFileError, match=f"expected {ZOO[name].files[0].digest}"):
            find(name)
    path.write_bytes(b"short")
    with pytest.raises(InvalidFileError, match="made of nothing"):
        find(name)


def test_every_address_is_https_and_every_publication_has_one() -> None:
    """What is fetched comes over TLS; every model that Open Model Zoo has published is complete."""
    files = [file for entry in PUBLISHED for file in entry.files]
    assert all(file.url.startswith("https://") for file in files if file.url)
    assert [file.name for file in files if not file.url] == ["osnet_x0_25_msmt17.onnx"]
    intel = {entry.name[-4:] for entry in PUBLISHED if entry.architecture == "ir-bgr255"}
    assert intel == {"0031", "0265", "0277", "0286", "0287", "0288"}
    assert all(file.size and file.digest for entry in PUBLISHED if entry.name[-4:] in intel for file in entry.files)


@pytest.mark.parametrize(
    "wrong", [{"digest": "0" * 63}, {"digest": "x" * 64}, {"digest": "0" * 64, "algorithm": "md5"}]
)
def test_a_digest_has_its_form(wrong: dict[str, Any]) -> None:
    """A digest with a letter too few, or of an unknown kind, never enters the table."""
    with pytest.raises(ValueError, match="has the digest"):
        ZooFile(name="f", **wrong)


def test_another_file_of_that_name_is_refused(user_folder: Path) -> None:
    """A wrong digest is an invalid file (4), never used."""
    (user_folder / PROGRAMS[NAME].file).write_bytes(b"something else")
    with pytest.raises(InvalidFileError, match=f"expected {PROGRAMS[NAME].sha256}"):
        find(NAME)


def test_an_unknown_name_has_the_nearest() -> None:
    """A typo is answered with the name that was meant."""
    with pytest.raises(UserError, match=r"Unknown zoo model 'osnet_x0_25_msmt71'\. Did you mean 'osnet_x0_25_msmt17'"):
        find("osnet_x0_25_msmt71")


def test_the_docs_table_is_the_zoo() -> None:
    """Every entry stands in docs/models.md with its licence and source, every file with size, digest and address."""
    lines = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text(encoding="utf-8").splitlines()
    for entry in ZOO.values():
        (line,) = [line for line in lines if line.startswith(f"| `{entry.name}` |") and entry.licence in line]
        assert entry.source in line
        assert all(data in line for data in entry.trained_on)
        assert not entry.is_embedded or entry.sha256 in line
        for file in (file for form in forms(entry) if not form.is_embedded for file in form.files):
            (line,) = [line for line in lines if line.startswith(f"| `{file.name}` |")]
            assert file.digest in line
            assert file.url in line
            assert (f"{file.size:,}" if file.size else "") in line
            assert not file.digest or file.algorithm in line


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
