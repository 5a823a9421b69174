"""The matte in a graph: what the selfie networks, the filter, the haze remover and the refiner do on the CPU."""

from __future__ import annotations

import numpy as np

from livecomp.errors import ModelError
from livecomp.gpu.nodes import Nodes
from livecomp.gpu.resample import box_matrix, cell_indices
from livecomp.gpu.shrink import Shrinker
from livecomp.segment.haze import soft_reach
from livecomp.segment.refine import CELL, EPS, LEVELS, RADIUS, SIDE
from livecomp.smooth.matte import REACH

__all__ = [
    "NETWORK_SIZES_WH",
    "USED",
    "add_cleared",
    "add_raw_matte",
    "add_refined",
    "add_steadied",
    "matte_size",
]

NETWORK_SIZES_WH = {"general": (256, 256), "landscape": (256, 144)}
USED = {"general": ("general",), "landscape": ("landscape",), "both": ("general", "landscape")}
"""The networks of each matte model; the first one gives the size of the matte."""


def matte_size(model: str) -> tuple[int, int]:
    """Width and height of the small matte.

    Raises:
        ModelError: The model is none that a graph can hold.
    """
    if model not in USED:
        raise ModelError(f"the matte model {model!r} does not run within whole frames; expected {', '.join(USED)}")
    return NETWORK_SIZES_WH[USED[model][0]]


def add_raw_matte(nodes: Nodes, shrinker: Shrinker, model: str, networks: dict[str, bytes]) -> str:
    """What the networks say of a picture.

    Args:
        nodes: Where to.
        shrinker: Of the picture.
        model: "general", "landscape" or "both", the mean of the two.
        networks: The networks in ONNX, by name.

    Returns:
        (1, 1, h, w) float32, 0..1.
    """
    mattes = []
    for name in USED[model]:
        small = nodes.mul(shrinker.shrunk(NETWORK_SIZES_WH[name]), 1 / 255)
        (matte,) = nodes.embedded(networks[name], name, {"input": small}).values()
        mattes.append(matte if name == USED[model][0] else nodes.stretched(matte, matte_size(model), 1))
    return mattes[0] if len(mattes) == 1 else nodes.mul(nodes.add(*mattes), 1 / len(mattes))


def add_steadied(nodes: Nodes, matte: str, past: str, past_weight: str) -> str:
    """The matte steadied as `MotionAdaptiveFilter` does.

    Args:
        nodes: Where to.
        matte: (1, 1, h, w) float32.
        past: The steadied matte of the frame before, likewise.
        past_weight: (1,) float32, weight of the past in a still pixel; 0 takes the matte as it is.
    """
    change = nodes.sub(past, matte)
    falling = nodes.mul(nodes.op("Abs", change), nodes.mul(past_weight, 1 / REACH))
    keep = nodes.op("Relu", nodes.sub(past_weight, falling))
    return nodes.add(matte, nodes.mul(keep, change))


def add_cleared(nodes: Nodes, matte: str, sure_above: str, size_wh: tuple[int, int]) -> str:
    """The matte without haze, as `HazeRemover` does.

    A graph cannot tell one region from another: that is in `sure_above`, see `livecomp.gpu.regions`.

    Args:
        nodes: Where to.
        matte: (1, 1, h, w) float32.
        sure_above: (1, 1, h, w) float32, the alpha above which a pixel is sure to be the person.
        size_wh: Width and height of the matte.
    """
    width, height = size_wh
    radius, side = soft_reach(width)
    sure = nodes.as_float(nodes.op("Greater", matte, sure_above))
    across = nodes.op("MaxPool", sure, kernel_shape=[1, 2 * radius + 1], pads=[0, radius] * 2)
    near = nodes.op("MaxPool", across, kernel_shape=[2 * radius + 1, 1], pads=[radius, 0] * 2)
    columns = np.ascontiguousarray(box_matrix(width, side).T)
    soft = nodes.op("MatMul", nodes.op("MatMul", box_matrix(height, side), near), columns)
    return nodes.mul(matte, soft)


def add_refined(nodes: Nodes, matte: str, matte_wh: tuple[int, int], shrinker: Shrinker, *, refine: bool) -> str:
    """The matte at full size, on the edges of the picture as `GuidedRefiner` puts it, or stretched plainly.

    Args:
        nodes: Where to.
        matte: (1, 1, h, w) float32, 0..1.
        matte_wh: Its width and height.
        shrinker: Of the picture.
        refine: Whether the matte follows the edges of the picture.

    Returns:
        (1, 1, H, W) float32, whole numbers 0..255. What is no number becomes 0, where nothing of the room is shown.
    """
    if refine:
        value = _guided(nodes, matte, matte_wh, shrinker)
    else:
        value = nodes.stretched(nodes.rounded(nodes.mul(matte, 255.0)), shrinker.size_wh, 1)
    alpha = nodes.rounded(nodes.clip(value, 0, 255))
    # asked before the bounds, which make 0 or 255 of what is no number, as a backend likes
    return nodes.op("Where", nodes.op("GreaterOrEqual", value, 0.5), alpha, 0.0)


