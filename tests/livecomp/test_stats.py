from __future__ import annotations

import pytest

from livecomp.stats import StageTimer


def test_percentiles_are_exact_to_two_percent_in_constant_memory() -> None:
    timer = StageTimer()
    for milliseconds in range(1, 1001):
        timer.add("work", float(milliseconds))
    (row,) = timer.summary()
    assert row.count == 1000
    assert row.mean_ms == pytest.approx(500.5)
    assert row.p50_ms == pytest.approx(500, rel=0.02)
    assert row.p95_ms == pytest.approx(950, rel=0.02)
    assert row.p99_ms == pytest.approx(990, rel=0.02)


def test_a_block_that_raises_is_timed_too() -> None:
    timer = StageTimer()
    with pytest.raises(KeyError), timer.measure("bad"):
        raise KeyError
    assert timer.summary()[0].count == 1


def test_extremes_stay_inside_the_histogram() -> None:
    timer = StageTimer()
    timer.add("work", 0.0)
    timer.add("work", 1e9)
    assert timer.summary()[0].count == 2


def test_what_is_forgotten_is_in_no_row() -> None:
    timer = StageTimer()
    timer.add("warm-up", 100.0)
    timer.add("work", 100.0)
    timer.forget()
    timer.add("work", 1.0)
    (row,) = timer.summary()
    assert (row.stage, row.count, row.mean_ms) == ("work", 1, 1.0)
