"""The default filter: at rest it hardly moves, a real change of light it follows within half a second."""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from livecomp.correction import Correction, F32Array
from livecomp.frame import U8Array
from livecomp.smooth.motion import MatteMotion, carried
from livecomp.smooth.vector import alike, distance, gain_part, measure, neutral, stack, unstack

__all__ = ["SteadySmoother"]

_MAX_GAP_S = 1.0
_CLEAR = 2.0
"""Gates that a change must measure to be followed with the shortest time constant."""
_LEAST_PERSON = 0.004
"""Part of the picture below which nobody is there."""
_OUTLINE_CHANGED = 0.25
"""Relative change of the person's area from which on something is taken to pass before the camera."""
_AGREEING = 0.5
"""How far suspects may lie apart, in parts of their distance from the present correction."""
_REMEMBERED = 16
"""Predictions at rest whose distances say how noisy they are."""
_OUT_OF_NOISE = 4.0
"""Medians of these distances beyond which a prediction is out of the noise: of clips of people who sit, one in some
hundred is; where a lamp is switched on, it is 7 to 60 of them."""
_DRIFTING = (0.45, 0.9)
"""One-sidedness of predictions from which on light may be drifting, and from which on it surely is, see `_Lean`."""
_MOST_OF_MEAN = 0.4
"""Share of the newest prediction in that mean, at most: of one or two nobody can say whether they are noise."""


