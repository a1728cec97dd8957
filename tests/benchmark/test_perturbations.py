"""Files of fitted perturbations: what is written is read back, and what is none is refused with its reason."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
import torch
from robustreid import InvalidFileError, UserError
from robustreid.benchmark.config.schema import AttackEntry
from robustreid.benchmark.perturbations import MAX_BYTES, attack_of, perturbation_bytes, read_perturbation
from robustreid.models.training.checkpoint import pack

FACTS = {
    "procedure": "muap",
    "epsilon": "8/255",
    "model": "tiny",
    "model_sha256": "a" * 64,
    "data_sha256": "b" * 64,
}
DELTA = torch.linspace(-8 / 255, 8 / 255, 24).view(3, 4, 2)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Tensor, facts and the digest of the file; equal arguments give equal bytes."""
    path = tmp_path / "p.safetensors"
    path.write_bytes(perturbation_bytes(DELTA, FACTS))
    found = read_perturbation(path)
    assert torch.equal(DELTA, found.delta)
    assert found.sha256 == str(found) == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.procedure, found.epsilon, found.model) == ("muap", Fraction(8, 255), "tiny")
    assert (found.model_sha256, found.data_sha256) == ("a" * 64, "b" * 64)
    assert path.read_bytes() == perturbation_bytes(DELTA, FACTS)


def test_a_missing_file_is_a_wrong_request(tmp_path: Path) -> None:
    """Exit code 2, as for any path; a folder is no file."""
    for path in (tmp_path / "none.safetensors", tmp_path):
        with pytest.raises(UserError, match="There is no file") as refused:
            read_perturbation(path)
        assert refused.value.exit_code == 2


def without(key: str) -> bytes:
    """A file whose facts lack one."""
    return perturbation_bytes(DELTA, {name: value for name, value in FACTS.items() if name != key})


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (lambda: b"not safetensors", "no safetensors file"),
        (lambda: pack({"perturbation": DELTA}, {})[:-8], "no safetensors file"),
        (lambda: pack({"weight": DELTA}, FACTS), "lacks 'perturbation'"),
        (lambda: pack({"perturbation": DELTA, "other": DELTA}, FACTS), "one float32 tensor"),
        (lambda: pack({"perturbation": DELTA.double()}, FACTS), "one float32 tensor"),
        (lambda: perturbation_bytes(2 * DELTA, FACTS), "within its epsilon"),
        (lambda: perturbation_bytes(DELTA[:2], FACTS), "3, H, W"),
        (lambda: perturbation_bytes(DELTA * float("inf"), FACTS), "finite"),
        (lambda: perturbation_bytes(DELTA, {**FACTS, "procedure": "magic"}), "fitted by 'magic'"),
        (lambda: perturbation_bytes(DELTA, {**FACTS, "epsilon": "8"}), "ambiguous"),
        (lambda: perturbation_bytes(DELTA, {**FACTS, "model_sha256": "xyz"}), "64 hexadecimal digits"),
        (lambda: perturbation_bytes(DELTA, {**FACTS, "model": 3}), "expected text"),
        *((lambda key=key: without(key), f"lacks '{key}'") for key in FACTS),
    ],
)
def test_what_is_no_perturbation(tmp_path: Path, content: Callable[[], Any], said: str) -> None:
    """Exit code 4, one sentence with the file and what is wrong."""
    path = tmp_path / "p.safetensors"
    path.write_bytes(content())
    with pytest.raises(InvalidFileError, match=said) as refused:
        read_perturbation(path)
    assert refused.value.exit_code == 4
    assert str(path) in str(refused.value)


def test_a_file_of_any_size_is_not_loaded(tmp_path: Path) -> None:
    """More bytes than any image needs are refused before they are read."""
    path = tmp_path / "p.safetensors"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InvalidFileError, match="bytes"):
        read_perturbation(path)


def write_splits(folder: Path, numbers: range = range(1, 11), **changes: str) -> None:
    """A perturbation for each split."""
    for number in numbers:
        facts = {**FACTS, "model_sha256": f"{number:064x}", **changes}
        (folder / f"muap_{number}.safetensors").write_bytes(perturbation_bytes(DELTA / number, facts))


def entry(path: str, name: str = "muap") -> AttackEntry:
    """A grid's."""
    return AttackEntry(name=name, perturbation=path)  # type: ignore[call-arg]


def test_a_file_a_split(tmp_path: Path) -> None:
    """`{trial}` is 1 to 10, in the name of the file or of a folder; without it one file is read."""
    write_splits(tmp_path)
    found = attack_of(entry("muap_{trial}.safetensors"), lambda text: tmp_path / text)
    models = [found.of_trial(number).perturbation.model_sha256 for number in range(10)]  # type: ignore[union-attr]
    assert models == [f"{number:064x}" for number in range(1, 11)]
    digests = [hashlib.sha256((tmp_path / f"muap_{n}.safetensors").read_bytes()).hexdigest() for n in range(1, 11)]
    assert found.parameters()["perturbation"] == digests
    for number in range(1, 11):
        (tmp_path / f"split-{number}").mkdir()
        (tmp_path / f"muap_{number}.safetensors").rename(tmp_path / f"split-{number}" / "p.safetensors")
    assert attack_of(entry("split-{trial}/p.safetensors"), lambda text: tmp_path / text) == found
    one = attack_of(entry("split-3/p.safetensors"), lambda text: tmp_path / text)
    assert one == found.of_trial(2)
    assert one.by_trial == ()


@pytest.mark.parametrize(
    ("spoil", "kind", "said"),
    [
        (lambda folder: (folder / "muap_7.safetensors").unlink(), UserError, "muap_7"),
        (lambda folder: (folder / "muap_7.safetensors").write_bytes(b"x"), InvalidFileError, "no safetensors file"),
        (
            lambda folder: (folder / "muap_7.safetensors").write_bytes((folder / "muap_2.safetensors").read_bytes()),
            UserError,
            "splits 2 and 7 have the same",
        ),
        (lambda folder: write_splits(folder, range(7, 8), epsilon="9/255"), UserError, "2 different epsilons"),
        (lambda folder: write_splits(folder, range(7, 8), procedure="cmps"), UserError, "was fitted by cmps"),
    ],
)
def test_splits_that_do_not_belong_together(
    tmp_path: Path, spoil: Callable[[Path], Any], kind: type[UserError], said: str
) -> None:
    """A missing one, one that is no perturbation, one twice, another size, another procedure."""
    write_splits(tmp_path)
    spoil(tmp_path)
    with pytest.raises(kind, match=said):
        attack_of(entry("muap_{trial}.safetensors"), lambda text: tmp_path / text)
