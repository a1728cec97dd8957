"""What is done otherwise on a GPU than on a CPU, and on many threads than on one."""

from __future__ import annotations

import torch

#: So many times as much at once keeps a GPU busy.
_GPU_FACTOR = 16


def is_cpu(device: torch.device) -> bool:
    """Whether NumPy can work on the tensors of a device without a copy."""
    return device.type == "cpu"


def at_once(count: int, device: torch.device) -> int:
    """How many to take at once on a device where a CPU takes `count`."""
    return count if is_cpu(device) else _GPU_FACTOR * count


def takes_numpy(device: torch.device) -> bool:
    """Whether float32 matrices on a device are to be multiplied by NumPy rather than by PyTorch.

    On one thread NumPy is faster (5 to 10 percent on an AMD EPYC). On several its threads and PyTorch's would wait for
    each other, which doubles the time; but where PyTorch may have been told to multiply in less than float32, NumPy has
    not.
    """
    return is_cpu(device) and (torch.get_num_threads() == 1 or not _is_ieee())


def _is_ieee() -> bool:
    try:
        return torch.get_float32_matmul_precision() == "highest"
    except RuntimeError:  # set in the newer of two ways, about which this function does not speak
        return False
