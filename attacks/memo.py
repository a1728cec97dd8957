"""What is known of the images of a batch, found again by the images themselves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

#: What is kept of a batch, images and values of all its losses together; beyond it the images unused for longest go,
#: and sharing with them.
MEMO_BYTES = 3 << 30
#: On a GPU it is this share of its memory.
MEMO_SHARE = 0.3


#: Whole numbers as wide as a float of so many bytes.
_WHOLE = {2: torch.int16, 4: torch.int32, 8: torch.int64}


@dataclass
class _Known:
    """What is known of a batch of images: values by name."""

    images: Tensor
    values: dict[Hashable, tuple[Tensor, ...]] = field(default_factory=dict)

    @property
    def n_bytes(self) -> int:
        """Of the images and everything that is known of them."""
        return self.images.nbytes + sum(value.nbytes for values in self.values.values() for value in values)


@dataclass
class Memo:
    """Values by images, compared bit for bit behind a cheap key; copies, so nobody's work in place reaches them.

    Callers compute `key(images)` once and hand it to `get` and `put`; `name` tells apart what is known of the images.
    """

    entries: OrderedDict[int, _Known] = field(default_factory=OrderedDict)
    n_bytes: int = 0

    @staticmethod
    def key(images: Tensor) -> int:
        """The sum of the bits as whole numbers: one pass, and the same in any order and memory layout."""
        return int(images.view(_WHOLE[images.element_size()]).sum())

    def get(self, key: int, images: Tensor, name: Hashable = None) -> tuple[Tensor, ...] | None:
        known = self.entries.get(key)
        if known is None or name not in known.values or not torch.equal(known.images, images):
            return None
        self.entries.move_to_end(key)
        return tuple(value.clone() for value in known.values[name])

    def put(self, key: int, images: Tensor, *values: Tensor, name: Hashable = None) -> None:
        known = self.entries.pop(key, None)
        self.n_bytes -= known.n_bytes if known else 0
        if known is None or not torch.equal(known.images, images):
            known = _Known(images.detach().clone())
        known.values[name] = tuple(value.clone() for value in values)
        self.entries[key] = known
        self.n_bytes += known.n_bytes
        while self.n_bytes > _limit(images.device) and len(self.entries) > 1:
            _, oldest = self.entries.popitem(last=False)
            self.n_bytes -= oldest.n_bytes


@cache
def _gpu_limit(device: torch.device) -> int:
    return int(MEMO_SHARE * torch.cuda.get_device_properties(device).total_memory)


def _limit(device: torch.device) -> int:
    return _gpu_limit(device) if device.type == "cuda" else MEMO_BYTES
