"""From what a user asks for to a specification (cheap, no torch), and from that to an embedder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import InvalidFileError, UserError
from .base import METRICS, NORMALISATIONS, Metric, ModelSpec, Normalise
from .catalogue import ARCHITECTURES, INPUT_SIZES
from .defences.catalogue import DefenceRequest, parse
from .registry import load_reference, nearest, unknown
from .weights.files import ONLY_SAFE_FORMATS, weights_sha256

if TYPE_CHECKING:
    from torch import Tensor

    from .pixels import PixelEmbedder
    from .program.reader import Program

#: What a grid's `normalise` may be.
NormaliseRequest = str | Mapping[str, Sequence[float]] | Normalise | None

PROGRAM, PLUGIN = "onnx", "plugin"
#: OpenVINO's IR: fed as `normalise` says, and as Open Model Zoo's networks expect it (BGR in 0..255).
IR, IR_BGR255 = "ir", "ir-bgr255"
#: What brings its own network: the ending of its file -> the architectures that it may be, the default one first.
PROGRAMS: Mapping[str, tuple[str, ...]] = {".onnx": (PROGRAM,), ".xml": (IR, IR_BGR255)}
_PROGRAM_NAMES = tuple(name for names in PROGRAMS.values() for name in names)
#: The entry-point group of models that need no --trust-code.
PLUGIN_GROUP = "robustreid.models"


def resolve(
    *,
    label: str,
    architecture: str | None = None,
    weights: Path | str | None = None,
    plugin: str | None = None,
    normalise: NormaliseRequest = None,
    metric: str = "cosine",
    input_size: Sequence[int] | None = None,
    defence: DefenceRequest = None,
) -> ModelSpec:
    """The specification of a model; reads its weights file for the digest, runs no code of others, imports no torch.

    Args:
        label: what the user calls it.
        architecture: a name of `ARCHITECTURES`, or `ir-bgr255`; `onnx`, `ir` and `plugin` follow from the other two.
        weights: a safetensors file for an architecture or plugin, an ONNX program, or an IR's .xml, its .bin beside it.
        plugin: `package:callable`.
        normalise: `none`, `imagenet`, {mean, std} or a `Normalise`; by default `imagenet` for an architecture, else
            `none`.
        metric: `cosine` or `euclidean`.
        input_size: (height, width); by default what the program declares or the architecture was made for.
        defence: what stands before the resize: `jpeg`, {name: jpeg, quality: 75}, or several, the first one first.

    Raises:
        UserError: where names are unknown, parts are missing or contradict each other, or a file does not exist.
        InvalidFileError: where the weights are neither safetensors nor a readable program.

    """
    if metric not in METRICS:
        raise unknown("metric", metric, METRICS)
    chosen: Metric = "cosine" if metric == "cosine" else "euclidean"
    path = None if weights is None else Path(weights)
    kind = _kind(label, architecture, path, plugin)
    default = "none" if kind in {*_PROGRAM_NAMES, PLUGIN} else "imagenet"
    return ModelSpec(
        label=label,
        architecture=kind,
        weights=path,
        sha256=_reference_sha256(str(plugin)) if path is None else weights_sha256(path),
        plugin=plugin,
        input_size=_size(label, input_size) or _default_size(kind, path),
        normalise=_normalisation(label, default if normalise is None else normalise),
        metric=chosen,
        defence=parse(defence),
    )


def build(spec: ModelSpec, *, device: str = "cpu", trust_code: bool = False) -> PixelEmbedder:
    """The embedder that `spec` describes, on `device`, in evaluation mode; the global random state is left alone.

    Args:
        spec: from `resolve`.
        device: as torch names it.
        trust_code: run a plugin that is no installed entry point.

    Raises:
        UserError: where a plugin is not trusted or does not load.
        InvalidFileError: where the weights do not fit, or changed since `resolve`.

    """
    import torch

    from .engine import embedder

    if spec.weights is not None and spec.sha256 and weights_sha256(spec.weights) != spec.sha256:
        raise InvalidFileError(
            f"The weights file {str(spec.weights)!r} of model {spec.label!r} changed after it was looked at, "
            f"expected sha256 {spec.sha256}; start again."
        )
    with torch.random.fork_rng(devices=[]):
        found = network(spec, trust_code=trust_code)
    return embedder(found, spec).to(device)


def _kind(label: str, architecture: str | None, weights: Path | None, plugin: str | None) -> str:
    """The architecture of a request, or the sentence that says why there is none."""
    if plugin is not None:
        if architecture not in {None, PLUGIN} or not all(plugin.partition(":")):
            raise UserError(
                f"The model {label!r} names the plugin {plugin!r} and the architecture {architecture!r}; expected "
                f"`plugin: package:callable` and no architecture."
            )
        return PLUGIN
    if architecture not in {None, *_PROGRAM_NAMES} and architecture not in ARCHITECTURES:
        raise unknown("architecture", str(architecture), [*ARCHITECTURES.names(), *_PROGRAM_NAMES])
    if weights is None:
        raise UserError(
            f"The model {label!r} has no weights; expected `weights: FILE.onnx` or `FILE.xml`, or "
            f"`weights: FILE.safetensors` with an architecture, or `plugin: package:callable`."
        )
    may_be = PROGRAMS.get(weights.suffix.lower(), ())
    if may_be and architecture not in {None, *may_be}:
        raise UserError(
            f"The model {label!r} names the architecture {architecture!r} and the program {weights.name!r}, which "
            f"brings its own; leave one of the two out."
        )
    if may_be or architecture in _PROGRAM_NAMES:
        return architecture or may_be[0]
    if weights.suffix.lower() != ".safetensors":
        raise InvalidFileError(
            f"The weights file {str(weights)!r} of model {label!r} is not read; {ONLY_SAFE_FORMATS}."
        )
    if architecture is None:
        raise UserError(
            f"The weights file {weights.name!r} of model {label!r} says nothing about its network; name an "
            f"architecture beside it: {', '.join(ARCHITECTURES.names())}."
        )
    return architecture


def _default_size(kind: str, weights: Path | None) -> tuple[int, int] | None:
    if kind in _PROGRAM_NAMES and weights is not None:
        return _read(kind, weights).input_size
    return INPUT_SIZES.get(kind)


def _read(kind: str, weights: Path) -> Program:
    if kind == PROGRAM:
        from .program.reader import read_program

        return read_program(weights)
    from .program.ir.reader import read_ir

    return read_ir(weights, takes_bgr255=kind == IR_BGR255)


def _size(label: str, size: Sequence[int] | None) -> tuple[int, int] | None:
    if size is None:
        return None
    if len(size) != 2 or any(type(side) is not int or side < 1 for side in size):
        raise UserError(
            f"The model {label!r} has input_size {list(size)}; expected [height, width], two whole numbers above 0."
        )
    return (size[0], size[1])


def _normalisation(label: str, wanted: str | Mapping[str, Sequence[float]] | Normalise) -> Normalise:
    if isinstance(wanted, Normalise):
        return wanted
    if isinstance(wanted, str):
        if wanted not in NORMALISATIONS:
            raise unknown("normalisation", wanted, NORMALISATIONS)
        return NORMALISATIONS[wanted]
    try:
        (m0, m1, m2), (s0, s1, s2) = (tuple(map(float, wanted[name])) for name in ("mean", "std"))
        if len(wanted) == 2:
            return Normalise(mean=(m0, m1, m2), std=(s0, s1, s2))
    except (KeyError, TypeError, ValueError):
        pass
    raise UserError(
        f"The model {label!r} has normalise {wanted!r}; expected none, imagenet, or {{mean: [r, g, b], std: [r, g, "
        f"b]}} with three numbers each, those of std above 0."
    )


def _entry_point(reference: str) -> EntryPoint | None:
    """The installed entry point of `PLUGIN_GROUP` with this very value."""
    return next((point for point in entry_points(group=PLUGIN_GROUP) if point.value == reference), None)


def _reference_sha256(reference: str) -> str:
    """The digest of a plugin that brings its own weights: of its reference, and its distribution where one is known."""
    point = _entry_point(reference)
    owner = f" {point.dist.name} {point.dist.version}" if point is not None and point.dist is not None else ""
    return hashlib.sha256(f"{reference}{owner}".encode()).hexdigest()


def network(spec: ModelSpec, *, trust_code: bool = False) -> Callable[[Tensor], Tensor]:
    """The network of `spec` as its author wrote it, on the CPU, in whatever mode that left it.

    Raises:
        UserError: where a plugin is not trusted or does not load.
        InvalidFileError: where the weights do not fit.

    """
    if spec.architecture == PLUGIN:
        return _plugin_network(spec, trust_code=trust_code)
    if spec.weights is None:
        raise UserError(f"The model {spec.label!r} has no weights; name a weights file.")
    if spec.architecture in _PROGRAM_NAMES:
        from .program.network import OnnxNetwork

        return OnnxNetwork(_read(spec.architecture, spec.weights))
    from .weights.files import load_safetensors

    module = ARCHITECTURES.load(spec.architecture)()
    load_safetensors(module, spec.weights)
    result: Callable[[Tensor], Tensor] = module
    return result


def _plugin_network(spec: ModelSpec, *, trust_code: bool) -> Callable[[Tensor], Tensor]:
    reference = spec.plugin or ""
    if not trust_code and _entry_point(reference) is None:
        known = [point.value for point in entry_points(group=PLUGIN_GROUP)]
        raise UserError(
            f"The plugin {reference!r} of model {spec.label!r} runs with your rights and is no installed entry point "
            f"of group {PLUGIN_GROUP!r}, so it needs --trust-code.{nearest(reference, known)}"
        )
    try:
        builder: Any = load_reference(reference)
        found: Any = builder() if spec.weights is None else builder(spec.weights)
    except Exception as error:
        raise UserError(
            f"The plugin {reference!r} of model {spec.label!r} does not load: {type(error).__name__}: {error}."
        ) from error
    if not callable(found):
        raise UserError(
            f"The plugin {reference!r} of model {spec.label!r} returned a {type(found).__name__}; expected a module "
            f"or another callable of images."
        )
    result: Callable[[Tensor], Tensor] = found
    return result
