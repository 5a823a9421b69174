"""The correction in torch: the twin of the runtime's, for whole batches, with gradients.

Colour matrix, clip, monotone curves, low-frequency log-gain, clip; all on encoded sRGB in 0..1. A curve is a look-up
with two gathers, and its gradient one scatter, since evaluating all 31 segments of each pixel costs more than the
network does.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional

__all__ = [
    "CURVE_NODES",
    "GAIN_SIZE",
    "MAX_LOG_GAIN",
    "CorrectionBatch",
    "apply_color",
    "apply_correction",
    "apply_curves",
    "gain_map",
]

CURVE_NODES = 32
"""Nodes of each curve; node i stands at i / 31."""

GAIN_SIZE = 16
"""Side of the log-gain grid."""

MAX_LOG_GAIN = 0.6
"""Largest log-gain that the live model gives; the runtime accepts up to 1."""


class CorrectionBatch(NamedTuple):
    """Corrections of a batch.

    Args:
        matrix: (B, 3, 3), maps RGB columns to RGB columns.
        curves: (B, 3, N), values at the nodes, non-decreasing.
        log_gain: (B, h, w), natural logarithm.
    """

    matrix: Tensor
    curves: Tensor
    log_gain: Tensor

    @classmethod
    def identity(cls, count: int, nodes: int = CURVE_NODES, gain_size: int = GAIN_SIZE) -> CorrectionBatch:
        """`count` corrections that change nothing."""
        return cls(
            torch.eye(3).repeat(count, 1, 1),
            torch.linspace(0, 1, nodes).repeat(count, 3, 1),
            torch.zeros(count, gain_size, gain_size),
        )

    def rows(self, start: int, stop: int | None = None) -> CorrectionBatch:
        """Those of some pictures of the batch."""
        return CorrectionBatch(*(part[start:stop] for part in self))

    def float(self) -> CorrectionBatch:
        """In float32."""
        return CorrectionBatch(self.matrix.float(), self.curves.float(), self.log_gain.float())


class _Curves(torch.autograd.Function):
    """Piecewise linear look-up of (B, 3, K) values in (B, 3, N) nodes."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor, nodes: Tensor) -> Tensor:
        last = nodes.shape[-1] - 1
        place = values * last
        # what is no number has some segment too, and comes out as no number
        index = place.nan_to_num(0.0).floor_().clamp_(0, last - 1).long()
        t = place - index
        low = nodes.gather(2, index)
        step = nodes.gather(2, index + 1) - low
        ctx.save_for_backward(index, t, step, nodes)
        return torch.addcmul(low, t, step)

    @staticmethod
    def backward(ctx: FunctionCtx, *grads: Tensor) -> tuple[Tensor, Tensor]:
        index, t, step, nodes = ctx.saved_tensors  # type: ignore[attr-defined]  # torch's stub lacks it
        (grad,) = grads
        high = grad * t
        to_nodes = torch.zeros_like(nodes)
        to_nodes.scatter_add_(2, index, grad - high)
        to_nodes.scatter_add_(2, index + 1, high)
        return grad * step * (nodes.shape[-1] - 1), to_nodes


def apply_curves(values: Tensor, curves: Tensor) -> Tensor:
    """Send values through their channel's curve, with gradients to both.

    Args:
        values: (B, 3, K) float32, 0..1.
        curves: (B, 3, N) float32.

    Returns:
        (B, 3, K) float32.
    """
    result: Tensor = _Curves.apply(values, curves)  # type: ignore[no-untyped-call]  # torch's apply is untyped
    return result


def apply_color(pixels: Tensor, correction: CorrectionBatch) -> Tensor:
    """Matrix, clip and curves on (B, 3, K) pixels."""
    return apply_curves((correction.matrix @ pixels).clamp(0, 1), correction.curves)


def gain_map(log_gain: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """(B, 1, H, W) factors: the grid stretched bilinearly with half-pixel centres and repeated borders, then exp."""
    wide = functional.interpolate(log_gain[:, None], size=size_hw, mode="bilinear", align_corners=False)
    return wide.exp()


def apply_correction(rgb: Tensor, correction: CorrectionBatch) -> Tensor:
    """Correct every pixel of a batch of pictures of any size.

    Args:
        rgb: (B, 3, H, W) float32, encoded sRGB, 0..1.
        correction: Of B pictures.

    Returns:
        (B, 3, H, W) float32, 0..1.
    """
    height, width = rgb.shape[-2:]
    colored = apply_color(rgb.flatten(2), correction).view_as(rgb)
    return (colored * gain_map(correction.log_gain, (height, width))).clamp(0, 1)
