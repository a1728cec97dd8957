"""What is asked of how a submission is put together; what its readers met is reported here under each code."""

from __future__ import annotations

from collections.abc import Iterable

from .findings import Fault, shown
from .rules import Bundle, met, rule


@rule("SUB001")
def opens(bundle: Bundle) -> Iterable[Fault]:
    """A submission is a folder, or one zip, tar or tar.gz of it that any tool can read.

    Run `robustreid submit pack` on your folder: no encryption, no comment, no other packing than deflate.
    """
    return met(bundle, "SUB001")


@rule("SUB002")
def stays_inside(bundle: Bundle) -> Iterable[Fault]:
    """Every path is relative, leads nowhere but into the submission, and is plain ASCII with forward slashes.

    Rename the file, or pack the folder itself with `robustreid submit pack`.
    """
    return met(bundle, "SUB002")


@rule("SUB003")
def holds_files_alone(bundle: Bundle) -> Iterable[Fault]:
    """There are files and folders, no links, devices or pipes.

    Put a copy of the file in the place of the link.
    """
    return met(bundle, "SUB003")


@rule("SUB004")
def has_few_files(bundle: Bundle) -> Iterable[Fault]:
    """There are at most 2,000 files.

    Leave out what is no part of a submission.
    """
    return met(bundle, "SUB004")


@rule("SUB005")
def is_small_enough(bundle: Bundle) -> Iterable[Fault]:
    """No file, and not the whole, is larger than such a thing ever is.

    Leave out what is no part of a submission, store weights in float16, or keep fewer cells.
    """
    return met(bundle, "SUB005")


@rule("SUB006")
def is_no_bomb(bundle: Bundle) -> Iterable[Fault]:
    """Nothing unpacks to more than 100 times its packed size.

    Run `robustreid submit pack` on your folder, which leaves weights as they are.
    """
    return met(bundle, "SUB006")


@rule("SUB007")
def lies_where_it_says(bundle: Bundle) -> Iterable[Fault]:
    """Every file of a zip has bytes of its own, where and under the name that the zip's list says.

    Run `robustreid submit pack` on your folder; archives that were edited by hand are not read.
    """
    return met(bundle, "SUB007")


@rule("SUB008")
def has_the_bytes_it_says(bundle: Bundle) -> Iterable[Fault]:
    """Every file unpacks to as many bytes, and to those, as the archive says.

    Download or pack it again.
    """
    return met(bundle, "SUB008")


@rule("SUB009")
def is_flat(bundle: Bundle) -> Iterable[Fault]:
    """Paths have at most 200 characters in 4 parts.

    Keep the layout: weights beside submission.yaml, a run in `results`.
    """
    return met(bundle, "SUB009")


@rule("SUB010")
def names_files_once(bundle: Bundle) -> Iterable[Fault]:
    """No path stands in an archive twice.

    Run `robustreid submit pack` on your folder: of two files of one name nobody knows which is meant.
    """
    return met(bundle, "SUB010")


@rule("SUB011")
def names_files_apart(bundle: Bundle) -> Iterable[Fault]:
    """No two paths differ in upper and lower case alone.

    Rename one of the two: on many machines they are one file.
    """
    return met(bundle, "SUB011")


@rule("SUB012")
def holds_nothing_else(bundle: Bundle) -> Iterable[Fault]:
    """There is nothing but submission.yaml, the file that it names as weights, results and the manifest.

    Remove it, or keep it elsewhere.
    """
    yield from met(bundle, "SUB012")
    description = bundle.description
    if description is not None:
        for name in bundle.contents.names():
            if "/" not in name and name.endswith((".safetensors", ".onnx")) and name != description.weights:
                yield Fault(code="SUB012", place=shown(name), problem="is not the file that `model.weights` names")


@rule("SUB013")
def holds_no_pickle(bundle: Bundle) -> Iterable[Fault]:
    """Nothing is a pickle, or a kind of file that can hold one, whatever it is called.

    Save weights as safetensors (`safetensors.torch.save_file(state_dict, path)`) or export the model to ONNX.
    """
    return met(bundle, "SUB013")


@rule("SUB014")
def holds_no_archive(bundle: Bundle) -> Iterable[Fault]:
    """There is no archive inside a submission.

    Put in what it holds, if that is part of a submission, else remove it.
    """
    return met(bundle, "SUB014")


@rule("SUB015", level="note")
def keeps_nothing_back(bundle: Bundle) -> Iterable[Fault]:
    """Hidden files and the caches of a run stay in your folder: they are not packed.

    There is nothing to do.
    """
    for name in bundle.examined.kept_back:
        yield Fault(code="SUB015", place=shown(name), problem="is not part of the submission")


CONTAINER_RULES = (
    *(opens, stays_inside, holds_files_alone, has_few_files, is_small_enough, is_no_bomb, lies_where_it_says),
    *(has_the_bytes_it_says, is_flat, names_files_once, names_files_apart, holds_nothing_else, holds_no_pickle),
    *(holds_no_archive, keeps_nothing_back),
)
