"""Steps down while frames are late, and up again when there is room."""

from __future__ import annotations

from itertools import pairwise

from livecomp.config import Config
from livecomp.live.governor import GPU_STEPS, STEPS, Governor

BUDGET_MS = 50.0
SECOND = 1_000_000_000


def run(governor: Governor, start_s: float, seconds: float, p95_ms: float) -> list[str]:
    """The steps that are entered while every frame takes `p95_ms`."""
    entered = []
    for tick in range(int(seconds * 5)):
        now = int((start_s + tick / 5) * SECOND)
        if governor.update(now, p95_ms, BUDGET_MS):
            entered.append(governor.step.name)
    return entered


def test_it_goes_down_step_by_step_while_frames_are_late() -> None:
    assert run(Governor(), 0, 20, 80) == [step.name for step in STEPS[1:]]


def test_one_late_second_changes_nothing() -> None:
    governor = Governor()
    assert run(governor, 0, 1, 80) == []
    assert run(governor, 1, 5, 40) == []


def test_it_climbs_back_when_there_is_room() -> None:
    governor = Governor()
    run(governor, 0, 5, 80)
    assert governor.step is STEPS[2]
    assert run(governor, 5, 30, 20) == [STEPS[1].name, STEPS[0].name]


def test_neither_late_nor_comfortable_holds_the_step() -> None:
    governor = Governor()
    run(governor, 0, 3, 80)
    assert run(governor, 3, 60, 45) == []


def test_a_climb_that_fails_makes_the_next_one_wait_longer() -> None:
    governor = Governor()
    run(governor, 0, 3, 80)
    now, waits = 3.0, []
    for _ in range(4):
        start = now
        while not governor.update(int(now * SECOND), 20, BUDGET_MS):
            now += 0.2
        waits.append(now - start)
        while not governor.update(int(now * SECOND), 80, BUDGET_MS):
            now += 0.2
    assert all(later > earlier + 5 for earlier, later in pairwise(waits)), waits


def test_steps_only_lower_the_cost() -> None:
    config = Config()
    limited = [step.limit(config) for step in STEPS]
    assert limited[0] == config
    assert [c.live.harmonize_every for c in limited] == [6, 18, 18, 18, 18, 12]
    assert limited[-1].live.fps == config.live.fps / 2
    assert not limited[-1].segment.refine


def test_steps_on_a_gpu_change_nothing_that_is_built() -> None:
    full = Config()
    for step in GPU_STEPS:
        limited = step.limit(full)
        assert limited.model_copy(update={"live": full.live}) == full
    assert [step.limit(full).live.harmonize_every for step in GPU_STEPS] == [6, 18, 12]


def test_a_green_screen_keeps_its_matte() -> None:
    config = Config.from_options({"segment": {"model": "chroma"}})
    for step in STEPS:
        assert step.limit(config).segment == config.segment
