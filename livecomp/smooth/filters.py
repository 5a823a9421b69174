"""Filters on the parameters of a Correction; they know seconds, not frames."""

from __future__ import annotations

import math

import numpy as np

from livecomp.correction import Correction
from livecomp.frame import U8Array
from livecomp.smooth.vector import alike, stack

__all__ = ["ExponentialSmoother", "NoSmoother", "OneEuroSmoother"]

_MAX_GAP_S = 1.0


class NoSmoother:
    """Passes every correction on as it is."""

    def update(
        self, correction: Correction, pts_ns: int, alpha: U8Array | None = None, *, magnified: float = 1.0
    ) -> Correction:
        """See `Smoother.update`."""
        return correction

    def notice_step(self) -> None:
        """See `Smoother.notice_step`."""

    def reset(self) -> None:
        """See `Smoother.reset`."""


class ExponentialSmoother:
    """First-order low-pass: after one time constant, 63 % of a step are followed, whatever the frame rate.

    Args:
        time_constant_s: In seconds; 0 follows at once.
    """

    def __init__(self, time_constant_s: float = 0.4) -> None:
        self._time_constant_s = time_constant_s
        self._state: Correction | None = None
        self._last_ns = 0

    def update(
        self, correction: Correction, pts_ns: int, alpha: U8Array | None = None, *, magnified: float = 1.0
    ) -> Correction:
        """See `Smoother.update`; a gap of more than a second, or time that runs back, starts anew."""
        gap_s = (pts_ns - self._last_ns) / 1e9
        self._last_ns = pts_ns
        if self._state is None or not alike(self._state, correction) or not 0 < gap_s <= _MAX_GAP_S:
            self._state = correction
        else:
            self._state = self._state.lerp(correction, _share(gap_s, self._time_constant_s))
        return self._state

    def notice_step(self) -> None:
        """See `Smoother.notice_step`; starts anew."""
        self.reset()

    def reset(self) -> None:
        """See `Smoother.reset`."""
        self._state = None


class OneEuroSmoother:
    """A low-pass that opens when the parameters move: Casiez, Roussel and Vogel, "1 € Filter", CHI 2012, eq 1-4.

    One speed is taken for all parameters together, so that matrix, curves and shading stay consistent: the root mean
    square rate of change of what they do to mid tones, in parts of the full scale a second.

    Args:
        min_cutoff_hz: Cut-off frequency at rest; lower is steadier.
        beta: How much the cut-off rises with speed, in Hz for each full scale a second.
        speed_cutoff_hz: Cut-off frequency of the speed's own low-pass.
    """

    def __init__(self, min_cutoff_hz: float = 0.4, beta: float = 8.0, speed_cutoff_hz: float = 1.5) -> None:
        self._min_cutoff_hz = min_cutoff_hz
        self._beta = beta
        self._speed_cutoff_hz = speed_cutoff_hz
        self._state: Correction | None = None
        self._raw = np.zeros(0, np.float32)
        self._velocity = np.zeros(0, np.float32)
        self._last_ns = 0

    def update(
        self, correction: Correction, pts_ns: int, alpha: U8Array | None = None, *, magnified: float = 1.0
    ) -> Correction:
        """See `Smoother.update`; a gap of more than a second, or time that runs back, starts anew."""
        gap_s = (pts_ns - self._last_ns) / 1e9
        self._last_ns = pts_ns
        raw = stack(correction)
        if self._state is None or not alike(self._state, correction) or not 0 < gap_s <= _MAX_GAP_S:
            self._state, self._raw, self._velocity = correction, raw, np.zeros_like(raw)
            return correction
        rate = (raw - self._raw) / np.float32(gap_s)
        self._raw = raw
        share = np.float32(_share(gap_s, 1 / (2 * math.pi * self._speed_cutoff_hz)))
        self._velocity = self._velocity + share * (rate - self._velocity)
        speed = float(np.sqrt(np.mean(self._velocity**2)))
        cutoff_hz = self._min_cutoff_hz + self._beta * speed
        self._state = self._state.lerp(correction, _share(gap_s, 1 / (2 * math.pi * cutoff_hz)))
        return self._state

    def notice_step(self) -> None:
        """See `Smoother.notice_step`; starts anew."""
        self.reset()

    def reset(self) -> None:
        """See `Smoother.reset`."""
        self._state = None


def _share(gap_s: float, time_constant_s: float) -> float:
    """How far a first-order low-pass goes towards its input in `gap_s` seconds, 0..1."""
    return 1.0 if time_constant_s <= 0 else 1 - math.exp(-gap_s / time_constant_s)
