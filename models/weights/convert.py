"""A published pickle of known digest, made a safetensors file that says of which bytes it was made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from ... import InvalidFileError
from .entry import MADE_OF, ZooEntry
from .files import load_safetensors


def convert(checkpoint: Path, target: Path, entry: ZooEntry) -> None:
    """Write the tensors of `checkpoint` that the entry's network has into `target`, which appears whole or not at all.

    The checkpoint is read by torch's loader that builds nothing but tensors and plain containers; its digest must have
    been checked before. Heads that only training needs are left out.

    Args:
        checkpoint: a state dict saved by torch, or a dictionary with one under `state_dict`.
        target: a safetensors file, replaced where it exists.
        entry: whose architecture the tensors must fit.

    Raises:
        InvalidFileError: where it holds anything else than tensors, or they do not fit.

    """
    import torch
    from safetensors.torch import save_file

    from ..catalogue import ARCHITECTURES

    try:
        loaded: Any = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InvalidFileError(
            f"The checkpoint {str(checkpoint)!r} holds more than tensors ({type(error).__name__}), so it is not read; "
            f"save its state dict with safetensors.torch.save_file(state_dict, FILE) where you trust it."
        ) from error
    state = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    network = ARCHITECTURES.load(entry.architecture)()
    named = {str(name).removeprefix("module."): value for name, value in state.items()}
    kept = {name: named[name].contiguous() for name in network.state_dict() if torch.is_tensor(named.get(name))}
    draft = target.with_name(f"{target.name}.part")
    try:
        save_file(kept, draft, metadata={MADE_OF: entry.files[0].digest})
        load_safetensors(network, draft)
        with draft.open("rb+") as file:
            os.fsync(file.fileno())
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
