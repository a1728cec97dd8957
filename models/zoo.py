"""Models by name: small ones that the package brings along, and published ones that are for you to get."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from .. import InvalidFileError, UserError
from .registry import unknown
from .weights.entry import ZooEntry, ZooFile
from .weights.files import file_digest, made_of
from .weights.published import PUBLISHED

#: The environment variable that names a folder of weights.
FOLDER_VARIABLE = "ROBUSTREID_WEIGHTS"


def _embedded(
    name: str, *, sha256: str, note: str, weights: str = "", defence: str = "", architecture: str = "tinynet"
) -> ZooEntry:
    """A model of this package; `weights` names the one that it shares them with."""
    return ZooEntry(
        name=name,
        architecture=architecture,
        files=(ZooFile(name=f"{weights or name}.safetensors", digest=sha256),),
        licence="MIT",
        source=f"this package: robustreid train {weights or name}",
        trained_on=("synthetic",),
        normalise="imagenet",
        metric="cosine",
        note=f"{note}; 128x64, 128 numbers a feature",
        is_embedded=True,
        defence=defence,
    )


_ENTRIES = (
    _embedded(
        "tiny",
        sha256="35f852457334df4a56723c74d987975c7df887ad557000487c0b21379965b06f",
        note="trained on drawn people (`synthetic`) without an adversary",
    ),
    _embedded(
        "tiny-robust",
        sha256="f8d51fb3625a0f1245064e696bb507ca0966a095fc1bc86aad598cb86c6026d4",
        note="the same network, adversarially trained at 4/255",
    ),
    _embedded(
        "tiny-bit-depth",
        weights="tiny",
        sha256="35f852457334df4a56723c74d987975c7df887ad557000487c0b21379965b06f",
        note="`tiny` behind a test-time defence: 16 levels a channel",
        defence="bit-depth",
    ),
    _embedded(
        "tiny-metric-preserving",
        sha256="69df8e3b293a4f150d331728e6c957170ee843ddacf4b6916ca78ceba8462a44",
        note="the same network by the metric-preserving defence of Bai et al., as docs/defences.md reads it",
    ),
    _embedded(
        "tiny-metric-at",
        sha256="d09cf286bbdd669433786314aa4ef2d86798b6926e9bb949477230215a80530c",
        note="the same network by metric adversarial training at 4/255: half clean, half FNA's images",
    ),
    _embedded(
        "tiny-goat",
        sha256="cc3e68114344867414edbfe345123ef0eb28496ce1f45470e95ecfbdaf44e754",
        note="the same network by GOAT(4,1) at 4/255",
    ),
    _embedded(
        "tiny-agw",
        sha256="efd855e02518d5d1d92be09955892562d61df075214490721f43385466818651",
        note="a stem for visible and one for infrared images, AGW's losses; trained on drawn people of both",
        architecture="agw_tiny",
    ),
    *PUBLISHED,
)

#: Name -> entry.
ZOO: Mapping[str, ZooEntry] = {entry.name: entry for entry in _ENTRIES}


def embedded_folder() -> Path:
    """Where the weights lie that the package brings along."""
    from importlib.resources import files

    return Path(str(files("robustreid.models.weights")))


def places(entry: ZooEntry) -> tuple[Path, ...]:
    """Where the file of an entry is looked for, first one first."""
    return (embedded_folder(),) if entry.is_embedded else folders()


def folders() -> tuple[Path, ...]:
    """Where weights of others lie, first one first: `$ROBUSTREID_WEIGHTS` if set, then the user's data folder."""
    from platformdirs import user_data_path

    named = os.environ.get(FOLDER_VARIABLE)
    return (*((Path(named),) if named else ()), user_data_path("robustreid") / "weights")


def is_present(entry: ZooEntry) -> bool:
    """Whether its files, or those of its stand-in, are on this machine; their digests are not looked at."""
    return any(_lies_in(folder, form) for form in forms(entry) for folder in places(form))


def forms(entry: ZooEntry) -> Iterator[ZooEntry]:
    """The entry as it is published, then what stands in for it where that is absent."""
    yield entry
    if entry.stand_in is not None:
        yield entry.stand_in


def find(name: str) -> tuple[ZooEntry, Path]:
    """The entry called `name`, and the file to load on this machine, digests checked.

    Raises:
        UserError: where there is no such entry, or its files are in none of `folders()`.
        InvalidFileError: where a file is another one than the entry means.

    """
    if name not in ZOO:
        raise unknown("zoo model", name, ZOO)
    entry = ZOO[name]
    if not entry.is_pinned:
        raise UserError(f"The weights of {name!r} are not used by name: {by_hand(entry)}")
    for form in forms(entry):
        for folder in places(form):
            if _lies_in(folder, form):
                check(form, folder)
                return form, folder / form.file
    fetched = f"`robustreid data weights {name}` fetches them, or by hand: " if entry.is_published else ""
    raise UserError(f"The weights of {name!r} are not on this machine and are not shipped: {fetched}{by_hand(entry)}")


def by_hand(entry: ZooEntry, folder: Path | None = None) -> str:
    """What to do without a network here, as the rest of a sentence.

    Args:
        entry: whose files are wanted.
        folder: where they are to be put; by default where `find` looks.

    """
    there = f"the folder that ${FOLDER_VARIABLE} names or into {str(folders()[-1])!r}"
    where = there if folder is None else repr(str(folder))
    first = entry.files[0]
    if not entry.is_pinned:
        return (
            f"no digest of {first.name} is known, so it cannot be checked; get it from {first.url} if you trust it, "
            f"save its state dict with safetensors.torch.save_file(state_dict, FILE), and write into a grid "
            f"{{name: {entry.name}, architecture: {entry.architecture}, weights: FILE, metric: {entry.metric}}}."
        )
    if not entry.is_published:
        return (
            f"{first.described} is a conversion of what is at {entry.source} and has no address of its own; put a copy "
            f"of it into {where}."
        )
    files = " and ".join(f"{file.described} from {file.url}" for file in entry.files)
    to = "" if folder is None or folder in folders() else f" --to {folder}"
    then = f", then run `robustreid data weights {entry.name}{to}`, which converts it" if entry.converted else ""
    return f"get {files} and put {'it' if len(entry.files) == 1 else 'them'} into {where}{then}."


def check(form: ZooEntry, folder: Path) -> None:
    """Refuse files in `folder` that are not those of the entry.

    Raises:
        InvalidFileError: with both digests.

    """
    if form.converted:
        found = made_of(folder / form.converted)
        if found != form.files[0].digest:
            raise InvalidFileError(
                f"The weights file {str(folder / form.converted)!r} says that it was made of {found or 'nothing'}, "
                f"expected {form.files[0].digest}: remove it and run `robustreid data weights {form.name}`."
            )
        return
    for file in form.files:
        digest = file_digest(folder / file.name, file.algorithm)
        if digest != file.digest:
            raise InvalidFileError(
                f"The weights file {str(folder / file.name)!r} has {file.algorithm} {digest}, expected {file.digest}: "
                f"get {file.name} again from {file.url or form.source}."
            )


def _lies_in(folder: Path, form: ZooEntry) -> bool:
    names = [form.converted] if form.converted else [file.name for file in form.files]
    return all((folder / name).is_file() for name in names)
