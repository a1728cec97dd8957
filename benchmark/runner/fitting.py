"""How many images fit a GPU at once, found once for a model and a device, and remembered."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import torch

from ... import StorageError
from ...models.base import Embedder, ModelSpec
from ..datasets.cache import cache_folder
from ..records import digest
from ..store.files import file_system_errors

#: The share of a device's memory that gradients of one batch may take; the rest is for what cells share.
SHARE = 0.5
#: Batches that are tried, to see what one image more takes.
TRIALS = (16, 48)
#: Larger batches are not faster.
LARGEST = 1024


def largest_batch(embedder: Embedder, spec: ModelSpec, size: tuple[int, int], device: torch.device) -> int:
    """A power of two that fits a CUDA device with images of (height, width) `size`; the same whenever it is asked.

    Raises:
        torch.OutOfMemoryError: not even the smaller trial fits.
    """
    total = torch.cuda.get_device_properties(device).total_memory
    place = [spec.identity(), list(size), torch.cuda.get_device_name(device), total, torch.__version__, type(embedder)]
    key = digest([str(part) for part in place])
    known = _read().get(key)
    if known is None:
        known = fitting(lambda count: _peak_bytes(embedder, count, size, device), int(SHARE * total))
        _remember(key, known)
    return known


def fitting(peak_bytes: Callable[[int], int], available: int) -> int:
    """The largest power of two of images whose gradients take at most `available` bytes, at most `LARGEST`.

    Args:
        peak_bytes: of a gradient of so many images; a straight line, but for what the allocator rounds.
        available: bytes.
    """
    few, many = TRIALS
    low, high = peak_bytes(few), peak_bytes(many)
    each = max(1.0, (high - low) / (many - few))
    fixed = max(0.0, low - few * each)
    count = min(LARGEST, int((available - fixed) / each))
    return 1 << (max(1, count).bit_length() - 1)


def _peak_bytes(embedder: Embedder, count: int, size: tuple[int, int], device: torch.device) -> int:
    torch.cuda.reset_peak_memory_stats(device)
    images = torch.zeros(count, 3, *size, device=device, requires_grad=True)
    total = embedder(images).square().sum()
    if total.requires_grad:  # a model that cuts the graph has no gradients to keep
        torch.autograd.grad(total, images)
    return int(torch.cuda.max_memory_allocated(device))


def _read() -> dict[str, int]:
    try:
        found: dict[str, int] = json.loads((cache_folder() / "batch-sizes.json").read_bytes())
    except (OSError, ValueError):
        return {}
    return found


def _remember(key: str, count: int) -> None:
    place = cache_folder() / "batch-sizes.json"
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    try:
        with file_system_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps({**_read(), key: count}))
            part.replace(place)
    except StorageError:
        part.unlink(missing_ok=True)  # measured once more the next time
