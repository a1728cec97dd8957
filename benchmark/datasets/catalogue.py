"""Data sets by format, and the one way to open one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ... import UserError
from ...models.registry import Registry, nearest
from ..evaluation import PROTOCOLS
from ..progress import Reporter, Silent
from .retrieval import RetrievalSet

#: What an option can be given as.
Option = int | str | bool

FORMATS = Registry(
    kind="data set format",
    table={
        "market1501": ".market:read_market1501",
        "dukemtmc": ".market:read_dukemtmc",
        "occluded-duke": ".market:read_occluded_duke",
        "cuhk03": ".cuhk:read_cuhk03",
        "cuhk01": ".cuhk:read_cuhk01",
        "msmt17": ".msmt17:read_msmt17",
        "viper": ".viper:read_viper",
        "sysu": ".sysu:read_sysu",
        "regdb": ".regdb:read_regdb",
        "llcm": ".llcm:read_llcm",
        "table": ".table:read_table",
        "folder": ".market:read_folder",
        "held-out": ".held_out:read_held_out",
        "synthetic": ".synthetic.crowd:read_synthetic",
    },
    package=__package__,
    group="robustreid.datasets",
)

#: Formats whose images the package makes itself.
DRAWN = frozenset({"synthetic"})
#: What can be said of a set, by format; others take no options.
OPTIONS: Mapping[str, tuple[str, ...]] = {
    "synthetic": ("seed", "identities", "cameras", "shots", "distractors", "protocol"),
    "held-out": ("seed", "identities"),
    "market1501": ("with_500k", "verify"),
    "dukemtmc": ("verify",),
    "occluded-duke": ("verify",),
    "cuhk03": ("boxes", "verify"),
    "cuhk01": ("verify",),
    "msmt17": ("verify",),
    "viper": ("verify",),
    "sysu": ("protocol", "verify"),
    "regdb": ("protocol", "verify"),
    "llcm": ("protocol", "verify"),
    "table": ("protocol",),
}
#: What can be said of its training images alone: the number of a split, from 1, where each has its own.
TRAINING_OPTIONS: Mapping[str, tuple[str, ...]] = {"cuhk01": ("trial",), "viper": ("trial",), "regdb": ("trial",)}
_BOOLEANS = ("verify", "with_500k")
_PROTOCOLS: Mapping[str, tuple[str, ...]] = {
    "sysu": ("sysu-all", "sysu-indoor", "sysu-all-multi-shot", "sysu-indoor-multi-shot"),
    "regdb": ("regdb-v2t", "regdb-t2v"),
    "llcm": ("llcm-v2i", "llcm-i2v", "llcm-v2i-published"),
    "table": tuple(name for name, rules in PROTOCOLS.items() if not rules.has_splits),
}
#: The words that an option may be, by format and option; the first is what holds where none is given.
CHOICES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "cuhk03": {"boxes": ("detected", "labeled")},
    **{layout: {"protocol": names} for layout, names in _PROTOCOLS.items()},
}


def open_dataset(
    label: str,
    layout: str | None,
    root: Path | None,
    options: Mapping[str, Option] | None = None,
    reporter: Reporter | None = None,
) -> RetrievalSet:
    """The retrieval set in `root`; the format defaults to the label where that is a known set.

    Args:
        label: what the user calls it.
        layout: a name of `FORMATS`.
        root: the folder of images; None for a drawn set.
        options: what the format takes by `OPTIONS`: who is in it, or how it is read.
        reporter: told while a set is drawn.

    Raises:
        UserError: an unknown format, no root, a root that has no use, or options that nothing reads.
        InvalidFileError: a set that is not what its format says.
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
    for name in options or {}:
        if name in TRAINING_OPTIONS.get(layout, ()):
            raise UserError(f"Data set {label!r}: `{name}` is for training; all trials are scored, so remove it.")
    found: RetrievalSet = reader(label, root, **(options or {}))
    return found


def refuse_contradictions(label: str, layout: str, *, has_root: bool, options: Mapping[str, Option]) -> None:
    """UserError where a set that is drawn has a root, or one that is read has none, or has options."""
    if layout in DRAWN:
        if has_root:
            raise UserError(f"Data set {label!r} is drawn by this package and takes no `root`; remove it.")
    elif not has_root:
        raise UserError(f"Data set {label!r} needs a `root`: the folder that holds its images.")
    refuse_options(label, layout, options)


def refuse_options(label: str, layout: str, options: Mapping[str, Option]) -> None:
    """UserError for options that the format does not take, or values that it does not know."""
    extra = [name for name in options if name not in _taken(layout)]
    if extra:
        takers = ", ".join(kind for kind in OPTIONS if set(extra) <= set(_taken(kind)))
        raise UserError(
            f"Data set {label!r} takes no {', '.join(f'`{name}`' for name in extra)}; "
            + (f"that is for {takers}." if takers else "remove it.")
        )
    for name, value in options.items():
        if name in _BOOLEANS and not isinstance(value, bool):
            raise UserError(f"Data set {label!r}: expected `{name}` as true or false, got {value!r}.")
        words = CHOICES.get(layout, {}).get(name)
        if words and value not in words:
            raise UserError(
                f"Data set {label!r}: expected `{name}` as one of {', '.join(words)}, got {value!r}."
                f"{nearest(str(value), words)}"
            )


def _taken(layout: str) -> tuple[str, ...]:
    return (*OPTIONS.get(layout, ()), *TRAINING_OPTIONS.get(layout, ()))
