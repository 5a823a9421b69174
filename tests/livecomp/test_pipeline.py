from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import pytest

from livecomp.composite.placement import AS_FILMED, Placement
from livecomp.correction import Correction
from livecomp.errors import InputError, MatteError, ModelError, OutputError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.offline import BesidePicker, Output, run_offline
from livecomp.pipeline import Pipeline
from livecomp.smooth.steady import SteadySmoother
from tests.livecomp.fakes import (
    CANARY,
    SCENE,
    SIZE_WH,
    FakeBackground,
    FakeHarmonizer,
    FakeSegmenter,
    FakeSink,
    FakeSmoother,
    FakeSource,
    fake_stages,
    person_alpha,
    room_frame,
)


def no_alpha(frame: Frame) -> Frame:
    return frame


def earlier_frame(frame: Frame) -> Frame:
    return room_frame(0).with_alpha(person_alpha())


def raises(frame: Frame) -> Frame:
    raise ZeroDivisionError("inside foreign code")


def not_a_frame(frame: Frame) -> Frame:
    return None  # type: ignore[return-value]


def wrong_shape(frame: Frame) -> Frame:
    return frame.with_alpha(np.full((3, 3), 255, np.uint8))


FAULTS: list[Callable[[Frame], Frame]] = [no_alpha, earlier_frame, raises, not_a_frame, wrong_shape]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_frame_without_its_own_matte_stops_the_run(fault: Callable[[Frame], Frame]) -> None:
    with Pipeline(fake_stages(segmenter=FakeSegmenter(fault))) as pipeline, pytest.raises(MatteError):
        pipeline.process(room_frame(3))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_frame_without_its_own_matte_becomes_a_slate(fault: Callable[[Frame], Frame]) -> None:
    with Pipeline(fake_stages(segmenter=FakeSegmenter(fault)), on_miss="slate", keep_plain=True) as pipeline:
        processed = pipeline.process(room_frame(3))
    assert processed.composite.kind == "slate"
    assert processed.composite.pts_ns == room_frame(3).pts_ns
    assert pipeline.missed == 1
    for shown in (processed.composite, processed.plain):
        assert shown is not None
        assert not (shown.rgb == CANARY).all(axis=2).any()


def test_the_scene_is_shown_where_nobody_is() -> None:
    with Pipeline(fake_stages()) as pipeline:
        shown = pipeline.process(room_frame(0)).composite.rgb
    assert (shown[person_alpha() == 0] == SCENE).all()


def test_the_person_is_placed_before_anything_is_predicted_and_only_the_scene_is_left_behind() -> None:
    seen: list[U8Array] = []

    class Watching(FakeHarmonizer):
        def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
            seen.append(alpha)
            return super().predict(composite, alpha)

    stages = fake_stages(harmonizer=Watching(), placement=Placement(0.5, right=0.25))
    with Pipeline(stages, keep_plain=True) as pipeline:
        processed = pipeline.process(room_frame(0))
    expected = np.zeros((SIZE_WH[1], SIZE_WH[0]), bool)
    expected[20:, 32:40] = True
    assert processed.plain is not None
    for shown in (processed.composite.rgb, processed.plain.rgb):
        assert ((shown != SCENE).any(axis=2) == expected).all()
        assert not (shown == CANARY).all(axis=2).any()
    assert np.nonzero(seen[0] > 127)[1].min() >= 10


def test_somebody_shown_small_is_not_taken_for_nobody() -> None:
    class Darkening(FakeHarmonizer):
        def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
            plain = Correction.identity()
            return Correction(plain.matrix * np.float32(0.5), plain.curves, plain.log_gain)

    stages = fake_stages(harmonizer=Darkening(), smoother=SteadySmoother(), placement=Placement(0.1))
    with Pipeline(stages) as pipeline:
        for index in range(150):
            correction = pipeline.process(room_frame(index)).correction
    assert correction is not None
    assert correction.matrix[0, 0] == pytest.approx(0.5)


