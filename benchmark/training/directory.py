"""The folder of one training: what lies where, who may write it, and whether it is the one that was asked for."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ... import UserError
from ...models.training.metric_losses import library_version
from ..store.files import file_system_errors


@dataclass(frozen=True)
class TrainingDirectory:
    """Paths of one training."""

    path: Path

    def __post_init__(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise UserError(f"{str(self.path)!r} is a file; give a folder for the training.")

    @property
    def weights(self) -> Path:
        """The trained network, without its classifier."""
        return self.path / "weights.safetensors"

    @property
    def card(self) -> Path:
        """What the weights are; written last."""
        return self.path / "card.json"

    @property
    def log(self) -> Path:
        """A line an epoch."""
        return self.path / "log.csv"

    @property
    def checkpoint(self) -> Path:
        """The state after the last finished epoch."""
        return self.path / "checkpoint" / "state.safetensors"

    def best(self, epoch: int) -> Path:
        """The weights of an epoch that was the best when it ended, where one is to be chosen."""
        return self.checkpoint.parent / f"best-{epoch}.safetensors"

    def keep_best(self, epoch: int) -> None:
        """Remove the best of other epochs."""
        with file_system_errors(self.path):
            for file in self.checkpoint.parent.glob("best-*.safetensors"):
                if file != self.best(epoch):
                    file.unlink(missing_ok=True)

    @property
    def figure(self) -> Path:
        """The log as a picture."""
        return self.path / "training.svg"

    @property
    def validation(self) -> Path:
        """The run directory with the rows of people who are kept out of training."""
        return self.path / "validation"

    @property
    def scores(self) -> Path:
        """The run directory that the card's scores come from."""
        return self.path / "scores"

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises:
            UserError: another process trains into it.
            StorageError: the folder cannot be made or written.
        """
        from filelock import FileLock, Timeout

        with file_system_errors(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.path / ".lock")
            try:
                lock.acquire(timeout=0.5, poll_interval=0.05)
            except Timeout:  # which is an OSError, so it has to be caught first
                raise UserError(f"Another process trains into {str(self.path)!r}; wait for it.") from None
        try:
            with file_system_errors(self.path):
                for part in (*self.path.glob(".*.part"), *self.checkpoint.parent.glob(".*.part")):
                    part.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    def clear(self) -> None:
        """Forget an earlier training."""
        with file_system_errors(self.path):
            best = self.checkpoint.parent.glob("best-*.safetensors")
            for file in (self.card, self.weights, self.log, self.figure, self.checkpoint, *best):
                file.unlink(missing_ok=True)
            for folder in (self.validation, self.scores):
                shutil.rmtree(folder, ignore_errors=True)
        self.tidy()

    def tidy(self) -> None:
        """Remove what was made beforehand for a training that is done."""
        with file_system_errors(self.path):
            for file in self.checkpoint.parent.glob("adversarial-*.npy"):
                file.unlink(missing_ok=True)


def circumstances(device: torch.device, *, is_compiled: bool = False, has_library: bool = False) -> dict[str, Any]:
    """What may change the weights: a training that goes on elsewhere says so.

    Args:
        device: where it is computed.
        is_compiled: whether the network's passes are compiled.
        has_library: whether a loss of pytorch-metric-learning counts.
    """
    found: dict[str, Any] = {"device": device.type, "threads": torch.get_num_threads(), "torch": torch.__version__}
    if has_library:
        found["pytorch-metric-learning"] = library_version()
    return {**found, "compiled": is_compiled}


def changes(facts: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """What of the circumstances that a checkpoint was written in is another now; empty where nothing is."""
    return "; ".join(
        f"{key} {facts.get(key)} then, {value} now" for key, value in now.items() if facts.get(key) != value
    )


def refuse_other(directory: TrainingDirectory, found: dict[str, Any], asked: dict[str, Any]) -> None:
    """UserError where the folder holds what was made of something else.

    Args:
        directory: the folder.
        found: the digests of what it holds, by name.
        asked: those that are wanted.
    """
    words = {
        "recipe_sha256": "another recipe",
        "data_sha256": "other training images",
        "training_version": "another version of the training loop",
    }
    other = [words[key] for key in asked if found[key] != asked[key]]
    if other:
        raise UserError(
            f"{str(directory.path)!r} holds a training with {' and '.join(other)}; choose another --out, or start it "
            f"from the beginning with --again."
        )
