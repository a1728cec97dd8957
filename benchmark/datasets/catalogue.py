"""Data sets by format, and the one way to open one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ... import UserError
from ...models.registry import Registry
from ..progress import Reporter, Silent
from .retrieval import RetrievalSet

FORMATS = Registry(
    kind="data set format",
    table={
        "market1501": ".market:read_market1501",
        "folder": ".market:read_folder",
        "held-out": ".held_out:read_held_out",
        "synthetic": ".synthetic.crowd:read_synthetic",
    },
    package=__package__,
    group="robustreid.datasets",
)

#: Formats whose images the package makes itself.
DRAWN = frozenset({"synthetic"})
#: What can be said of who is in a set, by format; others take no options.
OPTIONS = {
    "synthetic": ("seed", "identities", "cameras", "shots", "distractors"),
    "held-out": ("seed", "identities"),
}


def open_dataset(
    label: str,
    layout: str | None,
    root: Path | None,
    options: Mapping[str, int] | None = None,
    reporter: Reporter | None = None,
) -> RetrievalSet:
    """The retrieval set in `root`; the format defaults to the label where that is a known set.

    Args:
        label: what the user calls it.
        layout: a name of `FORMATS`.
        root: the folder of images; None for a drawn set.
        options: who is in it, for a format that has `OPTIONS`.
        reporter: told while a set is drawn.

    Raises:
        UserError: an unknown format, no root, a root that has no use, or options that nothing reads.
    """
    if layout is None:
        if label not in FORMATS:
            raise UserError(
                f"Data set {label!r} needs a `format`, because its name is not a known set; "
                f"expected one of {', '.join(FORMATS.names())}."
            )
        layout = label
    reader = FORMATS.load(layout)
    refuse_contradictions(label, layout, has_root=root is not None, options=options or {})
    if layout in DRAWN:
        drawn: RetrievalSet = reader(label, reporter=reporter or Silent(), **(options or {}))
        return drawn
    found: RetrievalSet = reader(label, root, **(options or {}))
    return found


def refuse_contradictions(label: str, layout: str, *, has_root: bool, options: Mapping[str, int]) -> None:
    """UserError where a set that is drawn has a root, or one that is read has none, or has options."""
    if layout in DRAWN:
        if has_root:
            raise UserError(f"Data set {label!r} is drawn by this package and takes no `root`; remove it.")
    elif not has_root:
        raise UserError(f"Data set {label!r} needs a `root`: the folder that holds its images.")
    extra = [name for name in options if name not in OPTIONS.get(layout, ())]
    if extra:
        takers = ", ".join(kind for kind, names in OPTIONS.items() if set(extra) <= set(names))
        raise UserError(
            f"Data set {label!r} takes no {', '.join(f'`{name}`' for name in extra)}; that is for {takers}."
        )
