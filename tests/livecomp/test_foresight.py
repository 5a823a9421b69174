from __future__ import annotations

import threading
from fractions import Fraction

import numpy as np
import pytest

from livecomp.composite.placement import Placement
from livecomp.correction import Correction
from livecomp.errors import ContractError, InputError, MatteError, ModelError
from livecomp.foresight import Foresight, small_frame
from livecomp.frame import Frame, U8Array, freeze
from livecomp.offline import Output, run_offline
from livecomp.pipeline import Pipeline
from livecomp.smooth.ahead import LookAheadSmoother
from tests.livecomp.fakes import FakeHarmonizer, FakeSegmenter, FakeSink, FakeSmoother, FakeSource, fake_stages

FRAMES = 60
STEP = 30
EVERY = 3


def level(value: float) -> Correction:
    plain = Correction.identity()
    return Correction(plain.matrix * np.float32(value), plain.curves, plain.log_gain)


class SteppingHarmonizer(FakeHarmonizer):
    """The light changes at frame `STEP`."""

    def __init__(self) -> None:
        super().__init__()
        self.predictions = 0

    def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
        self.predictions += 1
        return level(1.0 if self.predictions * EVERY <= STEP else 1.3)


class Recording(FakeSmoother):
    def update(
        self, correction: Correction, pts_ns: int, alpha: U8Array | None = None, *, magnified: float = 1.0
    ) -> Correction:
        raise AssertionError("the filter for calls is not asked when everything is foreseen")


def test_a_file_is_corrected_without_lag_and_the_pipeline_predicts_nothing() -> None:
    harmonizer, idle = SteppingHarmonizer(), SteppingHarmonizer()
    source, sink = FakeSource(FRAMES), FakeSink()
    source.open()
    applied: list[float] = []

    def pick(processed: object) -> None:
        applied.append(float(processed.correction.matrix[0, 0]))  # type: ignore[attr-defined]

    with (
        Foresight(FakeSource(FRAMES), fake_stages(harmonizer=harmonizer), LookAheadSmoother()) as foresight,
        Pipeline(fake_stages(harmonizer=idle, smoother=Recording()), foreseen=foresight.correction) as pipeline,
    ):
        assert run_offline(source, pipeline, [Output(sink, pick)]) == FRAMES
    assert harmonizer.predictions == FRAMES // EVERY
    assert idle.predictions == 0
    assert max(applied[: STEP - 2]) < 1.03
    assert min(applied[STEP + 2 :]) > 1.27
    assert "look ahead" in {row.stage for row in pipeline.timer.summary()}


def test_it_runs_ahead_by_seconds_and_not_through_the_whole_file() -> None:
    harmonizer = SteppingHarmonizer()
    smoother = LookAheadSmoother(reach_s=1.0)
    with Foresight(FakeSource(100_000), fake_stages(harmonizer=harmonizer), smoother) as foresight:
        foresight.correction(0)
        foresight.correction(40_000_000)
    assert harmonizer.predictions < 150


def test_what_breaks_ahead_is_raised_and_everything_is_closed() -> None:
    source = FakeSource(50, fail_at=20, error=InputError("damaged after 20 frames"))
    segmenter = FakeSegmenter()
    with (
        pytest.raises(InputError, match="after 20 frames"),
        Foresight(source, fake_stages(segmenter=segmenter), LookAheadSmoother()) as foresight,
    ):
        foresight.correction(0)
    assert source.closed == segmenter.closed == 1


def test_what_broke_ahead_is_raised_again_when_somebody_asks_again() -> None:
    source = FakeSource(50, fail_at=20, error=ModelError("lost"))
    found: list[str] = []

    def ask() -> None:
        for _ in range(3):
            with pytest.raises(ModelError) as raised:
                foresight.correction(0)
            found.append(str(raised.value))

    with Foresight(source, fake_stages(), LookAheadSmoother()) as foresight:
        asking = threading.Thread(target=ask, daemon=True)
        asking.start()
        asking.join(20)
    assert found == ["lost"] * 3


class FailingOpen(FakeHarmonizer):
    def open(self) -> None:
        raise ModelError("damaged")


def test_stages_already_open_are_closed_when_a_later_one_fails() -> None:
    source, segmenter = FakeSource(), FakeSegmenter()
    foresight = Foresight(source, fake_stages(segmenter=segmenter, harmonizer=FailingOpen()), LookAheadSmoother())
    with pytest.raises(ModelError):
        foresight.open()
    assert source.closed == segmenter.closed == 1


def test_a_frame_without_a_matte_teaches_nothing_and_stops_nothing() -> None:
    def fault(frame: Frame) -> Frame:
        if frame.pts_ns == 400_000_000:
            raise MatteError("lost")
        return FakeSegmenter().segment(frame)

    stages = fake_stages(segmenter=FakeSegmenter(fault))
    with Foresight(FakeSource(20), stages, LookAheadSmoother()) as foresight:
        for index in range(20):
            assert foresight.correction(index * 40_000_000).matrix[0, 0] == pytest.approx(1)


