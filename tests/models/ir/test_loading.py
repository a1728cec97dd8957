"""From an IR's path to an embedder: which architecture it is, what identifies it, what it is fed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from robustreid import InvalidFileError, UserError
from robustreid.models import zoo
from robustreid.models.base import NORMALISATIONS
from robustreid.models.load import build, resolve

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
IMAGES = torch.rand((2, 3, 8, 6), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def path(draft: Any) -> Path:
    """Means of the channels, each in columns of its own: a feature that tells colours apart."""
    pooled = draft.layer("ReduceMean", draft.x, draft.ints(2, 3), keep_dims="false", shape=(-1, 3))
    written: Path = draft.write(draft.layer("MatMul", pooled, draft.const(COLUMNS), shape=(-1, 5)))
    return written


def test_an_ir_is_resolved_from_its_path(path: Path) -> None:
    """Architecture `ir`, size from the graph, no normalisation; `.XML` is the same."""
    spec = resolve(label="m", weights=path, metric="euclidean")
    assert (spec.architecture, spec.input_size, spec.normalise) == ("ir", (8, 6), NORMALISATIONS["none"])
    torch.testing.assert_close(build(spec)(IMAGES), IMAGES.mean((2, 3)) @ torch.from_numpy(COLUMNS))


def test_the_digest_is_over_both_files(path: Path) -> None:
    """Another byte in either is another model, and one that changes before it is built is refused."""
    spec = resolve(label="m", weights=path)
    assert (
        spec.sha256
        == hashlib.sha256(
            "".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in (path, path.with_suffix(".bin"))).encode()
        ).hexdigest()
    )
    path.with_suffix(".bin").write_bytes(path.with_suffix(".bin").read_bytes() + b"x")
    assert resolve(label="m", weights=path).sha256 != spec.sha256
    with pytest.raises(InvalidFileError, match="changed after it was looked at"):
        build(spec)


def test_bgr255_is_part_of_what_identifies_it(path: Path) -> None:
    """The same files fed in another way are another model; blue comes first, in counts."""
    plain, turned = (
        resolve(label="m", weights=path, architecture=name, metric="euclidean") for name in ("ir", "ir-bgr255")
    )
    assert plain.sha256 == turned.sha256
    assert plain.identity() != turned.identity()
    expected = 255 * IMAGES.flip(1).mean((2, 3)) @ torch.from_numpy(COLUMNS)
    torch.testing.assert_close(build(turned)(IMAGES), expected, rtol=1e-5, atol=1e-3)


def test_a_zoo_entry_is_fed_as_its_network_expects(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by name, both digests checked; the entry alone says that the file takes BGR in 0..255."""
    name = "person-reidentification-retail-0286"
    entry = zoo.ZOO[name]
    files = []
    for file, source in zip(entry.files, (path, path.with_suffix(".bin")), strict=True):
        source.rename(path.with_name(file.name))
        digest = hashlib.sha384(path.with_name(file.name).read_bytes()).hexdigest()
        files.append(replace(file, digest=digest))
    monkeypatch.setitem(zoo.ZOO, name, replace(entry, files=tuple(files)))
    monkeypatch.setenv("ROBUSTREID_WEIGHTS", str(path.parent))
    found, weights = zoo.find(name)
    spec = resolve(label=name, architecture=found.architecture, weights=weights, normalise=found.normalise)
    means = torch.nn.functional.normalize(IMAGES.flip(1).mean((2, 3)) @ torch.from_numpy(COLUMNS))
    torch.testing.assert_close(build(spec)(IMAGES), means, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("architecture", "ending", "said"),
    [
        ("osnet_x0_25", ".xml", "which brings its own; leave one of the two out"),
        ("onnx", ".xml", "which brings its own"),
        ("ir", ".onnx", "which brings its own"),
        ("ir-bgr", ".xml", r"Unknown architecture 'ir-bgr'\. Did you mean 'ir-bgr255'"),
    ],
)
def test_contradictions_are_one_sentence(path: Path, architecture: str, ending: str, said: str) -> None:
    """A program is what its ending says."""
    with pytest.raises(UserError, match=said):
        resolve(label="m", architecture=architecture, weights=path.with_suffix(ending))


def test_a_missing_bin_is_one_sentence(path: Path) -> None:
    """It is named."""
    path.with_suffix(".bin").unlink()
    with pytest.raises(UserError, match=r"model\.bin' does not exist"):
        resolve(label="m", weights=path)
