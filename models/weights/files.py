"""Weights from safetensors files, and the digest that identifies a file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from ... import InvalidFileError, UserError
from .entry import MADE_OF

if TYPE_CHECKING:
    from torch import Tensor, nn

#: How many names of a kind a message shows.
N_SHOWN = 3
#: A longer header of a safetensors file is none of ours.
_MAX_HEADER = 2**20
ONLY_SAFE_FORMATS = (
    "only safetensors, ONNX and IR files are read, because a pickle runs code: convert it where you trust it with "
    "safetensors.torch.save_file(state_dict, path)"
)


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, hexadecimal. UserError where there is no such file."""
    return file_digest(path, "sha256")


def file_digest(path: Path, algorithm: str) -> str:
    """The digest of a file's bytes by an algorithm of hashlib's, hexadecimal. UserError where there is no such file."""
    if not path.is_file():
        raise UserError(f"The weights file {str(path)!r} does not exist; check the path.")
    with path.open("rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def weights_sha256(path: Path) -> str:
    """The digest that identifies what lies in `path`: of the file's bytes; of both files where it is an IR's .xml.

    Raises:
        UserError: where a file does not exist.

    """
    if path.suffix.lower() != ".xml":
        return file_sha256(path)
    both = file_sha256(path) + file_sha256(path.with_suffix(".bin"))
    return hashlib.sha256(both.encode()).hexdigest()


def made_of(path: Path) -> str:
    """The digest of what a converted file was made of, as it says; empty where it says nothing. Without torch."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = file.read(length) if length <= _MAX_HEADER else b""
    try:
        noted = json.loads(header)["__metadata__"][MADE_OF]
    except (ValueError, KeyError, TypeError):
        return ""
    return str(noted)


def load_safetensors(network: nn.Module, path: Path) -> None:
    """Fill every parameter and buffer of `network` from a safetensors file, and nothing else.

    A leading `module.` is dropped from the file's names; names that start with one of the network's `ignored_prefixes`
    (a training head) are passed over, and `num_batches_tracked` is optional.

    Raises:
        UserError: where there is no such file.
        InvalidFileError: where it is not safetensors, a name is missing, unknown or has another shape, or a number is
            NaN or infinite; the network is left as it was.

    """
    import torch

    ignored = tuple(getattr(network, "ignored_prefixes", ()))
    state = {
        name: tensor
        for name, tensor in _read(path).items()
        if not name.startswith(ignored) or name in network.state_dict()
    }
    wanted = network.state_dict()
    optional = {name for name in wanted if name.endswith("num_batches_tracked")}
    faults = [
        _listed("missing", wanted.keys() - state.keys() - optional),
        _listed("unexpected", state.keys() - wanted.keys() - {n for n in state if n.endswith("num_batches_tracked")}),
        _listed(
            "of another shape",
            (
                f"{name} {tuple(state[name].shape)} where {tuple(wanted[name].shape)} is expected"
                for name in wanted.keys() & state.keys()
                if state[name].shape != wanted[name].shape
            ),
        ),
    ]
    if any(faults):
        raise InvalidFileError(
            f"The weights file {str(path)!r} does not fit {type(network).__name__}: {'; '.join(filter(None, faults))}; "
            f"name the architecture that the file was saved from."
        )
    wrong = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if wrong:
        raise InvalidFileError(
            f"The weights file {str(path)!r} has NaN or infinite numbers, {_listed('in', wrong)}; "
            f"expected finite ones: save it from a checkpoint before training diverged."
        )
    with torch.no_grad():
        for name in wanted.keys() & state.keys():
            wanted[name].copy_(state[name])


def _read(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise UserError(f"The weights file {str(path)!r} does not exist; check the path.")
    try:
        state = load_file(path)
    except (SafetensorError, ValueError, KeyError):
        raise InvalidFileError(
            f"The weights file {str(path)!r} is not a safetensors file; {ONLY_SAFE_FORMATS}."
        ) from None
    return {name.removeprefix("module."): tensor for name, tensor in state.items()}


def _listed(what: str, names: Iterable[str]) -> str:
    """`3 missing (a, b, c)` with at most `N_SHOWN` names; an empty string where there are none."""
    known = sorted(names)
    if not known:
        return ""
    more = ", ..." if len(known) > N_SHOWN else ""
    return f"{len(known)} {what} ({', '.join(known[:N_SHOWN])}{more})"
