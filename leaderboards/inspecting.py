"""`robustreid inspect`: from what a user calls a model to what is found of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from .. import InvalidFileError
from ..benchmark.commands import FolderPath, print_json
from ..benchmark.runtime import Settings
from ..models.base import METRICS, NORMALISATIONS, ModelSpec

#: What is read as a file whether it is there or not.
_FILES = (".onnx", ".xml", ".safetensors")


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """`256x128` as (height, width)."""
    if value is None:
        return None
    height, _, width = value.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal() and int(height) and int(width)):
        raise click.BadParameter(f"expected HEIGHTxWIDTH in pixels, such as 256x128, got {value!r}", ctx, param)
    return int(height), int(width)


def model_spec(
    argument: str,
    *,
    architecture: str | None = None,
    normalise: str | None = None,
    metric: str | None = None,
    input_size: tuple[int, int] | None = None,
    defence: Sequence[str] = (),
) -> ModelSpec:
    """The model that a user means on a command line; its label is its name, or that of its file.

    Args:
        argument: a weights file, `package:callable`, a name of the zoo, or the folder of a submission.
        architecture: of a safetensors file.
        normalise: `none` or `imagenet`; by default what the zoo or the kind of file says.
        metric: `cosine` or `euclidean`.
        input_size: (height, width) that the network is fed.
        defence: names of what stands before it, the first one first.

    Raises:
        UserError: there is no such model, or it is said in two ways that contradict each other.
        InvalidFileError: the weights file is not what it should be.
    """
    from ..benchmark.config.models import model_of
    from ..benchmark.config.schema import ModelEntry
    from ..models.zoo import ZOO

    path = Path(argument)
    own: dict[str, Any] = {"name": _label(path.name or argument)}
    if argument in ZOO:
        own |= {"zoo": argument}
    elif path.is_dir():
        own |= _of_submission(path)
    elif path.suffix.lower() in _FILES or path.is_file():
        own |= {"name": _label(path.stem), "weights": argument}
    elif ":" in argument:
        own |= {"plugin": argument}
    else:
        own |= {"zoo": argument}
    given = {"architecture": architecture, "normalise": normalise, "metric": metric, "input_size": input_size}
    entry = ModelEntry.model_validate(
        {**own, **{key: value for key, value in given.items() if value is not None}}
        | ({"defence": list(defence)} if defence else {})
    )
    return model_of(entry, lambda value: None if value is None else Path(value))


def _of_submission(folder: Path) -> dict[str, Any]:
    """The model of the submission in a folder, as an entry of a grid."""
    from .submission.description import read_folder
    from .submission.scoring import plain

    found = read_folder(folder)
    return {"name": found.name, **plain(found.model_entry), "weights": str(folder / found.weights)}


def _label(text: str) -> str:
    """A file's name as a label."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in text)[:64].strip(".") or "model"


@click.command()
@click.argument("model")
@click.option(
    "--architecture", metavar="NAME", help="Of a .safetensors file, such as resnet50 (`robustreid ls models`)."
)
@click.option(
    "--normalise",
    type=click.Choice(list(NORMALISATIONS)),
    help="What the network expects beyond RGB in [0, 1]. [default: the zoo's; imagenet for an architecture, else none]",
)
@click.option(
    "--metric", type=click.Choice(METRICS), help="How features are compared. [default: the zoo's, else cosine]"
)
@click.option(
    "--input-size", callback=_size, metavar="HxW", help="Height and width that the network is fed, such as 256x128."
)
@click.option(
    "--defence", multiple=True, metavar="NAME", help="What stands before the model; may be given several times."
)
@click.option(
    "--data",
    type=FolderPath(),
    metavar="ROOT",
    help="Folder with query/ and bounding_box_test/, of which a few people are taken. [default: drawn people]",
)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1 or mps.")
@click.option(
    "--batch-size", type=click.IntRange(1), help="Images a forward. [default: 24; 16 are timed, 128 on a GPU]"
)
@click.option("--trust-code", is_flag=True, help="Run the code of package:callable; it runs with your rights.")
@click.option("--json", "as_json", is_flag=True, help="Print one object.")
def inspect(
    model: str,
    architecture: str | None,
    normalise: str | None,
    metric: str | None,
    input_size: tuple[int, int] | None,
    defence: tuple[str, ...],
    data: Path | None,
    as_json: bool,
    **settings: Any,
) -> int:
    """Look in a minute whether MODEL can be scored, and what would make its numbers doubtful.

    MODEL is a name of the zoo (`robustreid ls models`), a weights file (.onnx, .xml, or .safetensors with
    --architecture), the folder of a submission, or package:callable with --trust-code: that code runs with your rights.

    Looked at: shape and type of the features, images of other sizes, whether people are recognised and whether they
    were better recognised in another range or order of channels, determinism, batches, evaluation mode, gradients, one
    step of FGSM beside noise of the same size, speed and memory. What is not fine comes with a flag (docs/flags.md) and
    what to do.

    \b
    Examples:
      robustreid inspect tiny
      robustreid inspect model.onnx --normalise imagenet --data path/to/market1501
      robustreid inspect r50.safetensors --architecture resnet50 --json
      robustreid inspect path/to/submission
      robustreid inspect my_package:build --trust-code

    Exit codes: 0 it can be scored, flags or not, 2 the request is wrong, 4 it cannot be scored, or a file is invalid.
    """  # noqa: D301
    from ..benchmark.inspection.telling import inspection_record, inspection_text

    spec = model_spec(
        model,
        architecture=architecture,
        normalise=normalise,
        metric=metric,
        input_size=input_size,
        defence=defence,
    )
    from ..benchmark.inspection.inspect import inspect_model
    from ..benchmark.progress import reporting

    with reporting() as reporter:
        found = inspect_model(spec, data, Settings(**settings), reporter)
    if as_json:
        print_json(inspection_record(found))
    else:
        click.echo(inspection_text(found))
    return 0 if found.can_be_scored else InvalidFileError.exit_code
