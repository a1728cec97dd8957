"""Random numbers as a pure function of what they are for: a resumed training draws what it would have drawn."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, purpose: str, *counters: int) -> np.random.Generator:
    """A fresh generator for one purpose at one place, such as `stream(0, "augment", epoch, step)`.

    Counter-based (Philox), keyed by a hash, made on the CPU: nobody else's draws move it, no state is carried on.
    """
    words = "\n".join([str(seed), purpose, *map(str, counters)]).encode()
    key = int.from_bytes(hashlib.blake2b(words, digest_size=16).digest(), "little")
    return np.random.Generator(np.random.Philox(key=key))
