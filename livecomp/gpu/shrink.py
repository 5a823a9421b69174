"""A picture made small in a graph as `livecomp.segment.shrink` does it, to the very level.

The matte follows its network's picture closely: half a level in that, which is what plain arithmetic differs by, was up
to 0.2 in the matte's edge and 15 levels in the alpha of single pixels. So each step rounds as OpenCV does, in float32
that holds whole numbers below 2**24 exactly. OpenCV 4.11 and 5.0 give the same; measured on x86-64.
"""

from __future__ import annotations

import numpy as np

from livecomp.gpu.nodes import Nodes
from livecomp.gpu.resample import Taps, column_taps, row_taps

__all__ = ["Shrinker"]

_LOW_BITS = 64
"""Weights of rows are split here: times a sum of columns they would not be exact in float32."""


class Shrinker:
    """One picture at several sizes; its halves are made once.

    Args:
        nodes: Where to.
        picture: (1, 3, H, W) float32, whole numbers 0..255.
        size_wh: Its width and height.
    """

    def __init__(self, nodes: Nodes, picture: str, size_wh: tuple[int, int]) -> None:
        self.picture = picture
        self.size_wh = size_wh
        self._nodes = nodes
        self._halves = [(picture, size_wh)]

    def shrunk(self, wanted_wh: tuple[int, int]) -> str:
        """The picture at `wanted_wh`: (1, 3, h, w) float32, whole numbers 0..255."""
        wanted_width, wanted_height = wanted_wh
        level = 0
        small, (width, height) = self._halved(level)
        while width >= 2 * wanted_width and height >= 2 * wanted_height:
            level += 1
            small, (width, height) = self._halved(level)
        double_wh = (
            2 * wanted_width if width > 1.5 * wanted_width else wanted_width,
            2 * wanted_height if height > 1.5 * wanted_height else wanted_height,
        )
        if double_wh != wanted_wh:
            small, (width, height) = self._resized(small, (width, height), double_wh), double_wh
        return self._resized(small, (width, height), wanted_wh)

    def _halved(self, level: int) -> tuple[str, tuple[int, int]]:
        """The picture halved so many times, and its width and height."""
        while len(self._halves) <= level:
            last, (width, height) = self._halves[-1]
            half_wh = (width + 1) // 2, (height + 1) // 2
            self._halves.append((self._resized(last, (width, height), half_wh), half_wh))
        return self._halves[level]

    def _resized(self, picture: str, size_wh: tuple[int, int], wanted_wh: tuple[int, int]) -> str:
        """What INTER_LINEAR makes of 8 bits: the mean of 2x2 pixels, or weights in 2048ths and sums cut off twice."""
        if size_wh == wanted_wh:
            return picture
        nodes = self._nodes
        (width, height), (wanted_width, wanted_height) = size_wh, wanted_wh
        if (width, height) == (2 * wanted_width, 2 * wanted_height):
            return nodes.rounded(nodes.op("AveragePool", picture, kernel_shape=[2, 2], strides=[2, 2]))
        if width == wanted_width:
            sums = nodes.mul(picture, 128.0)
        else:
            sums = nodes.op("Floor", self._across(picture, column_taps(width, wanted_width)))
        if height == wanted_height:
            quarters = nodes.op("Floor", nodes.mul(sums, 1 / 32))
        else:
            quarters = self._down(sums, row_taps(height, wanted_height))
        return nodes.op("Floor", nodes.mul(nodes.add(quarters, 2.0), 1 / 4))

    def _across(self, picture: str, taps: Taps) -> str:
        """Sums of columns in 128ths, not yet cut off."""
        nodes = self._nodes
        return nodes.add(
            *(
                nodes.mul(nodes.op("Gather", picture, index, axis=3), (weight / 16).astype(np.float32))
                for index, weight in ((taps.first, taps.weights[0]), (taps.second, taps.weights[1]))
            )
        )

    def _down(self, sums: str, taps: Taps) -> str:
        """Sums of rows in quarters of a level; OpenCV cuts off each of the two products."""
        nodes = self._nodes
        products = []
        for index, weight in ((taps.first, taps.weights[0]), (taps.second, taps.weights[1])):
            row = nodes.op("Gather", sums, index, axis=2)
            high, low = (part.astype(np.float32)[:, None] for part in np.divmod(weight, _LOW_BITS))
            rest = nodes.op("Floor", nodes.mul(row, low / _LOW_BITS))
            whole = nodes.add(nodes.mul(row, high), rest)
            products.append(nodes.op("Floor", nodes.mul(whole, _LOW_BITS / 65536)))
        return nodes.add(*products)
