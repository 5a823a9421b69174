"""How long runs take, and how far results lie apart."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

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
) -> list[Latency]:
    """Run several open runners in turn, so that whatever else the machine does disturbs all alike.

    Args:
        runners: All fed the same.
        feed: The inputs.
        rounds: Runs of each; fewer when the budget is spent, but at least three.
        budget_s: Time for everything, seconds.
    """
    times: list[list[int]] = [[] for _ in runners]
    deadline = time.monotonic() + budget_s
    for done in range(rounds):
        if done >= 3 and time.monotonic() > deadline:
            break
        for runner, taken in zip(runners, times, strict=True):
            begin = time.monotonic_ns()
            runner.infer(feed)
            taken.append(time.monotonic_ns() - begin)
    return [_latency(np.asarray(taken) / 1e6) for taken in times]


def _latency(times_ms: np.ndarray[tuple[int], np.dtype[np.float64]]) -> Latency:
    median, p95 = np.percentile(times_ms, (50, 95))
    return Latency(float(median), float(p95), float(times_ms.min()), len(times_ms))


def relative_difference(received: TensorMap, expected: TensorMap) -> float:
    """The largest difference in any output, over the largest magnitude in that output."""
    worst = 0.0
    for name, want in expected.items():
        want64, got64 = np.asarray(want, np.float64), np.asarray(received[name], np.float64)
        scale = max(float(np.abs(want64).max(initial=0)), SMALLEST_SCALE)
        worst = max(worst, float(np.abs(got64 - want64).max(initial=0)) / scale)
    return worst