class SteadySmoother:
    """A slow low-pass behind a gate.

    A prediction that lies close to the present correction is followed slowly, with the time constant `rest_s`, or, when
    the last ones all lay to the same side because light drifts, with `drift_s`. One that lies farther away than the
    noise of the last ones explains is suspected of being an accident, such as a hand before the lens, and is not
    followed at all, until those after it have stayed away for `patience_s` and agree with one another: then the light
    has changed, and for `open_s` every prediction is followed. The time constant is `follow_s` at first and grows with
    the time since then, so that the new light is told from the mean of several predictions, and one that goes too far
    does not carry the picture along. Where the light still runs away after that while, as when a camera opens its eye
    for a second, it has changed anew. Where the matte's area has changed too, something passes before the camera, and
    they have to last for `distrust_s`. Suspects that never agree become a target after that time as well, but a slow
    one. A step of light that was seen in the pictures themselves (`notice_step`) needs no proof.

    Shading is carried along with the person (`MatteMotion`). With nobody in the picture the correction is held for
    `hold_s` and then fades to neutral with `relax_s`; whoever comes then is followed fast, from the first prediction
    for them on.

    All parameters move together, so that matrix, curves and shading stay consistent; each output is a mean of
    predictions (and of neutral) with weights that are not negative, so nothing overshoots. The first prediction, as
    after a cut, is taken as it is; averaging the first ones instead was measured to flicker more. Predictions may come
    for some frames only, see `Smoother.update`.

    Args:
        rest_s: Time constant at rest, in seconds.
        drift_s: The same while light drifts. Over light that rises for four seconds the squared error was measured to
            fall from 131 to 115, where each frame on its own has 106.
        lean_s: How long predictions are remembered to tell a drift from noise, in seconds.
        follow_s: Time constant just after a real change, in seconds.
        growth: By how much it grows for each second since the change, up to `rest_s`: with 1 all predictions since then
            would count alike, with less the last ones count more.
        gate: Change of mid tones that needs a proof however noisy predictions are, in parts of full scale, see
            `vector.distance`. Measured: predictions for a sitting person stay within 0.02 of their mean, a lamp changes
            them by 0.03 to 0.1.
        least_gate: Change that needs none however quiet they are.
        patience_s: How long a change must last to be believed, in seconds.
        distrust_s: Likewise, when it looks like something that passes before the camera.
        open_s: How long changes are followed fast after one was believed, in seconds.
        hold_s: How long the correction is held when nobody is there, in seconds.
        relax_s: Time constant of the fading after that, in seconds.
    """

    def __init__(
        self,
        *,
        rest_s: float = 1.7,
        drift_s: float = 0.5,
        lean_s: float = 0.5,
        follow_s: float = 0.06,
        growth: float = 0.8,
        gate: float = 0.025,
        least_gate: float = 0.018,
        patience_s: float = 0.1,
        distrust_s: float = 0.8,
        open_s: float = 0.3,
        hold_s: float = 2.0,
        relax_s: float = 1.0,
    ) -> None:
        self._rest_s = rest_s
        self._drift_s = drift_s
        self._lean = _Lean(lean_s)
        self._follow_s = follow_s
        self._growth = growth
        self._gate = gate
        self._least_gate = least_gate
        self._distances: deque[float] = deque(maxlen=_REMEMBERED)
        self._patience_s = patience_s
        self._distrust_s = distrust_s
        self._open_s = open_s
        self._hold_s = hold_s
        self._relax_s = relax_s
        self._motion = MatteMotion()
        self._last: Correction | None = None
        self._last_s = 0.0
        self._state = self._middle = self._target = self._weights = np.zeros(0, np.float32)
        self._area = 0.0
        self._open_until_s = self._changed_s = -math.inf
        self._now_s = rest_s
        self._gone_since_s: float | None = None
        self._is_stepping = False
        self._is_back = False  # somebody, of whom nothing has been predicted yet
        self._suspects: list[F32Array] = []  # the first and the last that agree
        self._suspect_since_s = self._agree_since_s = 0.0

    def update(
        self, correction: Correction, pts_ns: int, alpha: U8Array | None = None, *, magnified: float = 1.0
    ) -> Correction:
        """See `Smoother.update`; a gap of more than a second, or time that runs back, starts anew."""
        now_s = pts_ns / 1e9
        gap_s = now_s - self._last_s
        last, self._last, self._last_s = self._last, correction, now_s
        is_stepping, self._is_stepping = self._is_stepping, False
        if last is None or not alike(last, correction) or not 0 < gap_s <= _MAX_GAP_S:
            return self._start(correction, now_s, alpha)
        if alpha is not None:
            right, down = self._motion.update(alpha)
            self._carry(correction, magnified * right, magnified * down)
            if self._motion.area < _LEAST_PERSON:
                return self._absent(correction, now_s, gap_s)
        if self._gone_since_s is not None:
            self._gone_since_s, self._is_back = None, True
        is_new = correction is not last
        if is_stepping or (self._is_back and is_new):
            self._is_back, self._open_until_s = False, -math.inf
            self._open(now_s, math.inf)
        if is_new:
            self._consider(stack(correction), now_s)
        self._believe(now_s)
        self._move(gap_s, self._time_constant_s(now_s))
        return unstack(self._state, correction)

    def notice_step(self) -> None:
        """See `Smoother.notice_step`."""
        self._is_stepping = True

    def reset(self) -> None:
        """See `Smoother.reset`."""
        self._last = None

    def _start(self, correction: Correction, now_s: float, alpha: U8Array | None) -> Correction:
        self._motion.reset()
        if alpha is not None:
            self._motion.update(alpha)
        self._gone_since_s, self._is_back = None, False
        self._distances.clear()
        self._weights = measure(correction)
        self._state = self._middle = stack(correction)
        self._accept(self._state)
        self._lean.reset(now_s)
        self._open_until_s = self._changed_s = -math.inf
        return correction

    def _time_constant_s(self, now_s: float) -> float:
        """Short after a change, then growing, until it is that at rest, or of a drift."""
        calm_s = self._rest_s + self._lean.drifting * (self._drift_s - self._rest_s)
        return min(calm_s, max(self._now_s, self._growth * (now_s - self._changed_s)))

    def _open(self, now_s: float, away: float) -> None:
        """Follow fast for a while, the faster the farther the target is away."""
        still_changing = now_s - self._changed_s > self._open_s and away > _CLEAR * self._gate_now()
        if now_s >= self._open_until_s or still_changing:
            self._changed_s, self._now_s = now_s, math.inf
        hesitation = max(1.0, _CLEAR * self._gate_now() / away) ** 4
        self._now_s = min(self._follow_s * hesitation, self._now_s)
        self._open_until_s = now_s + self._open_s

    def _gate_now(self) -> float:
        """How far a prediction may lie away without being suspected."""
        if len(self._distances) < _REMEMBERED // 2:
            return self._gate
        return min(self._gate, max(self._least_gate, _OUT_OF_NOISE * float(np.median(self._distances))))

    def _accept(self, raw: F32Array) -> None:
        self._target = raw
        self._suspects = []
        self._area = self._motion.area

    def _consider(self, raw: F32Array, now_s: float) -> None:
        """Take a new prediction for granted, or suspect it."""
        away = distance(raw, self._state, self._weights)
        far = away > self._gate_now()
        if far:
            self._lean.reset(now_s)
        else:
            self._lean.add(raw - self._state, self._weights, now_s)
        if now_s >= self._open_until_s:
            self._distances.append(away)
        if now_s < self._open_until_s:
            self._accept(raw)
            if far:
                self._open(now_s, away)
        elif not far:
            self._accept(raw)
        else:
            if not self._suspects:
                self._suspect_since_s = now_s
            elif distance(raw, self._suspects[0], self._weights) <= _AGREEING * away:
                self._suspects = [self._suspects[0], raw]
                return
            self._suspects, self._agree_since_s = [raw], now_s

    def _believe(self, now_s: float) -> None:
        """Follow the suspects, if they have lasted."""
        if not self._suspects:
            return
        area, before = self._motion.area, self._area
        passing = abs(area - before) > _OUTLINE_CHANGED * max(area, before)
        agreeing = len(self._suspects) > 1
        if agreeing and now_s - self._agree_since_s >= (self._distrust_s if passing else self._patience_s):
            self._accept(self._suspects[-1])
            self._open(now_s, distance(self._target, self._state, self._weights))
        elif now_s - self._suspect_since_s >= self._distrust_s:
            self._accept(self._suspects[-1])

    def _carry(self, correction: Correction, right: float, down: float) -> None:
        if right == 0 and down == 0:
            return

        def moved(vector: F32Array) -> F32Array:
            copy = vector.copy()
            gain_part(copy, correction)[:] = carried(gain_part(vector, correction), right, down)
            return copy

        self._state, self._middle, self._target = moved(self._state), moved(self._middle), moved(self._target)
        self._suspects = [moved(suspect) for suspect in self._suspects]

    def _absent(self, correction: Correction, now_s: float, gap_s: float) -> Correction:
        """Nobody is there: hold, then fade to neutral."""
        self._suspects = []
        self._lean.reset(now_s)
        if self._gone_since_s is None:
            self._gone_since_s = now_s
        if now_s - self._gone_since_s > self._hold_s:
            self._target = neutral(correction)
            self._move(gap_s, self._relax_s)
        return unstack(self._state, correction)

    def _move(self, gap_s: float, time_constant_s: float) -> None:
        """Go towards the target by two equal low-passes, one after the other."""
        share = np.float32(1 if time_constant_s <= 0 else -math.expm1(-2 * gap_s / time_constant_s))
        self._middle = self._middle + share * (self._target - self._middle)
        self._state = self._state + share * (self._middle - self._state)


