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
from robustreid.benchmark.perturbations import MAX_BYTES, perturbation_bytes, read_perturbation
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
