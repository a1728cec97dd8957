"""A module in memory as an ONNX program that this package reads, with the same features."""

from __future__ import annotations

import contextlib
import copy
import inspect
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import InvalidFileError, StorageError, UserError
from .engine import TOLERANCE
from .pixels import PixelEmbedder
from .program.network import OnnxNetwork
from .program.reader import read_program

#: Operator sets that torch's two exporters write best and that the reader knows.
_TORCHSCRIPT_SET, _DYNAMO_SET = 17, 18
#: Images that an exported program is tried on; another number than it is exported with.
_TRIED, _TRACED = 3, 2


def export_onnx(module: object, path: Path | str, input_size: Sequence[int] | None = None) -> Path:
    """Write a module as an ONNX program, which the benchmark reads and differentiates without the module's code.

    Everything that the module does is in the file, so it is used with `normalise: none`. Both of torch's exporters are
    tried, the newer one where `onnxscript` is installed; the file is kept only if its features, as this package
    computes them, are those of the module within 1e-4 of the largest entry, in a batch of another size too.

    Args:
        module: RGB images (B, 3, H, W) in [0, 1] to features (B, D), such as one of `from_timm`.
        path: of the file, ending in `.onnx`; what is there is replaced.
        input_size: (height, width); by default the size that an adapted module resizes to. The benchmark resizes
            images to it in front of the program.

    Returns:
        The path.

    Raises:
        UserError: the module does not run at that size, or no exporter writes a program with its features: why.
        StorageError: the file cannot be written.
    """
    target = Path(path)
    if not isinstance(module, nn.Module) or target.suffix.lower() != ".onnx":
        raise UserError(
            f"export_onnx got a {type(module).__name__} and {str(path)!r}; expected a torch.nn.Module and a path that "
            f"ends in .onnx."
        )
    height, width = _size(module, input_size)
    network = copy.deepcopy(module).cpu().eval()
    images = _images(_TRIED, height, width)
    wanted = _features(network, images)
    reasons = []
    with tempfile.TemporaryDirectory(prefix="robustreid-") as folder:
        written = Path(folder) / "model.onnx"
        for name, export in _exporters():
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    export(network, _images(_TRACED, height, width), written)
                gap = _gap(written, images, wanted)
            except Exception as error:  # noqa: BLE001 (whatever an exporter or the reader says against it)
                reasons.append(f"{name}: {_reason(error, written, target)}")
                continue
            if gap <= TOLERANCE:
                return _keep(written, target)
            reasons.append(f"{name}: its features differ by {gap:.1e} of the largest entry")
    more = (
        "" if find_spec("onnxscript") else " Torch's newer exporter was not tried: it needs `pip install onnxscript`."
    )
    raise UserError(
        f"The {type(module).__name__} cannot be exported as a program with its features ({'; '.join(reasons)}); submit "
        f"weights of a known architecture, or change what is named.{more}"
    )


def _reason(error: Exception, written: Path, target: Path) -> str:
    """What is wrong, without the remedy of whoever refused the file: there is another one here."""
    text = " ".join(str(error).replace(str(written), target.name).split()) or type(error).__name__
    return (text.partition("; ")[0] if isinstance(error, InvalidFileError) else text)[:300].rstrip(".")


def _size(module: nn.Module, input_size: Sequence[int] | None) -> tuple[int, int]:
    own = module.spec.input_size if isinstance(module, PixelEmbedder) else None
    size = own if input_size is None else tuple(input_size)
    if size is None or len(size) != 2 or any(type(side) is not int or side < 1 for side in size):
        raise UserError(
            f"export_onnx got input_size {input_size}; expected (height, width), two whole numbers above 0."
        )
    if own is not None and size != own:
        raise UserError(
            f"export_onnx got input_size {size[0]}x{size[1]} for a model that resizes to {own[0]}x{own[1]}; adapt it "
            f"with that input_size, or leave input_size out here."
        )
    return size[0], size[1]


def _images(count: int, height: int, width: int) -> Tensor:
    """Images (count, 3, H, W) in [0, 1], the same every time."""
    ramp = torch.arange(count * 3 * height * width, dtype=torch.float64)
    return torch.frac(ramp * 0.6180339887498949).float().view(count, 3, height, width)


def _features(network: nn.Module, images: Tensor) -> Tensor:
    """What the module itself gives.

    Raises:
        UserError: no features, or not the same ones twice.
    """
    name = type(network).__name__
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            features, again = network(images), network(images)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise UserError(
            f"The {name} does not run on images of {images.shape[2]}x{images.shape[3]}: {reason}; give the input_size "
            f"that it takes."
        ) from error
    if not isinstance(features, Tensor) or features.ndim != 2 or not bool(torch.isfinite(features).all()):
        kind = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        raise UserError(f"The {name} gave {kind} for {len(images)} images; expected finite features (B, D).")
    if not torch.equal(features, again):
        raise UserError(f"The {name} gives other features each time, which no program does; turn its randomness off.")
    return features.float()


def _exporters() -> Iterator[tuple[str, Callable[[nn.Module, Tensor, Path], None]]]:
    yield "torchscript", _torchscript
    if find_spec("onnxscript") is not None:
        yield "dynamo", _dynamo


def _torchscript(network: nn.Module, images: Tensor, path: Path) -> None:
    torch.onnx.export(
        network,
        (images,),
        str(path),
        input_names=["images"],
        output_names=["features"],
        dynamic_axes={"images": {0: "batch"}},
        opset_version=_TORCHSCRIPT_SET,
        dynamo=False,
    )


def _dynamo(network: nn.Module, images: Tensor, path: Path) -> None:
    # torch's own progress goes to standard output, which may be somebody's pipe.
    with contextlib.redirect_stdout(None):
        torch.onnx.export(
            network,
            (images,),
            str(path),
            input_names=["images"],
            output_names=["features"],
            dynamic_shapes={next(iter(inspect.signature(network.forward).parameters)): {0: torch.export.Dim("batch")}},
            opset_version=_DYNAMO_SET,
            external_data=False,
            verbose=False,
        )


def _gap(path: Path, images: Tensor, wanted: Tensor) -> float:
    """By how much of the largest entry the features of a program differ from those that are wanted."""
    with torch.no_grad():
        found = OnnxNetwork(read_program(path))(images)
    if found.shape != wanted.shape:
        raise ValueError(f"it gives features {tuple(found.shape)}, the module {tuple(wanted.shape)}")
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(torch.finfo(wanted.dtype).tiny))


def _keep(written: Path, target: Path) -> Path:
    """Move a file to its place, whole or not at all."""
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_bytes(written.read_bytes())
        partial.replace(target)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise StorageError(f"{str(target)!r} cannot be written: {error.strerror}.") from error
    return target