def test_a_cut_starts_the_filters_anew() -> None:
    smoother = FakeSmoother()
    segmenter = FakeSegmenter(lambda frame: frame.with_alpha(np.full(frame.rgb.shape[:2], 9, np.uint8)))
    with Pipeline(fake_stages(segmenter=segmenter, smoother=smoother)) as pipeline:
        rng = np.random.default_rng(0)
        blocks = [rng.integers(0, 256, (4, 4, 3), np.uint8).repeat(16, 0).repeat(16, 1) for _ in range(2)]
        for index, picture in enumerate([blocks[0], blocks[0], blocks[1], blocks[1]]):
            pipeline.process(Frame(freeze(picture.copy()), index))
    assert segmenter.resets == 1
    assert smoother.resets == 1


@pytest.mark.parametrize("placement", [AS_FILMED, Placement(0.2, right=0.3)])
def test_a_lamp_and_a_light_in_the_scene_are_answered_by_a_prediction_at_once(placement: Placement) -> None:
    for lit in ("person", "scene"):
        harmonizer, smoother, background = FakeHarmonizer(), FakeSmoother(), LitBackground()
        stages = fake_stages(harmonizer=harmonizer, smoother=smoother, background=background, placement=placement)
        with Pipeline(stages, harmonize_every=100) as pipeline:
            for index in range(20):
                is_lit = index >= 13
                background.level = 240 if is_lit and lit == "scene" else 160
                pipeline.process(lit_frame(index, 120 if is_lit and lit == "person" else 100))
                assert (harmonizer.predictions, smoother.steps) == ((2, 1) if is_lit else (1, 0))


def lit_frame(index: int, level: int) -> Frame:
    rng = np.random.default_rng(index)
    rgb = rng.integers(level - 3, level + 4, (SIZE_WH[1], SIZE_WH[0], 3)).astype(np.uint8)
    return Frame(freeze(rgb), index * 40_000_000)


class LitBackground(FakeBackground):
    """A video of a wall."""

    is_moving = True
    level = 0

    def render(self, frame: Frame) -> U8Array:
        wall = np.linspace(0.2, 1, frame.rgb.shape[1])[None, :, None]
        return freeze(np.broadcast_to(wall * self.level, frame.rgb.shape).astype(np.uint8))


class FailingOpen(FakeHarmonizer):
    def open(self) -> None:
        raise ModelError("damaged")


def test_stages_already_open_are_closed_when_a_later_one_fails() -> None:
    segmenter, background = FakeSegmenter(), FakeBackground()
    pipeline = Pipeline(fake_stages(segmenter=segmenter, background=background, harmonizer=FailingOpen()))
    with pytest.raises(ModelError):
        pipeline.open()
    assert segmenter.closed == 1
    assert background.closed == 1


def test_offline_keeps_every_frame_in_order() -> None:
    source, sink, plain = FakeSource(25), FakeSink(), FakeSink()
    source.open()
    ticks: list[float] = []
    with Pipeline(fake_stages(), keep_plain=True) as pipeline:
        outputs = [Output(sink), Output(plain, lambda processed: processed.plain, "plain")]
        count = run_offline(source, pipeline, outputs, on_frame=lambda: ticks.append(time.monotonic()))
    assert count == 25 == len(ticks)
    assert [c.pts_ns for c in sink.written] == [index * 40_000_000 for index in range(25)]
    assert [int(c.rgb[25, 25, 0]) for c in sink.written] == list(range(25))
    assert len(plain.written) == 25
    assert sink.calls == plain.calls == ["open", "close"]
    assert {"read", "segment", "harmonize", "composite", "write", "plain"} <= {
        row.stage for row in pipeline.timer.summary()
    }


@pytest.mark.parametrize(("only_frame", "shown"), [(0, 0), (6, 6), (9, 9), (10, 9), (500, 9)])
def test_the_last_pair_stands_in_for_one_that_never_comes(only_frame: int, shown: int) -> None:
    source, sink, picker = FakeSource(10), FakeSink(), BesidePicker(only_frame)
    source.open()
    with Pipeline(fake_stages(), keep_plain=True) as pipeline:
        run_offline(source, pipeline, [Output(sink, picker, "before/after", picker.rest)])
    assert [composite.pts_ns for composite in sink.written] == [shown * 40_000_000]
    assert sink.calls == ["open", "close"]


