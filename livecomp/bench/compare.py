"""Whether a machine, or a commit, has become slower: two runs side by side, with a verdict."""

from __future__ import annotations

from dataclasses import dataclass

from livecomp.bench import Report

__all__ = ["Comparison", "compare", "different_scenes"]


@dataclass(frozen=True, slots=True)
class Comparison:
    """One case in both runs.

    Args:
        name: Of the case.
        before_ms: Median time of a frame in the earlier run.
        now_ms: In the later one.
        slower_stages: Stages whose median grew by more than the tolerance, and by more than 0.2 ms, with their ratio.
        is_slower: Whether the frame's median grew by more than the tolerance.
    """

    name: str
    before_ms: float
    now_ms: float
    slower_stages: dict[str, float]
    is_slower: bool

    @property
    def ratio(self) -> float:
        """Time now by time before; below 1 is faster."""
        return self.now_ms / self.before_ms


_LEAST_MS = 0.2
_SCENE = ("input", "background")


def different_scenes(before: Report, now: Report) -> list[str]:
    """What the two runs were measured on and do not share, a phrase for each: times may differ for that alone."""
    told = [(name, before.machine.get(name), now.machine.get(name)) for name in _SCENE]
    return [f"{name} {old} before, {new} now" for name, old, new in told if None not in (old, new) and old != new]


def compare(before: Report, now: Report, tolerance: float = 0.15) -> list[Comparison]:
    """Cases that both runs have, in the order of the later one.

    Args:
        before: The earlier run.
        now: The later one.
        tolerance: Share by which a median may grow: machines are noisy.
    """
    earlier = {row.case.name: row for row in before.measurements}
    found = []
    for row in now.measurements:
        old = earlier.get(row.case.name)
        if old is None:
            continue
        medians = {stage.stage: stage.p50_ms for stage in old.stages}
        slower = {
            stage.stage: stage.p50_ms / medians[stage.stage]
            for stage in row.stages
            if stage.stage in medians
            and stage.p50_ms > medians[stage.stage] * (1 + tolerance)
            and stage.p50_ms > medians[stage.stage] + _LEAST_MS
        }
        is_slower = row.frame.p50_ms > old.frame.p50_ms * (1 + tolerance)
        found.append(Comparison(row.case.name, old.frame.p50_ms, row.frame.p50_ms, slower, is_slower))
    return found
