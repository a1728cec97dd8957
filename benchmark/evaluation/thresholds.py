"""Counting numbers between the thresholds of many queries in one pass, without sorting.

Each of R queries has values of its own, ascending; all T of them are numbered through. A number is on level k of its
query where k of the query's values are below it. Near a value, in its band, a number is in doubt.

The range of a query's bands is cut into bins, and a table says of each bin how many values are below all of it, or that
a band touches it. So most numbers need one look into a table and no comparison. Bins are wider than bands: a band
touches two at most. The bin of a number is found by the same monotone roundings as the bins of the bands, and that is
all that the table's correctness rests on.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch

from . import devices

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Bins of a query: 4 KiB of table.
_BINS = 1024
#: Bins above the highest band, more than all roundings can take.
_SPARE = 8
#: Bands narrower than this are treated as if they were not: its inverse is a float32.
_NARROWEST = 2.0**-100
#: On the CPU, queries whose numbers are counted at once: they stay in the processor's cache meanwhile.
_BLOCK = 256
#: One number in so many is few.
_FEW = 8
#: Where numbers in doubt are counted, in each block of queries.
_DOUBT = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Thresholds:
    """The values of R queries, their bands, and what was counted between them."""

    #: (T,) float64: ascending within each query.
    values: torch.Tensor
    #: (R + 1,) int64: query r has values starts[r] to starts[r + 1] - 1, at least one.
    starts: torch.Tensor
    #: (T,) float32: bands, ends included.
    lows: torch.Tensor
    highs: torch.Tensor
    #: (R, 1) float32: a number is in bin (number - base) * scale, counted from -1 and cut off at both ends.
    bases: torch.Tensor
    scales: torch.Tensor
    #: (R, 1) int32: where each query's row of its block's table starts.
    offsets: torch.Tensor
    #: (R, bins) int32: at which place of its block numbers in a bin are counted.
    table: torch.Tensor
    #: (R, 1) float32: from base to the end of the highest band, as a distance is computed.
    widths: torch.Tensor
    #: (R,) int64: where the numbers above all values of a query are counted.
    tops: torch.Tensor
    #: (T + R,) int64: numbers on each level; level k of query r at starts[r] + r + k. Level 0 may count too few.
    counts: torch.Tensor
    #: (T,) int64: numbers that are equal to each value.
    ties: torch.Tensor
    #: The most values that a query has.
    most: int
    #: [start, stop) of the queries that are counted at once, and of their counts.
    blocks: list[tuple[slice, slice]]

    def count(self, numbers: torch.Tensor, scratch: torch.Tensor) -> torch.Tensor:
        """Count numbers (R, G) float32 but those in doubt, of which it gives the places (P,) in the flat matrix.

        Args:
            numbers: minus infinity is below all values.
            scratch: like `numbers`, overwritten.
        """
        width, near = numbers.shape[1], []
        for rows, levels in self.blocks:
            distances = torch.sub(numbers[rows], self.bases[rows], out=scratch[: rows.stop - rows.start])
            some = self._some(distances, rows)
            if some is None:
                bins = _bins(distances, self.scales[rows], self.offsets[rows]).view(-1)
            else:
                row = some // width + rows.start
                bins = _bins(distances.view(-1)[some], self.scales[row, 0], self.offsets[row, 0])
            places = self.table[rows].view(-1).index_select(0, bins)
            self.counts[levels] += torch.bincount(places, minlength=levels.stop - levels.start + 1)[_DOUBT + 1 :]
            found = _where_zero(places)
            near.append((found if some is None else some[found]) + rows.start * width)
        return torch.cat(near)

    def _some(self, distances: torch.Tensor, rows: slice) -> torch.Tensor | None:
        """Flat places of the numbers that have yet to be counted where nearly all lie below, or above, all bands.

        Those below need not be counted, and those above are. None where many lie between. Only on the CPU, where this
        is four times faster than the table.
        """
        if not devices.is_cpu(distances.device):
            return None
        array, few = distances.numpy(), distances.numel() // _FEW
        rest = array >= 0
        if np.count_nonzero(rest) <= few:
            return torch.from_numpy(np.flatnonzero(rest))
        rest = array <= self.widths[rows].numpy()
        if np.count_nonzero(rest) > few:
            return None
        some = np.flatnonzero(rest)
        n_rows, width = distances.shape
        self.counts[self.tops[rows]] += torch.from_numpy(width - np.bincount(some // width, minlength=n_rows))
        return torch.from_numpy(some)

    def count_outside(self, rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Count those of numbers (P,) float32, of queries rows (P,), that are in no band; (P,) bool: who is in one."""
        first = self._first(self.highs, rows, numbers)
        inside = (first < self.starts[rows + 1]) & (self.lows[first.clamp(max=len(self.lows) - 1)] <= numbers)
        self._add((first + rows)[~inside])
        return inside

    def count_exact(self, rows: torch.Tensor, numbers: torch.Tensor) -> None:
        """Count numbers (P,) float64, in the unit of `values`, of queries rows (P,)."""
        first = self._first(self.values, rows, numbers)
        tied = (first < self.starts[rows + 1]) & (self.values[first.clamp(max=len(self.values) - 1)] == numbers)
        self._add(first + rows)
        self.ties.add_(torch.bincount(first[tied], minlength=len(self.ties)))

    def above_and_tied(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many of the numbers so far are above each value, and how many equal to it, (T,) each."""
        starts, ties = self.starts.cpu().numpy(), self.ties.cpu().numpy()
        from_here_on = np.append(np.cumsum(self.counts.cpu().numpy()[::-1])[::-1], 0)
        rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        # The levels above value i, number i - starts[r] of query r, are those from place i + r + 1 to the next query's.
        reached: NDArray[np.int64] = (
            from_here_on[np.arange(len(ties)) + rows + 1] - from_here_on[starts[rows + 1] + rows + 1]
        )
        return reached, ties

    def _first(self, bounds: torch.Tensor, rows: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """(P,) int64: the first of the query's `bounds` (T,), numbered through, that is not below the number."""
        low, high = self.starts[rows], self.starts[rows + 1]
        for _ in range(self.most.bit_length()):
            middle = (low + high) >> 1
            is_below = (bounds[middle.clamp(max=len(bounds) - 1)] < numbers) & (low < high)
            low, high = torch.where(is_below, middle + 1, low), torch.where(is_below, high, middle)
        return low

    def _add(self, places: torch.Tensor) -> None:
        self.counts.add_(torch.bincount(places, minlength=len(self.counts)))


def thresholds(
    values: NDArray[np.float64],
    starts: NDArray[np.int64],
    lows: NDArray[np.float64],
    highs: NDArray[np.float64],
    device: torch.device,
) -> Thresholds:
    """Thresholds with nothing counted yet.

    Args:
        values: (T,) ascending within each query.
        starts: (R + 1,) ascending from 0 to T, where each query's values start.
        lows: (T,) a number below is certainly below the value, ascending as the values are. May be rounded to float32:
            between it and what it is rounded to there is no number that is counted.
        highs: (T,) a number above is certainly above it; likewise.
        device: where the numbers will be.
    """
    n_rows = len(starts) - 1
    low, high = lows.astype(np.float32), highs.astype(np.float32)
    base = low[starts[:-1]]
    widest = max(float((high.astype(np.float64) - low).max()), _NARROWEST)
    spans = np.maximum(high[starts[1:] - 1].astype(np.float64) - base, widest)
    scale = np.minimum((_BINS - _SPARE) / spans, 0.5 / widest).astype(np.float32)
    block = _BLOCK if devices.is_cpu(device) else n_rows
    blocks = [
        (slice(start, stop), slice(int(starts[start]) + start, int(starts[stop]) + stop))
        for start, stop in pairwise([*range(0, n_rows, block), n_rows])
    ]
    found = Thresholds(
        values=torch.from_numpy(values).to(device),
        starts=torch.from_numpy(starts).to(device),
        lows=torch.from_numpy(low).to(device),
        highs=torch.from_numpy(high).to(device),
        bases=torch.from_numpy(base[:, None]).to(device),
        scales=torch.from_numpy(scale[:, None]).to(device),
        offsets=torch.arange(n_rows, dtype=torch.int32, device=device)[:, None] % block * _BINS + 1,
        table=torch.zeros((n_rows, _BINS), dtype=torch.int32, device=device),
        widths=torch.from_numpy((high[starts[1:] - 1] - base)[:, None]).to(device),
        tops=torch.from_numpy(starts[1:] + np.arange(n_rows)).to(device),
        counts=torch.zeros(len(values) + n_rows, dtype=torch.int64, device=device),
        ties=torch.zeros(len(values), dtype=torch.int64, device=device),
        most=int(np.diff(starts).max()),
        blocks=blocks,
    )
    query = torch.from_numpy(np.repeat(np.arange(n_rows), np.diff(starts))).to(device)
    base_of, scale_of = found.bases[query, 0], found.scales[query, 0]
    places = (query * _BINS + 1).to(torch.int32)
    first, last = (_bins(bounds - base_of, scale_of, places) for bounds in (found.lows, found.highs))
    flat = found.table.view(-1)
    flat.index_add_(0, last + 1, torch.ones_like(last))
    found.table[:, 0] += 1
    flat.cumsum_(0)
    for rows, levels in blocks:
        found.table[rows] -= levels.start
    for touched in (first, last):
        flat[touched.to(torch.int64)] = _DOUBT
    return found


def _bins(distances: torch.Tensor, scales: torch.Tensor, offsets: torch.Tensor) -> torch.Tensor:
    """Places in the table, int32, of numbers at these distances (overwritten) from their bases."""
    return distances.mul_(scales).clamp_(-1, _BINS - 3).to(torch.int32).add_(offsets)


def _where_zero(places: torch.Tensor) -> torch.Tensor:
    """(P,) int64: where places (N,) int32 are 0; on the CPU by NumPy, five times faster."""
    if devices.is_cpu(places.device):
        return torch.from_numpy(np.flatnonzero(places.numpy() == 0))
    return (places == 0).nonzero()[:, 0]
