"""The README's tables hold what was measured, losses too."""

from __future__ import annotations

from livecomp.bench import Case, Measurement, Report
from livecomp.bench.readme import readme_tables
from livecomp.stats import StageSummary

SIZE_WH = (1280, 720)


def row(what: str, ms: float, note: str = "") -> Measurement:
    stages = [StageSummary(name, 10, ms / 2, ms / 2, ms, ms) for name in ("composite", "harmonize", "sink")]
    case = Case(SIZE_WH, harmonize_every=3, what=what)
    frame = StageSummary("frame", 10, ms, ms, 2 * ms, 3 * ms)
    return Measurement(case, 10, 1.0, 1000 / ms, 1.1, 300.0, frame, stages, [ms] * 10, 0.4, 2.0, ms / 4, 3, note)


def test_wins_and_losses_are_told() -> None:
    rows = [row("pipeline", 20.0), row("live", 25.0, "through a camera"), row("fast one", 10.0, "does less")]
    rows.append(row("slow one", 60.0, "does it at full size"))
    text = readme_tables(Report({"processor": "test", "python": "3"}, rows))
    assert "processor test" in text
    assert "| 1280x720 | 50 | 20.0 | 40.0 | 21.7 | 1.10 | 75 % | 5.0 copies | 300 MiB |" in text
    assert "| 1280x720 | 40.0 | 25.0 | 50.0 | 75.0 | 25.0 | 1.10 | 3 |" in text
    assert "| fast one | 100 | 10.0 | 1.10 | 20.0 | 0.50x |" in text
    assert "| slow one | 17 | 60.0 | 1.10 | 20.0 | 3.00x |" in text
    assert "- fast one: does less." in text


def test_what_was_not_measured_has_no_table() -> None:
    text = readme_tables(Report({}, [row("live", 25.0, "through a camera")]))
    assert "recipe" not in text
    assert "Frames in memory" not in text


def test_a_recipe_without_our_own_number_is_not_compared() -> None:
    assert "| 10.0 | 1.10 | | |" in readme_tables(Report({}, [row("fast one", 10.0, "does less")]))
