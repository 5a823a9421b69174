"""A call with whole frames: options change, the GPU goes away, and the room never shows."""

from __future__ import annotations

import logging
import time
from contextlib import AbstractContextManager
from dataclasses import replace

import numpy as np
import pytest

from livecomp.config import Config, Stages
from livecomp.correction import Correction
from livecomp.errors import MatteError, ModelError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.gpu.whole import Shown
from livecomp.segment.presence import PresenceFilter
from tests.livecomp.fakes import FakeCompositor
from tests.livecomp.gpu.test_pipeline import FakeWhole
from tests.livecomp.live.fakes import eventually, live_config
from tests.livecomp.live.test_session import OTHER, Call, running, truly


class TrueWhole(FakeWhole):
    """By the true matte of the canary room."""

    def predict(self) -> Correction:
        return Correction.identity()

    def _shown(self, frame: Frame, scene: U8Array, correction: Correction, plain: bool) -> Shown:
        composite = FakeCompositor().compose(truly(frame), scene, correction)
        return Shown(composite, None, freeze(np.zeros((64, 64), np.uint8)))


class GpuCall(Call):
    """Every configuration but one for the CPU is built with whole frames of its own."""

    def __init__(self, config: Config, **options: object) -> None:
        self.wholes: list[TrueWhole] = []
        super().__init__(config, **options)

    def build(self, config: Config, /, *, presence: PresenceFilter) -> Stages:
        stages = super().build(config, presence=presence)
        if config.compute == "cpu":
            return stages
        self.wholes.append(TrueWhole())
        return replace(stages, whole=self.wholes[-1])  # type: ignore[arg-type]


def gpu_running() -> AbstractContextManager[GpuCall]:
    return running(live_config(), call_type=GpuCall)  # type: ignore[return-value]


def ran(whole: FakeWhole) -> bool:
    """Whether it runs now."""
    before = whole.calls.count("run")
    return eventually(lambda: whole.calls.count("run") > before + 2, 1.0)


def with_options(config: Config, **sections: dict[str, object]) -> Config:
    return Config.from_options({**config.model_dump(exclude_unset=True), **sections})


def test_everything_is_built_before_the_first_frame() -> None:
    with gpu_running() as call:
        (whole,) = call.wholes
        assert whole.calls[:2] == ["open", "prepare 96x64"]
        assert ran(whole)
        assert {row.stage for row in call.status().stages} >= {"gpu", "smooth"}
        assert call.segmenter.closed == 0
    assert whole.calls.count("close") == 1


def test_a_change_of_options_takes_other_whole_frames() -> None:
    with gpu_running() as call:
        first = call.wholes[0]
        call.session.apply(with_options(call.session.config, composite={"light_wrap": 0.9}))
        second = call.wholes[-1]
        assert second is not first
        assert ran(second)
        assert first.calls.count("close") == 1
        assert second.calls[:2] == ["open", "prepare 96x64"]
        # what whole frames are not made of leaves them alone
        call.session.apply(with_options(call.session.config, background={"source": OTHER}))
        call.session.apply(with_options(call.session.config, smooth={"filter": "none"}))
        assert ran(second)
        assert "open" not in call.wholes[-1].calls
    assert second.calls.count("close") == 1


def test_to_the_cpu_and_back() -> None:
    with gpu_running() as call:
        first = call.wholes[0]
        call.session.apply(with_options(call.session.config, compute="cpu"))  # type: ignore[arg-type]
        assert first.calls.count("close") == 1
        assert eventually(call.is_showing)
        call.session.apply(with_options(call.session.config, compute="auto"))  # type: ignore[arg-type]
        assert ran(call.wholes[-1])


def test_a_gpu_that_is_late_has_nothing_built() -> None:
    def late(frame: Frame) -> None:
        time.sleep(0.015)

    with running(live_config(adapt=True, budget_ms=5), call_type=GpuCall) as call:
        whole = call.wholes[0]  # type: ignore[attr-defined]
        whole.fault = late
        assert eventually(lambda: call.status().step == "fewer predictions", 6.0)
        assert eventually(lambda: call.status().step == "half the frames", 6.0)
        assert [other.calls for other in call.wholes[1:] if other.calls] == []  # type: ignore[attr-defined]
        assert ran(whole)
        # on the CPU the steps are those of the CPU, from the top
        call.session.apply(with_options(call.session.config, compute="cpu"))  # type: ignore[arg-type]
        assert eventually(lambda: call.status().step == "full")


def test_what_cannot_be_had_changes_nothing() -> None:
    class Failing(GpuCall):
        def build(self, config: Config, /, *, presence: PresenceFilter) -> Stages:
            stages = super().build(config, presence=presence)
            if config.composite.light_wrap == 0.9:
                self.wholes[-1].on_open = ModelError("the graph for whole frames cannot be loaded")
            return stages

    with running(live_config(), call_type=Failing) as call:
        first = call.wholes[0]
        with pytest.raises(ModelError, match="cannot be loaded"):
            call.session.apply(with_options(call.session.config, composite={"light_wrap": 0.9}))
        assert ran(first)


@pytest.mark.parametrize("error", [ModelError("the driver is gone"), MatteError("the matte is NaN")])
def test_a_failing_gpu_shows_no_room_and_the_call_goes_on(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    def fail(frame: Frame) -> None:
        raise error

    with caplog.at_level(logging.WARNING, "livecomp"), gpu_running() as call:
        whole: TrueWhole = call.wholes[0]
        whole.fault = fail
        start = time.monotonic()
        if isinstance(error, MatteError):
            assert eventually(lambda: call.sink.since(start, "slate") != [], 0.5)
            assert call.status().missed > 0
            whole.fault = _nothing
            assert eventually(call.is_showing, 0.5)
            assert ran(whole)
        else:
            assert eventually(lambda: "close" in whole.calls)
            assert eventually(call.is_showing, 0.5)
            # options go on to change, and the GPU is left alone
            call.session.apply(with_options(call.session.config, composite={"light_wrap": 0.9}))
            assert "open" not in call.wholes[-1].calls
            assert eventually(call.is_showing, 0.5)
            # until it is asked for again
            call.session.apply(with_options(call.session.config, compute="gpu"))  # type: ignore[arg-type]
            assert ran(call.wholes[-1])


def _nothing(frame: Frame) -> None:
    """No fault."""
