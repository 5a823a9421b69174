"""How long each stage takes, in constant memory, however long the video is, and the most memory of the process."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["StageSummary", "StageTimer", "peak_mib"]

Counts = NDArray[np.int64]

_LOWEST_MS = 1e-3
_RATIO = 1.02
_BINS = 1024  # reaches 1e-3 ms * 1.02 ** 1024 = 6e5 ms, ten minutes


@dataclass(frozen=True, slots=True)
class StageSummary:
    """What one stage took; times are in milliseconds, the percentiles exact to 1 %."""

    stage: str
    count: int
    mean_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float


class StageTimer:
    """Collects durations by stage in logarithmic histograms.

    A stage may be timed from one thread at a time; different stages from different threads.
    """

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {}
        self._total_ms: dict[str, float] = {}

    def add(self, stage: str, milliseconds: float) -> None:
        """Record that `stage` took `milliseconds`."""
        counts = self._counts.get(stage)
        if counts is None:
            counts = self._counts[stage] = np.zeros(_BINS, np.int64)
            self._total_ms[stage] = 0.0
        position = np.log(max(milliseconds, _LOWEST_MS) / _LOWEST_MS) / np.log(_RATIO)
        counts[min(int(position), _BINS - 1)] += 1
        self._total_ms[stage] += milliseconds

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Record how long the block takes, also when it raises."""
        start_ns = time.monotonic_ns()
        try:
            yield
        finally:
            self.add(stage, (time.monotonic_ns() - start_ns) / 1e6)

    def forget(self) -> None:
        """Begin anew; what other threads add meanwhile may count or not."""
        for stage, counts in list(self._counts.items()):
            counts[:] = 0
            self._total_ms[stage] = 0.0

    def summary(self) -> list[StageSummary]:
        """One row a stage that was timed, in the order in which they were first seen."""
        rows = []
        for stage, counts in list(self._counts.items()):
            cumulative = np.cumsum(counts)
            count = int(cumulative[-1])
            if not count:
                continue
            rows.append(
                StageSummary(
                    stage=stage,
                    count=count,
                    mean_ms=self._total_ms[stage] / count,
                    p50_ms=_percentile(cumulative, 0.50),
                    p95_ms=_percentile(cumulative, 0.95),
                    p99_ms=_percentile(cumulative, 0.99),
                )
            )
        return rows


def _percentile(cumulative: Counts, q: float) -> float:
    """The middle of the bin that holds the `q`-th part of all counts, in milliseconds."""
    index = int(np.searchsorted(cumulative, q * cumulative[-1]))
    return float(_LOWEST_MS * _RATIO ** (index + 0.5))


def peak_mib() -> float:
    """Most resident memory of this process so far, MiB; not a number where the system does not tell."""
    if sys.platform == "win32":
        return float("nan")
    import resource

    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
