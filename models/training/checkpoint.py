"""A training's state as bytes: tensors as safetensors, the rest as JSON in the same file's header; no pickle.

One file, so that whoever writes it whole (temporary file, fsync, rename) has all of one moment or none of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ... import InvalidFileError

_FACTS = "training"


def pack(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """The bytes of a checkpoint: equal state, equal bytes.

    Args:
        tensors: by name, of any device and memory layout.
        facts: what JSON can hold.
    """
    from safetensors.torch import save

    # One key only: safetensors keeps no order among several.
    text = json.dumps(facts, sort_keys=True, allow_nan=False)
    return save({name: _plain(tensor) for name, tensor in tensors.items()}, metadata={_FACTS: text})


def unpack(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Tensors and facts of a checkpoint.

    Raises:
        InvalidFileError: a file that `pack` did not make.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_FACTS])
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118 (no mapping)
    except (SafetensorError, KeyError, ValueError):
        raise InvalidFileError(
            f"{str(path)!r} is not a checkpoint of a training; remove it, and the training starts from the beginning."
        ) from None


def pack_weights(state: Mapping[str, Tensor], *, half: bool) -> bytes:
    """The bytes of a weights file of a network's state.

    Args:
        state: a state dict.
        half: store floating tensors in float16, which halves the file; loading copies them into float32.
    """
    from safetensors.torch import save

    kept = {
        name: _plain(tensor.half() if half and tensor.is_floating_point() else tensor)
        for name, tensor in state.items()
        if not name.endswith("num_batches_tracked")
    }
    return save(kept)


def _plain(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
