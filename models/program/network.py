"""An ONNX program as a torch module: differentiable, deterministic, for any batch size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from ... import InvalidFileError
from .operators import OPERATORS, SPLITTERS
from .reader import Node, Program
from .supported import MAX_CONSTANT

#: A feature of a program with a fixed batch may differ by this share of its largest entry between two batches.
BATCH_TOLERANCE = 1e-3
#: Pixels (height, width) of the trial images where the file leaves the size open.
TRIAL_SIZE = (256, 128)


#: Operators whose gradients do not look at what they gave.
_NOT_KEPT = frozenset({"Add", "BatchNormalization", "Conv", "Gemm", "MatMul"})


@dataclass(frozen=True)
class _Step:
    """One node to run, and the values that nobody needs after it."""

    node: Node
    spent: tuple[str, ...]
    #: Whether it may overwrite its input.
    in_place: bool = False


class OnnxNetwork(nn.Module):
    """Images (B, 3, H, W), in whatever range the program expects, to features (B, D); gradients reach the images.

    Floating constants are parameters without gradients, so that `.to(device)` and `.double()` carry them; integers stay
    on the CPU, where shapes are computed. Whatever depends on no image is computed once, here. Where the file fixes
    the batch size, shapes that repeat it follow the real one, and two trial batches must agree on each image.

    Args:
        program: a checked graph.

    Raises:
        InvalidFileError: where the program does not run, or mixes the images of a batch.

    """

    #: Fed in that memory layout, which is faster; no operator here depends on it.
    channels_last = True

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        known = {name: torch.from_numpy(array) for name, array in program.initialisers.items()}
        remaining = self._fold(known)
        if program.input_shape[0] is not None:
            remaining = [_free_batch(node, known, program.input_shape[0]) for node in remaining]
        used = {name for node in remaining for name in node.inputs} | {program.output_name}
        if program.output_name in known:
            raise self._refusal("has an output that does not depend on the images")
        self.steps = _schedule(remaining, program.output_name)
        self.constants = nn.ParameterList()
        self._place: dict[str, int] = {}
        self._integers: dict[str, Tensor] = {}
        for name in sorted(used & known.keys()):
            value = known[name]
            if value.is_floating_point():
                self._place[name] = len(self.constants)
                self.constants.append(nn.Parameter(value.contiguous(), requires_grad=False))
            else:
                self._integers[name] = value
        self.eval()
        if program.input_shape[0] is not None:
            self._check_batch(program.input_shape[0])

    def forward(self, images: Tensor) -> Tensor:
        """Features (B, D) of images (B, 3, H, W)."""
        values: dict[str, Tensor] = {self.program.input_name: images}
        constants = list(self.constants)
        values |= {name: constants[place] for name, place in self._place.items()}
        values |= self._integers
        for step in self.steps:
            if step.in_place:
                values[step.node.outputs[0]] = values[step.node.inputs[0]].relu_()
            else:
                values.update(zip(step.node.outputs, self._run(step.node, values), strict=False))
            for name in step.spent:
                del values[name]
        features = values[self.program.output_name]
        return features.flatten(1) if features.ndim > 2 else features

    def _run(self, node: Node, values: dict[str, Tensor]) -> Sequence[Tensor]:
        inputs = [values[name] if name else None for name in node.inputs]
        try:
            if node.operator in SPLITTERS:
                return SPLITTERS[node.operator](node, *inputs)
            return (OPERATORS[node.operator](node, *inputs),)
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            if _is_machine_fault(error):
                raise
            shapes = ", ".join("none" if value is None else str(tuple(value.shape)) for value in inputs)
            reason = str(error).split("\n", maxsplit=1)[0]
            raise self._refusal(f"does not run: {node.operator} of shapes {shapes} fails with {reason!r}") from error

    def _fold(self, known: dict[str, Tensor]) -> list[Node]:
        """Nodes that depend on the images; what the others give is added to `known`."""
        remaining = []
        with torch.no_grad():
            for node in self.program.nodes:
                if all(name in known for name in node.inputs if name):
                    results = self._run(node, known)
                    if max((value.numel() for value in results), default=0) > MAX_CONSTANT:
                        raise self._refusal(f"computes a constant of more than {MAX_CONSTANT} entries")
                    known.update(zip(node.outputs, results, strict=False))
                else:
                    remaining.append(node)
        return remaining

    def _check_batch(self, declared: int) -> None:
        """Refuse a program whose features of an image change with the batch it stands in."""
        height, width = self.program.input_size or TRIAL_SIZE
        n_images = declared + 1
        ramp = torch.arange(n_images * 3 * height * width, dtype=torch.float32)
        images = torch.frac(ramp * 0.6180339887).view(n_images, 3, height, width)
        remedy = f"the batch of {declared} is part of its graph: export it with a dynamic batch axis"
        with torch.no_grad():
            first, last = self(images[:-1]), self(images[1:])
            try:
                together = self(images)
            except InvalidFileError as error:
                raise self._refusal("cannot take another batch size", remedy) from error
        if together.shape[0] != n_images:
            raise self._refusal("cannot take another batch size", remedy)
        gap = max((together[:-1] - first).abs().max(), (together[1:] - last).abs().max())
        if not gap <= BATCH_TOLERANCE * together.abs().max():
            raise self._refusal("mixes the images of a batch", remedy)

    def _refusal(self, wrong: str, remedy: str = "export it again and compare it with onnxruntime") -> InvalidFileError:
        return InvalidFileError(f"The program {str(self.program.path)!r} {wrong}; {remedy}.")


def _is_machine_fault(error: Exception) -> bool:
    """Whether memory or the device failed, which says nothing about the file."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error) or "CUDA error" in str(error)


def _free_batch(node: Node, known: dict[str, Tensor], declared: int) -> Node:
    """The node with a constant shape that starts with the declared batch changed to copy the real one."""
    if node.operator != "Reshape" or node.inputs[1] not in known:
        return node
    sizes = known[node.inputs[1]].flatten().clone()
    if sizes.numel() == 0 or int(sizes[0]) != declared or bool((sizes == 0).any() and node.integer("allowzero", 0)):
        return node
    sizes[0] = 0
    name = f"{node.inputs[1]} for any batch"
    known[name] = sizes
    return replace(node, inputs=(node.inputs[0], name), attributes={**node.attributes, "allowzero": 0})


def _schedule(nodes: Sequence[Node], output: str) -> tuple[_Step, ...]:
    """The nodes that the output needs, each with the values that are used by no later one."""
    needed, kept = {output}, []
    for node in reversed(nodes):
        if needed & set(node.outputs):
            spent = tuple(dict.fromkeys(name for name in (*node.inputs, *node.outputs) if name and name not in needed))
            needed |= {name for name in node.inputs if name}
            kept.append(_Step(node, spent))
    made_by = {name: node.operator for node in nodes for name in node.outputs}
    uses = Counter(name for step in kept for name in step.node.inputs)

    def in_place(node: Node) -> bool:
        """Whether a rectifier alone needs its input, also when gradients are taken; saves a tenth of their time."""
        return node.operator == "Relu" and uses[node.inputs[0]] == 1 and made_by.get(node.inputs[0]) in _NOT_KEPT

    return tuple(replace(step, in_place=in_place(step.node)) for step in reversed(kept))
