"""What is asked of the weights and of the manifest."""

from __future__ import annotations

from collections.abc import Iterable

from .findings import Fault
from .paths import MANIFEST
from .rules import Bundle, met, rule

#: What is something else altogether is not looked at as weights.
_DISGUISED = ("SUB013", "SUB014")


@rule("SUB201")
def has_weights(bundle: Bundle) -> Iterable[Fault]:
    """The file that `model.weights` names lies beside `submission.yaml`.

    Put it there, or name the one that does.
    """
    description = bundle.description
    if description is not None and not bundle.has(description.weights) and not bundle.is_unread(description.weights):
        yield Fault(code="SUB201", place=description.weights, problem="is missing")


@rule("SUB202", requires=_DISGUISED)
def has_a_header(bundle: Bundle) -> Iterable[Fault]:
    """A safetensors file begins with a header of at most 4 MiB that is JSON and names every tensor once.

    Save it again with safetensors.
    """
    return met(bundle, "SUB202")


@rule("SUB203", requires=_DISGUISED)
def has_tensors_in_place(bundle: Bundle) -> Iterable[Fault]:
    """Its tensors have the bytes of their shapes and lie one behind the other, from the header to the end of the file.

    Save it again with safetensors.
    """
    return met(bundle, "SUB203")


@rule("SUB204", requires=_DISGUISED)
def has_known_numbers(bundle: Bundle) -> Iterable[Fault]:
    """Its numbers are of a type that safetensors names.

    Convert them, and save it again.
    """
    return met(bundle, "SUB204")


@rule("SUB205", requires=_DISGUISED)
def has_finite_numbers(bundle: Bundle) -> Iterable[Fault]:
    """No weight is NaN or infinite.

    Take a checkpoint from before training diverged.
    """
    return met(bundle, "SUB205")


@rule("SUB206", requires=_DISGUISED)
def is_a_program(bundle: Bundle) -> Iterable[Fault]:
    """An ONNX file is a valid graph of operator set 9 to 20, from one batch of images to features.

    Export the network again, in inference mode and with opset_version=17.
    """
    return met(bundle, "SUB206")


@rule("SUB207", requires=_DISGUISED)
def keeps_its_weights(bundle: Bundle) -> Iterable[Fault]:
    """An ONNX file keeps its weights in itself.

    Export it as a single file.
    """
    return met(bundle, "SUB207")


@rule("SUB208", requires=_DISGUISED)
def has_known_operators(bundle: Bundle) -> Iterable[Fault]:
    """An ONNX file uses operators of ONNX's own that docs/models.md lists.

    Export the network with those, in inference mode.
    """
    return met(bundle, "SUB208")


@rule("SUB209", requires=_DISGUISED)
def is_one_flat_graph(bundle: Bundle) -> Iterable[Fault]:
    """An ONNX file has no functions, subgraphs or training steps.

    Export the network in inference mode, with functions inlined.
    """
    return met(bundle, "SUB209")


@rule("SUB210", requires=_DISGUISED)
def is_a_small_program(bundle: Bundle) -> Iterable[Fault]:
    """An ONNX file has at most 20,000 nodes and 512 MiB.

    Simplify it before exporting, or send safetensors for a known architecture.
    """
    return met(bundle, "SUB210")


@rule("SUB301")
def has_a_manifest(bundle: Bundle) -> Iterable[Fault]:
    """An archive has a `manifest.json`.

    Run `robustreid submit pack` on your folder.
    """
    if bundle.contents.is_archive and not bundle.has(MANIFEST) and not bundle.is_unread(MANIFEST):
        yield Fault(code="SUB301", place=MANIFEST, problem="is missing")


@rule("SUB302")
def has_a_readable_manifest(bundle: Bundle) -> Iterable[Fault]:
    """`manifest.json` is {"version": 1, "files": {path: sha256}}.

    Remove it from a folder; run `robustreid submit pack` for an archive.
    """
    if bundle.manifest is not None and bundle.manifest.problem:
        yield Fault(code="SUB302", place=MANIFEST, problem=bundle.manifest.problem)


@rule("SUB303", requires=["SUB302"])
def has_right_digests(bundle: Bundle) -> Iterable[Fault]:
    """Every file has the sha256 that the manifest says.

    Download it again, or run `robustreid submit pack` anew; in a folder, remove the manifest.
    """
    return met(bundle, "SUB303")


@rule("SUB304", requires=["SUB301", "SUB302"])
def lists_every_file(bundle: Bundle) -> Iterable[Fault]:
    """The manifest lists every file but itself.

    Run `robustreid submit pack` anew; in a folder, remove the manifest.
    """
    if bundle.manifest is not None:
        for name in bundle.contents.names():
            if name != MANIFEST and name not in bundle.manifest.digests:
                yield Fault(code="SUB304", place=name, problem=f"is not listed in {MANIFEST}")


@rule("SUB305", requires=["SUB302"])
def holds_every_listed_file(bundle: Bundle) -> Iterable[Fault]:
    """Every file that the manifest lists is there.

    Run `robustreid submit pack` anew; in a folder, remove the manifest.
    """
    if bundle.manifest is not None:
        for name in bundle.manifest.digests:
            if name == MANIFEST or not (bundle.has(name) or bundle.is_unread(name)):
                yield Fault(code="SUB305", place=name, problem=f"is listed in {MANIFEST}, and is not there")


WEIGHTS_RULES = (
    *(has_weights, has_a_header, has_tensors_in_place, has_known_numbers, has_finite_numbers, is_a_program),
    *(keeps_its_weights, has_known_operators, is_one_flat_graph, is_a_small_program),
)
MANIFEST_RULES = (
    *(has_a_manifest, has_a_readable_manifest, has_right_digests, lists_every_file, holds_every_listed_file),
)