def test_a_source_that_breaks_leaves_nothing_behind() -> None:
    source, sink = FakeSource(10, fail_at=6, error=InputError("damaged after 6 frames")), FakeSink()
    with Pipeline(fake_stages()) as pipeline, pytest.raises(InputError, match=r"after 6 frames"):
        run_offline(source, pipeline, [Output(sink)])
    assert sink.calls == ["open", "abort"]


def test_a_sink_that_breaks_aborts_the_others_too() -> None:
    good, bad = FakeSink(), FakeSink(fail_at=2)
    with Pipeline(fake_stages()) as pipeline, pytest.raises(OutputError, match="no space"):
        run_offline(FakeSource(200), pipeline, [Output(good), Output(bad)])
    assert good.calls == bad.calls == ["open", "abort"]
    assert len(good.written) < 200


def test_a_sink_that_breaks_on_the_last_frame_is_noticed() -> None:
    bad = FakeSink(fail_at=9)
    with Pipeline(fake_stages()) as pipeline, pytest.raises(OutputError):
        run_offline(FakeSource(10), pipeline, [Output(bad)])
    assert bad.calls == ["open", "abort"]


def test_a_sink_that_cannot_be_finished_leaves_the_first_unfinished() -> None:
    class Unfinished(FakeSink):
        def close(self) -> None:
            raise OutputError("no space left on the fake device")

    good, bad = FakeSink(), Unfinished()
    with Pipeline(fake_stages()) as pipeline, pytest.raises(OutputError, match="no space"):
        run_offline(FakeSource(3), pipeline, [Output(good), Output(bad)])
    assert good.calls == bad.calls == ["open", "abort"]


def test_an_interrupt_aborts() -> None:
    sink = FakeSink()

    def interrupt() -> None:
        if len(sink.written) > 3:
            raise KeyboardInterrupt

    with Pipeline(fake_stages()) as pipeline, pytest.raises(KeyboardInterrupt):
        run_offline(FakeSource(200), pipeline, [Output(sink)], on_frame=interrupt)
    assert sink.calls == ["open", "abort"]


def test_a_miss_in_the_middle_stops_the_run_or_is_counted() -> None:
    def fault(frame: Frame) -> Frame:
        return frame if frame.pts_ns == 120_000_000 else frame.with_alpha(person_alpha())

    sink = FakeSink()
    with (
        Pipeline(fake_stages(segmenter=FakeSegmenter(fault))) as pipeline,
        pytest.raises(MatteError, match=r"0\.120 s"),
    ):
        run_offline(FakeSource(10), pipeline, [Output(sink)])
    assert sink.calls == ["open", "abort"]
    sink = FakeSink()
    with Pipeline(fake_stages(segmenter=FakeSegmenter(fault)), on_miss="slate") as pipeline:
        assert run_offline(FakeSource(10), pipeline, [Output(sink)]) == 10
    assert [c.kind for c in sink.written].index("slate") == 3
    assert pipeline.missed == 1


def test_the_loops_that_are_compiled_beforehand_are_those_that_frames_need() -> None:
    """In a process of its own: others may have compiled them before."""
    script = """
import numpy as np
from livecomp import pipeline, steps
from livecomp.smooth import motion
pipeline._compile_loops()
loops = [steps._take_logs, steps._find_person, steps._compare, motion._shrink, motion._shift]
known = [len(loop.signatures) for loop in loops]
frames, mattes = np.zeros((2, 90, 320, 3), np.uint8)[:, :, ::2], np.zeros((2, 64, 64), np.uint8)
watch, follow = steps.StepDetector(), motion.MatteMotion()
for rgb, alpha in zip(frames, mattes):
    watch.is_step(rgb, alpha)
    follow.update(alpha)
print(known, [len(loop.signatures) for loop in loops])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[1,", "1,", "1,", "1,", "1]", "[1,", "1,", "1,", "1,", "1]"]
