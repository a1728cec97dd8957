"""The training images of a data set, by the name of its format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ... import UserError
from ...models.registry import load_reference
from ...models.splits import N_SPLITS
from .assembly import below
from .catalogue import TRAINING_OPTIONS, Option, refuse_options
from .counts import OFFICIAL
from .listing import Layout, is_folder
from .market import LAYOUTS, TRAINING_FOLDER, read_training_images
from .retrieval import Images

#: By format: what reads its training images, where its folder is known by, and the options that matter.
_READERS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "cuhk03": (".cuhk:training_cuhk03", ".cuhk:CUHK03", ("boxes",)),
    "cuhk01": (".cuhk:training_cuhk01", ".cuhk:CUHK01", ("trial",)),
    "msmt17": (".msmt17:training_msmt17", ".msmt17:MSMT17", ()),
    "sysu": (".sysu:training_sysu", ".sysu:SYSU", ()),
    "regdb": (".regdb:training_regdb", ".regdb:REGDB", ("trial",)),
    "llcm": (".llcm:training_llcm", ".llcm:LLCM", ()),
    "viper": (".viper:training_viper", ".viper:VIPER", ("trial",)),
}
#: Formats whose training images are a matter of the trial.
SPLIT = frozenset(name for name, options in TRAINING_OPTIONS.items() if "trial" in options)


def read_training(layout: str, root: Path, options: Mapping[str, Option] | None = None) -> Images:
    """The labelled images that models learn from.

    Args:
        layout: a name of `FORMATS`.
        root: the folder of the set, or one around it; paths are relative to it.
        options: those of the format, and `trial` (1 to 10) where each trial has a training part of its own.

    Raises:
        UserError: a format without training images, a missing or wrong `trial`, or no such folder or list.
        InvalidFileError: images that are listed but absent, or names and labels that are not what they should be.
    """
    given = dict(options or {})
    refuse_options(layout, layout, given)
    trial = given.get("trial")
    if layout in SPLIT and (isinstance(trial, bool) or trial not in range(1, N_SPLITS + 1)):
        raise UserError(
            f"{_title(layout)} has {N_SPLITS} splits, each with training images of its own; give `trial` as a "
            f"whole number from 1 to {N_SPLITS}, not {trial!r}."
        )
    if layout == "table":
        from .table import training_table

        return training_table(root)
    place = training_root(layout, root)
    if layout in LAYOUTS:
        images = read_training_images(place)
    else:
        read: Callable[..., Images] = load_reference(_READERS[layout][0], __package__)
        images = read(place, **{name: value for name, value in given.items() if name in _READERS[layout][2]})
    return below(place.relative_to(root).as_posix(), images)


def training_root(layout: str, root: Path) -> Path:
    """The data set's own folder, which may be one in `root`.

    Raises:
        UserError: a format without training images, or no such folder.
    """
    if layout in LAYOUTS:
        place = LAYOUTS[layout].search(root) or root
        if not is_folder(place / TRAINING_FOLDER):
            raise UserError(
                f"There are no training images of {_title(layout)}: no folder {str(place / TRAINING_FOLDER)!r}; give "
                f"the `root` of a set that has one."
            )
        return place
    if layout == "table":
        from .table import table_file

        return table_file(layout, root).parent
    if layout not in _READERS:
        raise UserError(f"Format {layout!r} has no training images that can be read from a folder; choose another.")
    known: Layout = load_reference(_READERS[layout][1], __package__)
    return known.find(layout, root)


def _title(layout: str) -> str:
    found = next((known for name, known in OFFICIAL.items() if name.split(" ")[0] == layout), None)
    return found.title if found else f"a set of format {layout!r}"
