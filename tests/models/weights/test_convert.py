"""Pickles of known digest become safetensors; whatever holds more than tensors stays unread."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from robustreid import InvalidFileError
from robustreid.models.architectures.osnet import osnet_x0_25
from robustreid.models.weights.entry import ZooEntry, ZooFile
from robustreid.models.weights.fetch import fetch
from robustreid.models.weights.files import load_safetensors, made_of

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    """An OSNet with random weights and statistics."""
    torch.manual_seed(0)
    made = osnet_x0_25().eval()
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return made


@pytest.fixture
def publish(site: Any, tmp_path: Path) -> Callable[..., ZooEntry]:
    """A function that puts a checkpoint on the server and gives its entry."""

    def put(checkpoint: Any, **how: Any) -> ZooEntry:
        path = tmp_path / "saved.pth"
        torch.save(checkpoint, path, **how)
        site.files["/c.pth"] = content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        return ZooEntry(
            name="c",
            architecture="osnet_x0_25",
            files=(ZooFile(name="c.pth", digest=digest, url=f"{site.address}/c.pth"),),
            converted="c.safetensors",
            licence="none",
            source="here",
            trained_on=(),
            normalise="imagenet",
            metric="euclidean",
            note="a test",
        )

    return put


@pytest.mark.parametrize("old_format", [False, True])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_checkpoint_becomes_safetensors(
    network: torch.nn.Module,
    publish: Callable[..., ZooEntry],
    meters: Any,
    tmp_path: Path,
    *,
    wrapped: bool,
    old_format: bool,
) -> None:
    """As torchreid writes them: names with `module.`, a classifier, maybe inside of a dictionary; the same numbers."""
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    state["module.classifier.weight"] = torch.ones(751, 512)
    entry = publish(
        {"state_dict": state, "epoch": 3} if wrapped else state, _use_new_zipfile_serialization=not old_format
    )
    path = fetch(entry, tmp_path / "to", start=meters)
    assert (path.name, made_of(path)) == ("c.safetensors", entry.files[0].digest)
    twin = osnet_x0_25()
    load_safetensors(twin, path)
    assert all(torch.equal(value, network.state_dict()[name]) for name, value in twin.state_dict().items())


def test_what_is_converted_is_not_fetched_again(
    network: torch.nn.Module, publish: Callable[..., ZooEntry], site: Any, meters: Any, tmp_path: Path
) -> None:
    """Also when the pickle was removed; a converted file of another checkpoint is made anew; the bytes are the same."""
    entry = publish(network.state_dict())
    path = fetch(entry, tmp_path / "to", start=meters)
    first = path.read_bytes()
    path.with_name("c.pth").unlink()
    site.asked.clear()
    assert fetch(entry, tmp_path / "to", start=meters) == path
    assert site.asked == []
    path.write_bytes(first.replace(entry.files[0].digest.encode(), b"0" * 64))
    fetch(entry, tmp_path / "to", start=meters)
    assert (path.read_bytes(), len(site.asked)) == (first, 1)


class _Runs:
    """Writes a file when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path("ran").touch, ())


def test_a_pickle_that_runs_code_does_not_run(
    network: torch.nn.Module,
    publish: Callable[..., ZooEntry],
    meters: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Even with the right digest: only tensors and plain containers are built."""
    monkeypatch.chdir(tmp_path)
    entry = publish({"state_dict": network.state_dict(), "extra": _Runs()})
    with pytest.raises(InvalidFileError, match="holds more than tensors"):
        fetch(entry, tmp_path / "to", start=meters)
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path / "to" / "c.safetensors").exists()


@pytest.mark.parametrize("change", ["missing", "shape", "list"])
def test_tensors_that_do_not_fit_are_refused(
    network: torch.nn.Module, publish: Callable[..., ZooEntry], meters: Any, tmp_path: Path, change: str
) -> None:
    """A checkpoint of another network leaves no converted file."""
    state: Any = dict(network.state_dict())
    if change == "missing":
        state.pop("conv1.conv.weight")
    elif change == "shape":
        state["conv1.conv.weight"] = torch.ones(1)
    else:
        state = [1, 2]
    with pytest.raises(InvalidFileError, match="does not fit OSNet"):
        fetch(publish(state), tmp_path / "to", start=meters)
    assert sorted(path.name for path in (tmp_path / "to").iterdir()) == [".c.lock", "c.pth"]
