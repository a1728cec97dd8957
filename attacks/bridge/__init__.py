"""Attacks of the package torchattacks, under the names `torchattacks.X` of its own public list.

The package attacks classifiers. It gets one: an image's class is the identity whose centroid on the other side is
nearest (`classifier`). Nothing here imports the package before an attack of it is asked for.
"""

from __future__ import annotations

from .names import PREFIX, is_foreign, list_foreign

__all__ = ["PREFIX", "is_foreign", "list_foreign"]
