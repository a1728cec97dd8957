"""What a failure is called in a row, and which of them fewer images at once may mend."""

from __future__ import annotations

import torch


def is_out_of_memory(error: Exception) -> bool:
    """Whether fewer images at once may help."""
    if isinstance(error, RuntimeError) and "allocate memory" in str(error):  # how PyTorch says it of a CPU
        return True
    return isinstance(error, torch.OutOfMemoryError | MemoryError)


def describe(error: Exception) -> str:
    """A failure in one line."""
    text = " ".join(str(error).split()) or "no message"
    if is_out_of_memory(error):
        text += "; a smaller --batch-size needs less memory"
    return f"{type(error).__name__}: {text}"[:1000]