def _guided(nodes: Nodes, matte: str, matte_wh: tuple[int, int], shrinker: Shrinker) -> str:
    """Alpha in 0..255, not yet rounded."""
    width, height = size_wh = shrinker.size_wh
    scale = min(1.0, SIDE / max(size_wh))
    small_wh = max(1, round(width * scale)), max(1, round(height * scale))
    small = matte if small_wh == matte_wh else nodes.stretched(matte, small_wh, 1)
    picture, guide = (nodes.sub(nodes.mul(one, 1 / 255), 0.5) for one in (shrinker.picture, shrinker.shrunk(small_wh)))
    coefficients = nodes.stretched(_coefficients(nodes, guide, small), size_wh, 4)
    factors, offset = nodes.part(coefficients, 1, 0, 3), nodes.part(coefficients, 1, 3, 4)
    along = nodes.op("ReduceSum", nodes.mul(factors, picture), np.array([1], np.int64), keepdims=1)
    value = nodes.mul(nodes.add(along, offset), 255.0)
    least, most = _extremes(nodes, small, small_wh)
    rows, columns = cell_indices(height, small_wh[1], CELL), cell_indices(width, small_wh[0], CELL)
    top = nodes.mul(nodes.as_float(nodes.op("Greater", most, LEVELS[0])), 255.0)
    bottom = nodes.mul(nodes.as_float(nodes.op("Not", nodes.op("Less", least, LEVELS[1]))), 255.0)
    bottom = nodes.op("Min", bottom, top)
    bounded = nodes.op("Max", value, nodes.picked(bottom, rows, columns))
    return nodes.op("Min", bounded, nodes.picked(top, rows, columns))


def _coefficients(nodes: Nodes, guide: str, matte: str) -> str:
    """(1, 4, h, w): factors of the colours less one half, and offset, for an alpha of 0..1 with the levels applied."""
    side = 2 * RADIUS + 1
    r, g, b = (nodes.part(guide, 1, channel, channel + 1) for channel in range(3))
    pairs = ((r, r), (g, g), (b, b), (r, g), (r, b), (g, b), (r, matte), (g, matte), (b, matte))
    products = nodes.op("Concat", r, g, b, matte, *(nodes.mul(*pair) for pair in pairs), axis=1)
    means = nodes.box(products, side)
    mr, mg, mb, mp, rr, gg, bb, rg, rb, gb, pr, pg, pb = (
        nodes.part(means, 1, channel, channel + 1) for channel in range(13)
    )

    def spread(product: str, one: str, other: str) -> str:
        return nodes.sub(product, nodes.mul(one, other))

    rr, gg, bb = (nodes.add(spread(*three), EPS) for three in ((rr, mr, mr), (gg, mg, mg), (bb, mb, mb)))
    rg, rb, gb = spread(rg, mr, mg), spread(rb, mr, mb), spread(gb, mg, mb)
    pr, pg, pb = spread(pr, mr, mp), spread(pg, mg, mp), spread(pb, mb, mp)

    def minor(a: str, b: str, c: str, d: str) -> str:
        return nodes.sub(nodes.mul(a, b), nodes.mul(c, d))

    i00, i01, i02 = minor(gg, bb, gb, gb), minor(rb, gb, rg, bb), minor(rg, gb, rb, gg)
    i11, i12, i22 = minor(rr, bb, rb, rb), minor(rg, rb, rr, gb), minor(rr, gg, rg, rg)
    low, high = LEVELS
    stretch = 1 / (high - low)
    determinant = nodes.add(nodes.mul(rr, i00), nodes.mul(rg, i01), nodes.mul(rb, i02))
    scale = nodes.op("Div", stretch, determinant)

    def factor(a: str, b: str, c: str) -> str:
        return nodes.mul(nodes.add(nodes.mul(a, pr), nodes.mul(b, pg), nodes.mul(c, pb)), scale)

    ar, ag, ab = factor(i00, i01, i02), factor(i01, i11, i12), factor(i02, i12, i22)
    explained = nodes.add(nodes.mul(ar, mr), nodes.mul(ag, mg), nodes.mul(ab, mb))
    offset = nodes.sub(nodes.mul(nodes.sub(mp, low), stretch), explained)
    return nodes.box(nodes.op("Concat", ar, ag, ab, offset, axis=1), side)


def _extremes(nodes: Nodes, matte: str, size_wh: tuple[int, int]) -> tuple[str, str]:
    """Least and most of each cell and its eight neighbours, (1, 1, rows, columns) each."""
    width, height = size_wh
    ends = [0, 0, -height % CELL, -width % CELL]

    def most(tensor: str) -> str:
        cells = nodes.op("MaxPool", tensor, kernel_shape=[CELL, CELL], strides=[CELL, CELL], pads=ends)
        return nodes.op("MaxPool", cells, kernel_shape=[3, 3], pads=[1, 1, 1, 1])

    return nodes.op("Neg", most(nodes.op("Neg", matte))), most(matte)