def test_times_out_of_order_are_refused_and_the_last_frames_are_held() -> None:
    with Foresight(FakeSource(8), fake_stages(), LookAheadSmoother()) as foresight:
        foresight.correction(160_000_000)
        with pytest.raises(ContractError, match="expected times in order"):
            foresight.correction(40_000_000)
        assert foresight.correction(280_000_000).matrix[0, 0] == pytest.approx(1)
    with (
        Foresight(FakeSource(8), fake_stages(), LookAheadSmoother()) as foresight,
        pytest.raises(ContractError, match="after nothing"),
    ):
        foresight.correction(-1)


class CuttingSource(FakeSource):
    """Another scene from frame `CUT` on, which is none that a prediction is due for."""

    def read(self) -> Frame | None:
        frame = super().read()
        if frame is None:
            return None
        rng = np.random.default_rng(int(frame.pts_ns >= CUT * 40_000_000))
        blocks = rng.integers(0, 256, (4, 6, 3), np.uint8).repeat(8, 0).repeat(8, 1)
        return Frame(freeze(blocks), frame.pts_ns)


class ByScene(FakeHarmonizer):
    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
        self.seen += 1
        return level(1.0 if composite.tobytes() == self._first(composite) else 1.02)

    def _first(self, composite: U8Array) -> bytes:
        self._bytes = getattr(self, "_bytes", composite.tobytes())
        return self._bytes


CUT = 31


@pytest.mark.parametrize("every", [1, 2, 3])
def test_a_cut_is_found_in_every_frame_and_nothing_is_interpolated_across_it(every: int) -> None:
    harmonizer, segmenter = ByScene(), FakeSegmenter()
    stages = fake_stages(harmonizer=harmonizer, segmenter=segmenter)
    with Foresight(CuttingSource(60), stages, LookAheadSmoother(), every=every) as foresight:
        got = [float(foresight.correction(index * 40_000_000).matrix[0, 0]) for index in range(60)]
    assert max(got[:CUT]) == pytest.approx(1.0, abs=1e-4)
    assert min(got[CUT:]) == pytest.approx(1.02, abs=1e-4)
    assert harmonizer.seen <= 60 / every + 2
    assert segmenter.resets == 1


class Position(FakeHarmonizer):
    """Answers with the column of the person's middle."""

    def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
        return level(1 + float(np.nonzero(alpha)[1].mean()) / 100)


def test_the_person_is_looked_at_where_they_stand_in_the_scene() -> None:
    found = []
    for placement in (Placement(), Placement(0.5, right=0.25)):
        stages = fake_stages(harmonizer=Position(), placement=placement)
        with Foresight(FakeSource(12), stages, LookAheadSmoother()) as foresight:
            found.append(float(foresight.correction(0).matrix[0, 0]))
    assert found[1] - found[0] == pytest.approx(0.04, abs=0.01)


def test_the_smoother_hears_how_large_the_person_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[object] = []
    push = LookAheadSmoother.push

    def listen(self: LookAheadSmoother, *given: object, **options: object) -> None:
        heard.append(options["magnified"])
        push(self, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(LookAheadSmoother, "push", listen)
    with Foresight(FakeSource(4), fake_stages(placement=Placement(0.5)), LookAheadSmoother()) as foresight:
        foresight.correction(0)
    assert heard == [0.5, 0.5]


def test_leaving_early_leaves_no_thread() -> None:
    with Foresight(FakeSource(100_000), fake_stages(), LookAheadSmoother()) as foresight:
        foresight.correction(0)
    foresight.close()


@pytest.mark.parametrize(
    ("size_wh", "small_wh"), [((3840, 2160), (640, 360)), ((101, 361), (101, 360)), ((64, 48), (64, 48))]
)
def test_small_frames_keep_the_mean_the_time_and_the_shape_of_a_pixel(
    size_wh: tuple[int, int], small_wh: tuple[int, int]
) -> None:
    rng = np.random.default_rng(0)
    rgb = np.empty((size_wh[1], size_wh[0], 3), np.uint8)
    rgb[:] = rng.integers(60, 200, 3)
    small = small_frame(Frame(freeze(rgb), 7, sample_aspect_ratio=Fraction(64, 45)))
    assert small.size_wh == small_wh
    assert small.pts_ns == 7
    assert small.sample_aspect_ratio == Fraction(64, 45)
    assert (small.rgb == rgb[0, 0]).all()


class LampSource(FakeSource):
    """A lamp is switched on at frame `CUT`, which is none that a prediction is due for."""

    def read(self) -> Frame | None:
        frame = super().read()
        if frame is None:
            return None
        lamp = 60 if frame.pts_ns >= CUT * 40_000_000 else 0
        return Frame(freeze(np.minimum(frame.rgb // 2 + lamp, 255).astype(np.uint8)), frame.pts_ns)


class ByBrightness(FakeHarmonizer):
    def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
        return level(1.4 if composite[alpha > 127].mean() < 90 else 0.9)


def test_a_step_of_light_is_met_to_the_frame_though_only_every_third_is_predicted() -> None:
    stages = fake_stages(harmonizer=ByBrightness())
    with Foresight(LampSource(80), stages, LookAheadSmoother()) as foresight:
        got = [float(foresight.correction(index * 40_000_000).matrix[0, 0]) for index in range(80)]
    assert min(got[:CUT]) > 1.38
    assert max(got[CUT:]) < 0.92
