"""Small maps, stretched over a row of the picture: rows of nodes, mixed and made into planes as they are needed.

Bilinear, with half-pixel centres, the ends repeated. Compiled by numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from livecomp.compiled import compiled
from livecomp.composite.lanes import BLOCK, LANES, ramp
from livecomp.composite.planes import PLANE
from livecomp.composite.surround import SIDES

__all__ = [
    "find_cells",
    "find_lit",
    "find_slopes",
    "find_starts",
    "mix_light",
    "mix_sides",
    "nodes_between",
    "place",
    "stretch",
]

F32 = NDArray[np.float32]
I32 = NDArray[np.int32]
U32 = NDArray[np.uint32]
U8 = NDArray[np.uint8]

_compiled = compiled(fastmath=True, nogil=True, error_model="numpy")

_Int: Any = np.int64
_ONE = np.float32(1)
_HALF = np.float32(0.5)
_ZERO = np.float32(0)


@_compiled
def place(index: int, length: int, small: int) -> tuple[int, int, np.float32]:
    """Where pixel `index` of `length` falls among `small` nodes: two neighbours and the weight of the second."""
    position = (np.float32(index) + _HALF) * np.float32(small) / np.float32(length) - _HALF
    position = min(max(position, _ZERO), np.float32(small - 1))
    first = int(position)
    second = min(first + 1, small - 1)
    return first, second, position - np.float32(first)


@_compiled
def find_starts(width: int, columns: int) -> I32:
    """First pixel of each stretch of a row of `width` pixels that lies between the same two of `columns` nodes.

    Stretch k lies between nodes k - 1 and k; the first and the last lie outside all nodes. (columns + 2,) int32.
    """
    starts = np.empty(columns + 2, np.int32)
    scale = np.float32(columns) / np.float32(width)
    for k in range(columns + 1):
        starts[k] = max(0, min(width, int(np.ceil((np.float32(k) - _HALF) / scale - _HALF))))
    starts[0], starts[columns + 1] = 0, width
    return starts


@_compiled
def find_cells(starts: I32, width: int) -> I32:
    """The stretch of `starts` that the first pixel of each block of a row lies in."""
    cells = np.empty((width + BLOCK - 1) // BLOCK, np.int32)
    cell = 0
    for block in range(cells.size):
        while starts[cell + 1] <= block * BLOCK:
            cell += 1
        cells[block] = cell
    return cells


@_compiled
def nodes_between(cell: int, right: int, starts: I32, columns: int) -> tuple[int, int]:
    """The nodes that pixels from the stretch `cell` to the pixel `right` lie between: the first, one past the last."""
    last = cell
    while starts[last + 1] < right:
        last += 1
    return max(cell - 1, 0), min(last, columns - 1) + 1


@_compiled
def find_lit(around: F32, upper: int, lower: int, starts: I32, lit: U8) -> None:
    """Which blocks of a row between two rows of nodes the scene's light reaches."""
    columns = starts.size - 2
    up, low = np.uint64(4 * upper + 3), np.uint64(4 * lower + 3)
    for block in range(lit.size):
        lit[block] = 0
    for k in range(np.uint64(columns)):
        if around[up + np.uint64(4) * k] > _ZERO or around[low + np.uint64(4) * k] > _ZERO:
            # a node acts on the pixels on either side of it, as far as the next one
            for block in range(starts[k] // BLOCK, (max(1, starts[k + np.uint64(2)]) - 1) // BLOCK + 1):
                lit[np.uint64(block)] = 1


@_compiled
def mix_sides(
    sides: U32, upper: int, lower: int, first: int, last: int, v: np.float32, scale: np.float32, nodes: F32
) -> None:
    """Nodes `first` to `last` of a row between two rows of the maps."""
    up, low = np.uint64(SIDES * (upper + first)), np.uint64(SIDES * (lower + first))
    b = v * scale
    a = scale - b
    for x in range(np.uint64(SIDES * (last - first))):
        nodes[x] = a * np.float32(sides[up + x]) + b * np.float32(sides[low + x])


@_compiled
def mix_light(
    light: F32, around: F32, upper: int, lower: int, first: int, last: int, v: np.float32, nodes: F32
) -> None:
    """The same for the scene's light, and with it 1 minus the blurred matte."""
    up, low = np.uint64(4 * (upper + first)), np.uint64(4 * (lower + first))
    rest = _ONE - v
    for x in range(np.uint64(4 * (last - first))):
        nodes[x] = rest * (light[up + x] + around[up + x]) + v * (light[low + x] + around[low + x])


@_compiled
def find_slopes(nodes: F32, slopes: F32, channels: int, count: int) -> None:
    """From each of `count` nodes to the next one; none after the last."""
    step, last = np.uint64(channels), np.uint64(channels * (count - 1))
    for x in range(last):
        slopes[x] = nodes[x + step] - nodes[x]
    for x in range(step):
        slopes[last + x] = _ZERO


@_compiled
def stretch(
    nodes: F32,
    slopes: F32,
    first: int,
    channels: int,
    planes: F32,
    plane: np.uint64,
    starts: I32,
    cell: int,
    left: int,
    right: int,
    width: int,
) -> None:
    """A row of nodes from `first` on, `channels` values each, as planes: bilinear, the ends repeated.

    Writes `LANES` pixels at a time, also beyond a stretch, where the next one writes anew.
    """
    scale = np.float32(starts.size - 2) / np.float32(width)
    x = left
    while x < right:
        stop = min(right, _Int(starts[cell + 1]))
        i = np.uint64(channels * (max(cell - 1, 0) - first))
        step = scale if cell > 0 else _ZERO
        t = (np.float32(x) + _HALF) * scale + _HALF - np.float32(cell) if cell > 0 else _ZERO
        to = plane + np.uint64(x - left)
        for _ in range(x, stop, LANES):
            for c in range(np.uint64(channels)):
                ramp(planes, to + c * PLANE, nodes[i + c], slopes[i + c], t, step)
            to += np.uint64(LANES)
            t += step * np.float32(LANES)
        x = stop
        cell += 1