class _Lean:
    """Tells predictions that all lie to one side of the correction, which lags behind them, from those around it.

    ``ratio = |mean(offset)|² / mean(|offset|²)``, means weighted exponentially, is 1 where all lie to one side. For
    white noise it is ``share / (2 - share)`` on average, when each prediction counts for `share` of the mean, so that
    ``(ratio - by_chance) / (1 - by_chance)`` runs from 0 for noise to 1 for a drift, at any rate of predictions.

    Args:
        memory_s: In seconds.
    """

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._mean: F32Array | None = None
        self._square = self._last_s = 0.0
        self.drifting = 0.0
        """0 for noise, 1 for a drift."""

    def reset(self, now_s: float) -> None:
        """Forget what was added."""
        self._mean, self._square, self._last_s, self.drifting = None, 0.0, now_s, 0.0

    def add(self, offset: F32Array, weights: F32Array, now_s: float) -> None:
        """Take one more prediction.

        Args:
            offset: (P,), how far it lies from the correction that is shown.
            weights: (P,) of `vector.measure`.
            now_s: Its time in seconds.
        """
        share = min(_MOST_OF_MEAN, -math.expm1((self._last_s - now_s) / self._memory_s))
        past = np.zeros_like(offset) if self._mean is None else self._mean
        self._mean, self._last_s = past + np.float32(share) * (offset - past), now_s
        self._square += share * (float((offset * weights) @ offset) - self._square)
        ratio = float((self._mean * weights) @ self._mean) / max(self._square, 1e-12)
        by_chance = share / (2 - share)
        one_sided = (ratio - by_chance) / (1 - by_chance)
        maybe, surely = _DRIFTING
        self.drifting = min(1.0, max(0.0, (one_sided - maybe) / (surely - maybe)))
