"""What a GPU does otherwise than a processor."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: So many times as much at once keeps a GPU busy.
_GPU_FACTOR = 16


def is_cpu(device: torch.device) -> bool:
    """Whether NumPy can work on the tensors of a device without a copy."""
    return device.type == "cpu"


def at_once(count: int, device: torch.device) -> int:
    """How many to take at once on a device where a CPU takes `count`."""
    return count if is_cpu(device) else _GPU_FACTOR * count
