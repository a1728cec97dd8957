"""Test-time defences: each takes an embedder and gives one (docs/defences.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from ..pixels import PixelEmbedder
    from .wrapping import Defended


def defend(embedder: Callable[[Tensor], Tensor], name: str, **parameters: Any) -> PixelEmbedder | Defended:
    """An embedder behind a defence, which `robustreid.evaluate` takes and attacks adaptively.

    >>> from robustreid.models.defences import defend
    >>> guarded = defend(lambda images: images.flatten(1), "jpeg", quality=75)

    Args:
        embedder: images (B, 3, H, W) in [0, 1] to features (B, D). The images meet this defence before any that the
            embedder has already.
        name: of `robustreid ls defences`.
        **parameters: its parameters.

    Raises:
        UserError: there is no such defence, or it has no such parameter.
    """
    from .catalogue import parse_one
    from .wrapping import wrap

    return wrap(embedder, (parse_one({"name": name, **parameters}),))
