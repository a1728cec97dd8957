"""ONNX operators that move entries and compute with shapes. Shapes are small integer tensors on the CPU."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from .layers import torch_padding
from .reader import Node
from .supported import MAX_CONSTANT


def entries(value: Tensor) -> list[int]:
    """The integers in a tensor of any shape."""
    return [int(entry) for entry in value.flatten().tolist()]


def shape(node: Node, value: Tensor) -> Tensor:
    """The sizes of the axes, or of a range of them."""
    start, end = node.integer("start", 0), node.attributes.get("end")
    return torch.tensor(value.shape[start : None if end is None else int(end)], dtype=torch.int64)


def constant(node: Node) -> Tensor:
    """The value written in the node."""
    given = node.attributes
    if "value" in given:
        return torch.from_numpy(given["value"])
    if "value_float" in given or "value_floats" in given:
        return torch.tensor(given.get("value_float", given.get("value_floats")), dtype=torch.float32)
    if "value_int" in given or "value_ints" in given:
        return torch.tensor(given.get("value_int", given.get("value_ints")), dtype=torch.int64)
    raise ValueError(f"a Constant of {', '.join(given) or 'nothing'} is not supported; expected numbers")


def constant_of_shape(node: Node, sizes: Tensor) -> Tensor:
    """One number, seen at every place of a shape."""
    filling = node.attributes.get("value")
    value = torch.zeros(1) if filling is None else torch.from_numpy(filling)
    return value.reshape(()).expand(entries(sizes))


def reshape(node: Node, value: Tensor, sizes: Tensor) -> Tensor:
    """The same entries in another shape; 0 copies the size of that axis (unless `allowzero`), -1 takes the rest."""
    wanted = entries(sizes)
    if not node.integer("allowzero", 0):
        wanted = [value.shape[axis] if size == 0 else size for axis, size in enumerate(wanted)]
    return value.reshape(wanted)


def flatten(node: Node, value: Tensor) -> Tensor:
    """A matrix: the axes before `axis`, and the others."""
    axis = node.integer("axis", 1)
    axis = axis + value.ndim if axis < 0 else axis
    rows = 1
    for size in value.shape[:axis]:
        rows *= size
    return value.reshape(rows, -1)


def transpose(node: Node, value: Tensor) -> Tensor:
    """Axes in another order, reversed by default."""
    return value.permute(node.integers("perm") or tuple(reversed(range(value.ndim))))


def _axes(node: Node, axes: Tensor | None) -> list[int] | None:
    if axes is not None:
        return entries(axes)
    given = node.integers("axes")
    return None if given is None else list(given)


def squeeze(node: Node, value: Tensor, axes: Tensor | None = None) -> Tensor:
    """Without the axes named, each of size 1; without all such axes where none is named."""
    wanted = _axes(node, axes)
    return value.squeeze() if wanted is None else value.squeeze(tuple(wanted))


def unsqueeze(node: Node, value: Tensor, axes: Tensor | None = None) -> Tensor:
    """With new axes of size 1 at the named places of the result."""
    wanted = _axes(node, axes) or []
    rank = value.ndim + len(wanted)
    for axis in sorted(axis % rank for axis in wanted):
        value = value.unsqueeze(axis)
    return value


def concat(node: Node, *values: Tensor) -> Tensor:
    """One after the other along an axis."""
    return torch.cat(values, node.integer("axis", 0))


def slice_(
    node: Node,
    value: Tensor,
    starts: Tensor | None = None,
    ends: Tensor | None = None,
    axes: Tensor | None = None,
    steps: Tensor | None = None,
) -> Tensor:
    """A part of each named axis, with steps of either sign; bounds as in Python."""
    first = list(node.integers("starts") or ()) if starts is None else entries(starts)
    last = list(node.integers("ends") or ()) if ends is None else entries(ends)
    along = _axes(node, axes) or list(range(len(first)))
    strides = [1] * len(first) if steps is None else entries(steps)
    for begin, end, axis, step in zip(first, last, along, strides, strict=True):
        # A backward slice is a forward one of the same positions, flipped: no gather, so its gradient is exact.
        size = value.shape[axis]
        places = range(*slice(begin, None if step < 0 and end < -size else end, step).indices(size))
        low, high = (min(places), max(places) + 1) if places else (0, 0)
        index = [slice(None)] * value.ndim
        index[axis] = slice(low, high, abs(step))
        value = value[tuple(index)]
        value = value.flip(axis) if step < 0 else value
    return value


def gather(node: Node, value: Tensor, indices: Tensor) -> Tensor:
    """Entries at places along an axis; negative places count from the end."""
    axis = node.integer("axis", 0) % value.ndim
    places = indices.to(device=value.device, dtype=torch.int64)
    places = torch.where(places < 0, places + value.shape[axis], places)
    picked = value.index_select(axis, places.flatten())
    return picked.reshape((*value.shape[:axis], *indices.shape, *value.shape[axis + 1 :]))


def gather_nd(node: Node, value: Tensor, indices: Tensor) -> Tensor:
    """Entries at places along several axes at once, behind `batch_dims` axes that both inputs share."""
    n_shared = node.integer("batch_dims", 0)
    shared, n_along = value.shape[:n_shared], indices.shape[-1]
    middle, rest = indices.shape[n_shared:-1], value.shape[n_shared + n_along :]
    n_rows = math.prod(shared)
    rows = torch.arange(n_rows, device=value.device).view(-1, *(1 for _ in middle))
    places = indices.to(device=value.device, dtype=torch.int64).reshape(n_rows, *middle, n_along)
    picked = value.reshape(n_rows, *value.shape[n_shared:])[(rows, *places.unbind(-1))]
    return picked.reshape(*shared, *middle, *rest)


def range_(_node: Node, start: Tensor, limit: Tensor, delta: Tensor) -> Tensor:
    """Numbers from `start` on, `delta` apart, up to `limit` without it."""
    first, last, step = start.item(), limit.item(), delta.item()
    if step == 0:
        raise ValueError("a Range in steps of 0 is not supported; expected another step")
    # Whole numbers are divided as such: a quotient in floating point may round.
    n_steps = max(-(-(last - first) // step) if isinstance(step, int) else math.ceil((last - first) / step), 0)
    return start.reshape(()) + torch.arange(_affordable(n_steps), dtype=start.dtype) * delta.reshape(())


def tile(_node: Node, value: Tensor, repeats: Tensor) -> Tensor:
    """The value again and again along each axis."""
    times = entries(repeats)
    _affordable(value.numel() * math.prod(times))
    return value.repeat(times)


def trilu(node: Node, value: Tensor, diagonal: Tensor | None = None) -> Tensor:
    """Each matrix with zeros below a diagonal (`upper`, the default) or above it; the main one is 0."""
    place = 0 if diagonal is None else int(diagonal)
    return value.triu(place) if node.integer("upper", 1) else value.tril(place)


def _affordable(n_entries: float) -> int:
    """The number of entries, where it is not too large for a value that a few numbers ask for."""
    if not n_entries <= MAX_CONSTANT:
        raise ValueError(f"a value of more than {MAX_CONSTANT} entries is not supported")
    return int(n_entries)


def expand(_node: Node, value: Tensor, sizes: Tensor) -> Tensor:
    """Broadcast with a shape, which may itself have axes of 1."""
    return value.expand(torch.broadcast_shapes(value.shape, tuple(entries(sizes))))  # type: ignore[no-untyped-call]


def pad(
    node: Node, value: Tensor, pads: Tensor | None = None, fill: Tensor | None = None, axes: Tensor | None = None
) -> Tensor:
    """Wider at the begin and end of axes: with a number, the edge or a reflection; narrower where negative."""
    amounts = list(node.integers("pads") or ()) if pads is None else entries(pads)
    if axes is not None:
        amounts = _spread(amounts, [axis % value.ndim for axis in entries(axes)], value.ndim)
    mode = node.text("mode", "constant")
    order = torch_padding(amounts)
    if mode == "constant":
        number = node.number("value", 0.0) if fill is None else float(fill)
        return F.pad(value, order, value=number)
    if mode not in {"edge", "reflect"} or any(order[4:]) or value.ndim != 4:
        raise ValueError(
            f"a Pad of mode {mode!r} over these axes is not supported; expected constant, or edge and "
            f"reflect over height and width"
        )
    return F.pad(value, order[:4], mode="replicate" if mode == "edge" else "reflect")


def _spread(amounts: Sequence[int], axes: Sequence[int], rank: int) -> list[int]:
    result = [0] * (2 * rank)
    for place, axis in enumerate(axes):
        result[axis], result[axis + rank] = amounts[place], amounts[place + len(axes)]
    return result


def split(node: Node, value: Tensor, sizes: Tensor | None = None) -> tuple[Tensor, ...]:
    """Parts along an axis, of given sizes or as even as they go (the last one smaller)."""
    axis = node.integer("axis", 0)
    given = node.integers("split") if sizes is None else tuple(entries(sizes))
    if given is None:
        part = -(-value.shape[axis] // len(node.outputs))
        given = tuple(min(part, value.shape[axis] - start) for start in range(0, value.shape[axis], part))
    starts = itertools.accumulate(given, initial=0)
    return tuple(value.narrow(axis, start, size) for start, size in zip(starts, given, strict=False))
