"""Refuse what a graph gives back when it cannot be the composite of this frame, so that the room never shows.

The matte itself is judged by `livecomp.segment.check`, as on the CPU. What comes after it happens out of sight, so here
it is asked of every n-th pixel: is alpha 0 wherever the matte says so, and is the scene alone shown there?
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from livecomp.correction import F32Array
from livecomp.errors import MatteError, ModelError
from livecomp.frame import U8Array
from livecomp.gpu.graph import THIN
from livecomp.gpu.resample import nearest_indices
from livecomp.segment.refine import CELL, LEVELS, SIDE

__all__ = ["check_shapes", "verify"]

_REACH = 2 * CELL + 2
"""How far from the matte's undecided pixels the refiner may give an alpha, in pixels of its small picture."""

_SOME_REFINED, _SOME_PLAIN = LEVELS[0] - 0.005, 0.4 / 255
"""Alpha of the small matte that may show, with room for half precision."""


def check_shapes(outputs: Mapping[str, NDArray[np.generic]], expected: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse outputs that are missing, of another type or shape, or not finite.

    Args:
        outputs: What a runner gave, by name.
        expected: Shapes by name; pictures, which have three sides of which the last is 3, are uint8, others float32.

    Raises:
        ModelError: One is not as expected.
    """
    for name, shape in expected.items():
        array = outputs.get(name)
        dtype = np.uint8 if len(shape) == 3 and shape[-1] == 3 else np.float32
        if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
            got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise ModelError(f"the graph gave {got} as {name!r}: expected {np.dtype(dtype)} {shape}")
        if dtype is np.float32 and not np.isfinite(array).all():
            raise ModelError(f"the graph gave values as {name!r} that are not finite")


def verify(
    thin_alpha: F32Array, steadied: F32Array, pictures: Mapping[str, U8Array], scene: U8Array, *, refined: bool
) -> U8Array:
    """Compare the composite with the matte that it was said to be made with.

    Args:
        thin_alpha: (64, 64) float32, every n-th pixel of the alpha, 0..255.
        steadied: (h, w) float32, the small matte, 0..1.
        pictures: The composites, (H, W, 3) uint8 each, by name.
        scene: (H, W, 3) uint8.
        refined: Whether the alpha follows the picture's edges.

    Returns:
        (64, 64) uint8, the thin alpha.

    Raises:
        MatteError: Alpha is not 0 where the matte says that nobody is, or something else than the scene is shown there.
    """
    if float(thin_alpha.min()) < 0 or float(thin_alpha.max()) > 255:
        raise MatteError(f"the alpha runs from {thin_alpha.min()} to {thin_alpha.max()}: expected values in 0..255")
    height, width = scene.shape[:2]
    thin: U8Array = thin_alpha.astype(np.uint8)
    stray = int(((thin > 0) & ~_allowed(steadied, (width, height), refined)).sum())
    if stray:
        raise MatteError(f"{stray} of {thin.size} pixels have an alpha where the matte says that nobody is")
    rows, columns = nearest_indices(height, THIN), nearest_indices(width, THIN)
    at = np.ix_(rows, columns)
    empty = thin == 0
    expected = scene[at][empty]
    for name, picture in pictures.items():
        wrong = int((picture[at][empty] != expected).any(axis=1).sum())
        if wrong:
            raise MatteError(f"{wrong} of {int(empty.sum())} pixels of the {name} beside the person are not the scene")
    return thin


def _allowed(steadied: F32Array, size_wh: tuple[int, int], refined: bool) -> NDArray[np.bool_]:
    """(64, 64) bool: near pixels of the matte that are more than nobody."""
    some = (steadied > np.float32(_SOME_REFINED if refined else _SOME_PLAIN)).astype(np.uint8)
    height, width = some.shape
    reach = _REACH / min(SIDE, max(size_wh)) * max(size_wh) if refined else 0.0
    # two pixels more, since the matte is stretched on the way
    right, down = (math.ceil(reach * length / side) + 2 for length, side in ((width, size_wh[0]), (height, size_wh[1])))
    near = cv2.dilate(some, np.ones((2 * down + 1, 2 * right + 1), np.uint8))
    rows, columns = (
        np.minimum((nearest_indices(side, THIN) + 0.5) * length / side, length - 1).astype(np.intp)
        for length, side in ((height, size_wh[1]), (width, size_wh[0]))
    )
    return np.asarray(near[np.ix_(rows, columns)] > 0)
