"""Layers of an IR that move entries or reduce over axes, in ONNX's operators. Definitions: docs.openvino.ai.

No torch.
"""

from __future__ import annotations

from .emitter import Emitter, Translate, Value, numbers, says
from .graph import Layer


def reduction(operator: str) -> Translate:
    """A layer that reduces over the axes of its second input."""

    def translate(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
        axes = tuple(emitter.integers(layer, inputs[1]))
        if not axes:
            return [inputs[0].name]
        return [emitter.node(operator, [inputs[0].name], axes=axes, keepdims=int(says(layer, "keep_dims")))]

    return translate


def reshape(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """Another shape; with `special_zero` 0 copies a size."""
    takes_zero = int(not says(layer, "special_zero"))
    value, sizes = (value.name for value in inputs)
    return [emitter.node("Reshape", [value, sizes], allowzero=takes_zero)]


def transpose(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """Axes in another order, reversed where none is given."""
    order = tuple(emitter.integers(layer, inputs[1]))
    return [emitter.node("Transpose", [inputs[0].name], **({"perm": order} if order else {}))]


def concat(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """One after the other along an axis."""
    (axis,) = numbers(emitter, layer, "axis") or [0]
    return [emitter.node("Concat", [value.name for value in inputs], axis=axis)]


_CASTS = {"f16": 1, "f32": 1, "f64": 1, "bf16": 1, "i32": 6, "i64": 7, "boolean": 9}


def convert(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """Another type; between floating ones nothing changes."""
    wanted = layer.attributes.get("destination_type", "").lower()
    if wanted not in _CASTS:
        raise emitter.wrong(layer, f"converts to {wanted!r}, expected {', '.join(_CASTS)}")
    constant = emitter.constants.get(inputs[0].name)
    if _CASTS[wanted] == 1 and constant is not None and constant.dtype.kind == "f":
        return [inputs[0].name]
    return [emitter.node("Cast", [inputs[0].name], to=_CASTS[wanted])]


def gather(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """Entries at places along an axis."""
    if layer.attributes.get("batch_dims", "0") != "0":
        raise emitter.wrong(layer, "gathers image by image")
    (axis,) = emitter.integers(layer, inputs[2])
    return [emitter.node("Gather", [inputs[0].name, inputs[1].name], axis=axis)]


def slice_(emitter: Emitter, _layer: Layer, inputs: list[Value]) -> list[str]:
    """IR has (data, start, stop, step, axes), ONNX (data, starts, ends, axes, steps)."""
    data, start, stop, step, *axes = (value.name for value in inputs)
    return [emitter.node("Slice", [data, start, stop, axes[0] if axes else "", step])]


def strided_slice(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """Python's slicing; a mask of 1 ignores a bound, `shrink_axis_mask` takes one entry and drops the axis."""
    if any(1 in numbers(emitter, layer, f"{name}_mask") for name in ("new_axis", "ellipsis")):
        raise emitter.wrong(layer, "makes new axes")
    begins, ends = (emitter.integers(layer, value) for value in inputs[1:3])
    steps = emitter.integers(layer, inputs[3]) if len(inputs) > 3 else [1] * len(begins)
    ignored = [numbers(emitter, layer, f"{name}_mask") for name in ("begin", "end", "shrink_axis")]
    open_begin, open_end, shrinks = ([place < len(mask) and mask[place] == 1 for place in range(len(begins))]
                                     for mask in ignored)  # fmt: skip
    for place, step in enumerate(steps):
        if shrinks[place]:
            ends[place], steps[place] = (begins[place] + 1) or 2**31 - 1, 1
            continue
        if open_begin[place]:
            begins[place] = 0 if step > 0 else 2**31 - 1
        if open_end[place]:
            ends[place] = 2**31 - 1 if step > 0 else -(2**31)
    parts = [emitter.integers_constant(part) for part in (begins, ends, list(range(len(begins))), steps)]
    name = emitter.node("Slice", [inputs[0].name, *parts])
    dropped = [place for place, drops in enumerate(shrinks) if drops]
    return [emitter.node("Squeeze", [name, emitter.integers_constant(dropped)]) if dropped else name]


def split(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """Parts along an axis, even or of the sizes of a third input, of which one may be -1, the rest."""
    (axis,) = emitter.integers(layer, inputs[1])
    names = [inputs[0].name]
    if len(inputs) > 2:
        sizes = emitter.integers(layer, inputs[2])
        if -1 in sizes:
            whole = inputs[0].shape[axis]
            if whole is None:
                raise emitter.wrong(layer, "takes the rest of an axis whose size the file leaves open")
            sizes[sizes.index(-1)] = whole - sum(sizes) - 1
        names.append(emitter.integers_constant(sizes))
    return emitter.split("Split", names, len(layer.outputs), axis=axis)


def pad(emitter: Emitter, layer: Layer, inputs: list[Value]) -> list[str]:
    """Wider at the begin and end of axes."""
    mode = layer.attributes.get("pad_mode", "constant")
    amounts = [amount for value in inputs[1:3] for amount in emitter.integers(layer, value)]
    fill = [inputs[3].name] if len(inputs) > 3 else []
    return [emitter.node("Pad", [inputs[0].name, emitter.integers_constant(amounts), *fill], mode=mode)]
