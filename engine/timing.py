"""How long runs take, and how far results lie apart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from engine.errors import EngineError
from engine.runner import Runner
from engine.spec import TensorMap

__all__ = ["Latency", "measure_together", "relative_difference"]

SMALLEST_SCALE = 1e-3
"""Outputs that nowhere exceed this are compared as if they reached it."""


@dataclass(frozen=True, slots=True)
class Latency:
    """Times of single runs, from call to result, in milliseconds.

    Args:
        median_ms: The middle one.
        p95_ms: All but one in twenty are at most this.
        fastest_ms: The fastest, which other work on the machine disturbs least.
        runs: How many there were.
    """

    median_ms: float
    p95_ms: float
    fastest_ms: float
    runs: int


def measure_together(
    runners: Sequence[Runner], feed: TensorMap, *, rounds: int, budget_s: float = float("inf")
) -> list[Latency | EngineError]:
    """Run several open runners in turn, so that whatever else the machine does disturbs all alike.

    A runner that fails is not run again, and its error stands in its latency's place.

    Args:
        runners: All fed the same.
        feed: The inputs.
        rounds: Runs of each; fewer when the budget is spent, but at least three.
        budget_s: Time for everything, seconds.
    """
    times: list[list[int]] = [[] for _ in runners]
    failed: dict[int, EngineError] = {}
    deadline = time.monotonic() + budget_s
    for done in range(rounds):
        if done >= 3 and time.monotonic() > deadline:
            break
        for index, runner in enumerate(runners):
            if index in failed:
                continue
            begin = time.monotonic_ns()
            try:
                runner.infer(feed)
            except EngineError as error:
                failed[index] = error
            times[index].append(time.monotonic_ns() - begin)
    return [failed.get(index) or _latency(np.asarray(taken) / 1e6) for index, taken in enumerate(times)]


def _latency(times_ms: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Latency:
    median, p95 = np.percentile(times_ms, (50, 95))
    return Latency(float(median), float(p95), float(times_ms.min()), len(times_ms))


def relative_difference(received: TensorMap, expected: TensorMap) -> float:
    """The largest difference in any output, over the largest magnitude in that output.

    Infinite where an output is missing or has another shape, or holds NaN or infinity on either side.
    """
    worst = 0.0
    for name, want in expected.items():
        if name not in received or received[name].shape != want.shape:
            return float("inf")
        want64, got64 = np.asarray(want, np.float64), np.asarray(received[name], np.float64)
        if not (np.isfinite(want64).all() and np.isfinite(got64).all()):
            return float("inf")
        scale = max(float(np.abs(want64).max(initial=0)), SMALLEST_SCALE)
        worst = max(worst, float(np.abs(got64 - want64).max(initial=0)) / scale)
    return worst
