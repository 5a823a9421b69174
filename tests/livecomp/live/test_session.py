"""A whole call with small stages: what the consumer reads while everything fails that can, and changes that act."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from livecomp.background import ColorBackground
from livecomp.composite.placement import AS_FILMED, Placement
from livecomp.config import Config, Stages
from livecomp.correction import Correction
from livecomp.errors import ConfigError, InputError, MatteError, ModelError, OutputError
from livecomp.frame import Composite, Frame, U8Array, freeze
from livecomp.live import Action, BusyError, LiveStatus
from livecomp.live.session import LiveSession
from livecomp.media.image import write_image
from livecomp.segment.haze import HazeRemover
from livecomp.segment.presence import PresenceFilter
from livecomp.segment.segmenter import PersonSegmenter
from tests.livecomp.fakes import CANARY, FakeCompositor, FakeHarmonizer, FakeSmoother
from tests.livecomp.live.fakes import HEIGHT, WIDTH, PacedSource, WatchedSink, eventually, live_config

SCENE = (20, 30, 200)
OTHER = "#c0c000"


class Truth:
    """The true matte, or whatever `fault` makes of the frame."""

    def __init__(self) -> None:
        self.fault: Callable[[Frame], Frame] | None = None
        self.closed = 0

    def open(self) -> None:
        pass

    def segment(self, frame: Frame) -> Frame:
        if self.fault is not None:
            return self.fault(frame)
        return truly(frame)

    def reset(self) -> None:
        pass

    def close(self) -> None:
        self.closed += 1


def truly(frame: Frame) -> Frame:
    room = (frame.rgb == np.array(CANARY, np.uint8)).all(axis=2)
    return frame.with_alpha(np.where(room, 0, 255).astype(np.uint8))


class Breakable(FakeHarmonizer):
    broken = False

    def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
        if self.broken:
            raise ModelError("the engine is lost")
        return Correction.identity()


class Call:
    """A session with its parts."""

    def __init__(self, config: Config, **options: object) -> None:
        self.source, self.sink = PacedSource(), WatchedSink()
        self.segmenter, self.harmonizer = Truth(), Breakable()
        self.session = LiveSession(config, source=self.source, sinks=[self.sink], build=self.build, **options)  # type: ignore[arg-type]

    def build(self, config: Config, /, *, presence: PresenceFilter) -> Stages:
        built = config.build(presence=presence)
        background = ColorBackground(SCENE) if config.background.source == "demo" else built.background
        stages = Stages(self.segmenter, background, self.harmonizer, FakeSmoother(), FakeCompositor())
        stages = replace(stages, placement=built.placement)
        if config.segment.model == "chroma":
            stages = replace(stages, segmenter=Truth())
        return stages

    def status(self) -> LiveStatus:
        return self.session.status()

    def is_showing(self) -> bool:
        """Whether a composite was written in the last 150 ms."""
        return bool(self.sink.since(time.monotonic() - 0.15))


@contextmanager
def running(config: Config | None = None, *, call_type: type[Call] = Call, **options: object) -> Iterator[Call]:
    call = call_type(config or live_config(), **options)
    call.session.start()
    try:
        assert eventually(call.is_showing), call.status()
        yield call
    finally:
        call.session.stop()
    assert call.sink.canary_pixels() == 0
    assert not call.sink.is_open
    assert not call.source.is_open


def test_it_starts_with_a_slate_and_then_shows_every_frame() -> None:
    with running() as call:
        assert call.sink.written[0][1].kind == "slate"
        moment = time.monotonic()
        time.sleep(0.5)
        shown = call.sink.since(moment)
        assert 15 <= len(shown) <= 30
        assert all(later.pts_ns > earlier.pts_ns for earlier, later in pairwise(shown))
        status = call.status()
        assert status.state == "live"
        assert status.detail == ""
        assert 0 < status.latency_ms[0] < 50
        assert {row.stage for row in status.stages} >= {"read", "segment", "composite", "write"}
    assert call.status().state == "stopped"
    assert call.segmenter.closed == 1


def test_while_it_loads_it_says_so_whoever_watches() -> None:
    watch = FakeWatch()
    watch.somebody = False
    call, told = Call(live_config(), watch=watch), []
    call.segmenter.open = lambda: told.append(call.status())  # type: ignore[method-assign]
    call.session.start()
    call.session.stop()
    assert [(status.state, status.detail) for status in told] == [("starting", "networks and scene are being loaded")]


def test_a_call_is_live_once_a_composite_was_written_and_not_before() -> None:
    call = Call(live_config())
    write, states = call.sink.write, []

    def look(composite: Composite) -> None:
        if composite.kind == "composite":
            states.append(call.status().state)
        write(composite)

    call.sink.write = look  # type: ignore[method-assign]
    call.session.start()
    try:
        assert eventually(lambda: call.status().state == "live")
        assert call.sink.since(0)
    finally:
        call.session.stop()
    assert states[0] == "starting"


def test_a_change_while_it_loads_waits_and_holds_and_opens_everything_once() -> None:
    call, order = Call(live_config()), []
    loading, loaded = threading.Event(), threading.Event()

    def load() -> None:
        loading.set()
        loaded.wait(5)
        order.append("open")

    call.segmenter.open = load  # type: ignore[method-assign]
    call.segmenter.close = lambda: order.append("close")  # type: ignore[method-assign]
    starting = threading.Thread(target=call.session.start)
    starting.start()
    assert loading.wait(5)
    wanted = _with(call.session.config, "segment", model="chroma")
    changing = threading.Thread(target=call.session.apply, args=(wanted,))
    changing.start()
    changing.join(0.5)
    loaded.set()
    for thread in (starting, changing):
        thread.join()
    call.session.stop()
    assert call.session.config == wanted
    assert order == ["open", "close"]


def test_stopping_twice_and_before_the_start_does_nothing() -> None:
    call = Call(live_config())
    call.session.stop()
    with running() as other:
        pass
    other.session.stop()


def _nothing(frame: Frame) -> Frame:
    return frame


def _raise(frame: Frame) -> Frame:
    raise RuntimeError("segmenter broke")


def _stale(old: Frame) -> Callable[[Frame], Frame]:
    return lambda frame: old


def _other_pixels(frame: Frame) -> Frame:
    return truly(Frame(freeze(frame.rgb.copy()), frame.pts_ns))


@pytest.mark.parametrize("fault", [_raise, _nothing, _other_pixels, lambda frame: None])
def test_a_failing_segmenter_gives_slates_within_the_stall_time_and_recovers(fault: Callable[[Frame], Frame]) -> None:
    with running() as call:
        call.segmenter.fault = fault
        start = time.monotonic()
        assert eventually(lambda: call.sink.since(start, "slate") != [], 0.25 + 0.25)
        assert eventually(lambda: call.status().state == "stalled")
        assert call.status().detail
        assert call.status().missed > 0
        call.segmenter.fault = None
        assert eventually(call.is_showing, 0.5)
        assert call.status().state == "live"


class TrueMatte:
    """A matte model with the true matte, or whatever `fault` makes of it."""

    name = "scripted"

    def __init__(self) -> None:
        self.fault: Callable[[np.ndarray], object] = lambda matte: matte

    def open(self) -> None:
        pass

    def predict(self, rgb: U8Array) -> np.ndarray:
        matte = (rgb != np.array(CANARY, np.uint8)).any(axis=2).astype(np.float32)
        return self.fault(matte)  # type: ignore[return-value]

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


@pytest.mark.parametrize(
    "fault",
    [
        lambda matte: np.full_like(matte, np.nan),
        np.ones_like,
        lambda matte: np.full_like(matte, 0.5),
        lambda matte: matte[None],
        lambda matte: matte.astype(np.uint8),
        lambda matte: matte * 3,
        lambda matte: None,
    ],
    ids=["nan", "ones", "halves", "shape", "dtype", "range", "nothing"],
)
def test_a_matte_that_cannot_be_true_gives_slates_and_the_call_recovers(fault: Callable[[np.ndarray], object]) -> None:
    model = TrueMatte()

    class WithRealSegmenter(Call):
        def build(self, config: Config, /, *, presence: PresenceFilter) -> Stages:
            # no refiner: it would blend the canary into the edge, where a person's hair would be
            built = super().build(config, presence=presence)
            return replace(built, segmenter=PersonSegmenter(model, matte_filter=None, refiner=None))

    with running(call_type=WithRealSegmenter) as call:
        model.fault = fault
        start = time.monotonic()
        assert eventually(lambda: call.sink.since(start, "slate") != [], 0.25 + 0.25)
        assert eventually(lambda: call.status().state == "stalled")
        model.fault = lambda matte: matte
        assert eventually(call.is_showing, 0.5)


def test_an_empty_matte_shows_the_scene_alone() -> None:
    with running() as call:
        call.segmenter.fault = lambda frame: frame.with_alpha(np.zeros((HEIGHT, WIDTH), np.uint8))

        def is_empty() -> bool:
            shown = call.sink.since(time.monotonic() - 0.1)
            return bool(shown) and bool((shown[-1].rgb == np.array(SCENE, np.uint8)).all())

        assert eventually(is_empty)
        assert call.status().state == "live"


def test_the_matte_of_an_earlier_frame_is_never_used() -> None:
    with running() as call:
        old = truly(Frame(freeze(np.full((HEIGHT, WIDTH, 3), 9, np.uint8)), 1))
        start = time.monotonic()
        call.segmenter.fault = _stale(old)
        assert eventually(lambda: call.sink.since(start, "slate") != [])
        assert call.sink.since(time.monotonic() - 0.05) == []


def test_a_hanging_segmenter_gives_slates_and_the_call_recovers_when_it_returns() -> None:
    release = threading.Event()

    def hang(frame: Frame) -> Frame:
        release.wait(10)
        return truly(frame)

    with running() as call:
        call.segmenter.fault = hang
        start = time.monotonic()
        assert eventually(lambda: len(call.sink.since(start, "slate")) > 2)
        with pytest.raises(BusyError, match="nothing was changed"):
            call.session.apply(call.session.config.model_copy(update={"on_miss": "stop"}))
        call.segmenter.fault = None
        release.set()
        assert eventually(call.is_showing, 2.0)


def test_a_failing_harmonizer_does_not_interrupt_the_call() -> None:
    with running() as call:
        call.harmonizer.broken = True
        assert eventually(lambda: "engine is lost" in call.status().detail)
        assert call.is_showing()
        assert call.status().state == "live"
        call.harmonizer.broken = False
        assert eventually(lambda: call.status().detail == "")


@pytest.mark.parametrize("fault", ["unplugged", "silent"])
def test_a_lost_camera_gives_slates_and_comes_back(fault: str) -> None:
    with running() as call:
        setattr(call.source, fault, True)
        start = time.monotonic()
        assert eventually(lambda: len(call.sink.since(start, "slate")) > 3)
        assert call.status().state == "no camera"
        assert "paced camera" in call.status().detail
        setattr(call.source, fault, False)
        assert eventually(call.is_showing, 1.0)
        assert call.source.opened >= 2


def test_a_camera_that_comes_back_with_another_size_keeps_the_size_of_the_call() -> None:
    with running() as call:
        call.source.unplugged = True
        assert eventually(lambda: call.status().state == "no camera")
        call.source.size_wh = (160, 120)
        call.source.unplugged = False
        start = time.monotonic()
        assert eventually(lambda: len(call.sink.since(start)) > 3)
        assert {composite.size_wh for _, composite in call.sink.written} == {(WIDTH, HEIGHT)}


def test_a_removed_output_is_opened_again() -> None:
    with running() as call:
        call.sink.broken = True
        assert eventually(lambda: "device is gone" in call.status().detail)
        opened = call.sink.opened
        call.sink.broken = False
        start = time.monotonic()
        assert eventually(lambda: call.sink.since(start) != [], 2.0)
        assert call.sink.opened == opened + 1
        assert call.status().detail == ""


def test_an_output_that_cannot_be_had_ends_the_start() -> None:
    call = Call(live_config())
    call.sink.broken = True
    with pytest.raises(OutputError):
        call.session.start()
    call.session.stop()


@pytest.mark.parametrize("error", [ModelError("damaged"), ZeroDivisionError(), KeyboardInterrupt()])
def test_a_stage_that_cannot_be_opened_ends_the_start_and_closes_everything(error: BaseException) -> None:
    watch = FakeWatch()
    call = Call(live_config(), watch=watch)

    def refuse() -> None:
        raise error

    call.segmenter.open = refuse  # type: ignore[method-assign]
    with pytest.raises(type(error)):
        call.session.start()
    assert not call.sink.is_open
    assert watch.closed
    call.session.stop()


def test_what_fails_once_everything_is_open_closes_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    for owner, name in (("livecomp.pipeline", "_compile_loops"), ("livecomp.live.capturer.Capturer", "start")):
        call = Call(live_config())
        with monkeypatch.context() as patch:
            patch.setattr(f"{owner}.{name}", fail)
            with pytest.raises(ZeroDivisionError):
                call.session.start()
        assert not call.sink.is_open
        assert call.segmenter.closed == 1


def test_freeze_slate_pause_and_resume() -> None:
    with running() as call:
        call.session.act("freeze")
        time.sleep(0.1)
        frozen = call.sink.since(time.monotonic() - 0.3)[-1]
        start = time.monotonic()
        time.sleep(0.7)
        assert {id(composite) for composite in call.sink.since(start)} == {id(frozen)}
        assert call.status().state == "frozen"

        call.session.act("slate")
        start = time.monotonic() + 0.05
        time.sleep(0.4)
        assert call.sink.since(start) == []
        assert call.sink.since(start, "slate")
        assert call.source.is_open

        call.session.act("pause")
        assert eventually(lambda: not call.source.is_open)
        assert call.status().state == "paused"
        start = time.monotonic()
        assert eventually(lambda: call.sink.since(start, "slate") != [])

        call.session.act("resume")
        assert eventually(call.is_showing, 1.0)


def _with(config: Config, section: str, **values: object) -> Config:
    changed = getattr(config, section).model_copy(update=values)
    return config.model_copy(update={section: changed})


def test_a_change_holds_within_100_ms_and_drops_no_frame() -> None:
    with running() as call:
        dropped, start = call.status().dropped, time.monotonic()
        took = []
        for source in ("#ffffff", "#808080", OTHER):
            before = time.monotonic()
            call.session.apply(_with(call.session.config, "background", source=source))
            took.append(time.monotonic() - before)
        assert min(took) < 0.1
        assert eventually(lambda: tuple(call.sink.written[-1][1].rgb[0, 0]) == (0xC0, 0xC0, 0), 0.2)
        assert call.session.config.background.source == OTHER
        time.sleep(0.2)
        assert call.status().dropped == dropped
        assert len(call.sink.since(start, "slate")) == 0


def test_files_that_a_call_has_read_may_go_while_other_options_change(tmp_path: Path) -> None:
    scene, slate = tmp_path / "scene.png", tmp_path / "slate.png"
    for path in (scene, slate):
        write_image(path, freeze(np.full((HEIGHT, WIDTH, 3), 90, np.uint8)))
    config = _with(live_config(slate=slate), "background", source=str(scene))
    with running(config) as call:
        for path in (scene, slate):
            path.unlink()
        call.session.apply(_with(config, "composite", color_strength=0.5))
        assert call.session.config.composite.color_strength == 0.5
        assert tuple(call.sink.written[-1][1].rgb[0, 0]) == (90, 90, 90)
        with pytest.raises(ConfigError, match="no background"):
            call.session.apply(_with(config, "background", fit="contain"))


def test_another_segmenter_replaces_the_old_one_which_is_closed() -> None:
    with running() as call:
        call.session.apply(_with(call.session.config, "segment", model="chroma"))
        assert call.segmenter.closed == 1
        assert call.is_showing()
        call.segmenter.fault = _raise
        time.sleep(0.3)
        assert call.is_showing(), "the old segmenter is still at work"


class Fidgeting(PacedSource):
    """The canary room with a textured thing in it, which changes while `is_moving`."""

    is_moving = False

    def __init__(self) -> None:
        super().__init__()
        self._rng = np.random.default_rng(0)
        self._thing = self._texture()

    def read(self) -> Frame | None:
        frame = super().read()
        assert frame is not None
        if self.is_moving:
            self._thing = self._texture()
        rgb = frame.rgb.copy()
        there = (rgb != np.array(CANARY, np.uint8)).any(axis=2)
        rgb[there] = self._thing[there]
        return Frame(freeze(rgb), frame.pts_ns)

    def _texture(self) -> U8Array:
        return self._rng.integers(0, 200, (HEIGHT, WIDTH, 3), np.uint8)


class WithPresence(Call):
    """Cuts out whatever is in the room, and shows what the call's presence filter lets pass."""

    def __init__(self, config: Config, **options: object) -> None:
        self.given: list[PresenceFilter] = []
        super().__init__(config, **options)
        self.source = Fidgeting()
        self.session = LiveSession(config, source=self.source, sinks=[self.sink], build=self.build)

    def build(self, config: Config, /, *, presence: PresenceFilter) -> Stages:
        self.given.append(presence)
        segmenter = PersonSegmenter(
            TrueMatte(),
            matte_filter=None,
            refiner=None,
            haze_remover=HazeRemover(),
            presence=presence,
            can_stall=False,
        )
        return replace(super().build(config, presence=presence), segmenter=segmenter)

    def shows_thing(self) -> bool:
        return bool((self.sink.written[-1][1].rgb[HEIGHT // 2, WIDTH // 2] != SCENE).any())


def test_what_has_no_face_is_shown_while_it_moves_and_other_segmenters_know_of_it() -> None:
    with running(call_type=WithPresence) as call:
        assert isinstance(call, WithPresence)
        time.sleep(0.5)
        assert not any((shown.rgb != SCENE).any() for shown in call.sink.since(0)), "a thing that stands was shown"
        call.source.is_moving = True
        assert eventually(call.shows_thing, 0.5)
        call.source.is_moving = False
        time.sleep(0.1)
        start = time.monotonic()
        for refine in (False, True):
            call.session.apply(_with(call.session.config, "segment", refine=refine))
            time.sleep(0.2)
        shown = call.sink.since(start)
        assert len(shown) > 10
        assert all((composite.rgb[HEIGHT // 2, WIDTH // 2] != SCENE).any() for composite in shown)
    assert len(call.given) == 4
    assert len(set(map(id, call.given[1:]))) == 1, "every configuration is built with the call's own filter"


def test_a_call_without_a_face_detector_does_not_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(presence: PresenceFilter) -> None:
        raise ModelError("the face detector cannot be loaded: damaged")

    monkeypatch.setattr(PresenceFilter, "open", refuse)
    call = Call(live_config())
    with pytest.raises(ModelError, match="face detector"):
        call.session.start()
    assert not call.sink.is_open
    assert not call.source.is_open


def test_the_person_is_moved_at_once() -> None:
    with running() as call:

        def first_column() -> int:
            return int(np.nonzero((call.sink.written[-1][1].rgb != SCENE).any(axis=(0, 2)))[0].min())

        before = first_column()
        call.session.apply(_with(call.session.config, "person", right=0.25))
        assert eventually(lambda: first_column() == before + WIDTH // 4, 0.5)
        assert "place" in {row.stage for row in call.status().stages}
        call.session.apply(_with(call.session.config, "person", right=0.0))
        assert eventually(lambda: first_column() == before, 0.5)


def test_before_the_blurred_room_the_person_stays_where_they_are() -> None:
    for source, placement in (("#808080", Placement(0.5, 0.25, 0.1)), ("blur", AS_FILMED)):
        options = {"background": {"source": source}, "person": {"size": 0.5, "right": 0.25, "down": 0.1}}
        assert Config.from_options(options).build().placement == placement


def test_a_change_after_the_end_is_refused_and_leaves_nothing_open() -> None:
    class Kept(Call):
        def build(self, config: Config, /, *, presence: PresenceFilter) -> Stages:
            self.built = super().build(config, presence=presence)
            return self.built

    with running(call_type=Kept) as call:
        pass
    with pytest.raises(ConfigError, match="the call ends"):
        call.session.apply(_with(call.session.config, "segment", model="chroma"))
    assert isinstance(call, Kept)
    assert isinstance(call.built.segmenter, Truth)
    assert call.built.segmenter is not call.segmenter
    assert call.built.segmenter.closed == 1
    assert call.session.config.segment.model == "both"


def test_a_background_fades_in() -> None:
    with running(live_config(fade_ms=400)) as call:
        start = time.monotonic()
        call.session.apply(_with(call.session.config, "background", source="#ffffff"))
        assert eventually(lambda: tuple(call.sink.written[-1][1].rgb[0, 0]) == (255, 255, 255), 1.0)
        reds = [int(composite.rgb[0, 0, 0]) for composite in call.sink.since(start)]
        assert len({red for red in reds if 30 < red < 245}) > 8
        assert reds == sorted(reds)


@pytest.mark.parametrize("meanwhile", ["freeze", "slate", "pause"])
def test_a_blurred_room_that_was_left_is_not_frozen_again(meanwhile: Action) -> None:
    config = Config.from_options({"background": {"source": "blur"}, "live": live_config().live.model_dump()})
    with running(config) as call:
        assert (call.sink.since(0)[-1].rgb[0, 0] == CANARY).all()
        call.session.act(meanwhile)
        call.session.apply(_with(call.session.config, "background", source=OTHER))
        time.sleep(0.1)
        call.session.act("freeze")
        start = time.monotonic()
        assert eventually(lambda: call.sink.since(start, "slate") != [])
        assert call.sink.since(start) == []
        call.session.act("resume")
        assert eventually(lambda: call.sink.since(start) != [])
        assert tuple(call.sink.since(start)[0].rgb[0, 0]) == (0xC0, 0xC0, 0)
        call.sink.written.clear()


def test_what_loading_and_changing_left_behind_is_given_back_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []

    def trim() -> bool:
        times.append(time.monotonic())
        return True

    monkeypatch.setattr("livecomp.live.session.trim_heaps", trim)
    monkeypatch.setattr("livecomp.live.session._SETTLED_S", 0.3)
    with running() as call:
        assert eventually(lambda: len(times) == 1)
        changed = time.monotonic()
        call.session.apply(_with(call.session.config, "background", source=OTHER))
        call.session.apply(_with(call.session.config, "background", source="#0000c0"))
        assert eventually(lambda: len(times) == 2)
        assert times[1] - changed >= 0.3
        time.sleep(0.6)
        assert len(times) == 2


@pytest.mark.parametrize(
    ("section", "values", "error"),
    [
        ("background", {"source": "/nowhere/beach.jpg"}, ConfigError),
        ("segment", {"model": "magic"}, ConfigError),
        ("live", {"width": 640}, ConfigError),
        ("live", {"slate": "/nowhere/slate.png"}, InputError),
    ],
)
def test_a_change_that_cannot_be_had_leaves_everything_as_it_was(
    section: str, values: dict[str, object], error: type[Exception]
) -> None:
    with running() as call:
        before = call.session.config
        with pytest.raises(error):
            call.session.apply(_with(before, section, **values))
        assert call.session.config == before
        assert call.is_showing()


class FakeWatch:
    def __init__(self) -> None:
        self.somebody = True
        self.closed = 0

    def watched(self) -> bool:
        return self.somebody

    def close(self) -> None:
        self.closed += 1


def test_the_camera_sleeps_while_nobody_watches() -> None:
    watch = FakeWatch()
    with running(watch=watch) as call:
        watch.somebody = False
        assert eventually(lambda: not call.source.is_open)
        assert call.status().state == "sleeping"
        captured, start = call.status().captured, time.monotonic()
        assert eventually(lambda: len(call.sink.since(start, "slate")) > 1, 2.0), "the device is no longer fed"
        assert call.status().captured == captured
        watch.somebody = True
        assert eventually(call.is_showing, 1.0)
    assert watch.closed == 1


def test_a_call_that_nobody_watches_starts_without_the_camera() -> None:
    watch = FakeWatch()
    watch.somebody = False
    call = Call(live_config(), watch=watch)
    call.session.start()
    try:
        assert not eventually(lambda: call.source.opened > 0, 0.7)
        status = call.status()
        assert (status.state, status.detail, status.captured) == ("sleeping", "nobody watches", 0)
        call.session.act("pause")
        assert (call.status().state, call.status().detail) == ("paused", "")
        call.session.act("resume")
        watch.somebody = True
        assert eventually(call.is_showing, 1.0)
    finally:
        call.session.stop()
    assert call.sink.canary_pixels() == 0


def test_what_is_wrong_with_the_camera_is_told_at_the_start_whoever_watches(caplog: pytest.LogCaptureFixture) -> None:
    watch = FakeWatch()
    watch.somebody = False
    call = Call(live_config(), watch=watch)
    call.source.unplugged = True
    call.session.start()
    try:
        assert eventually(lambda: "the paced camera is away" in caplog.text)
        watch.somebody = True
        assert eventually(lambda: call.status().detail == "the paced camera is away")
        call.source.unplugged = False
        assert eventually(call.is_showing)
    finally:
        call.session.stop()
    assert caplog.text.count("the paced camera is away") == 1


def test_without_ondemand_nobody_needs_to_watch() -> None:
    watch = FakeWatch()
    watch.somebody = False
    with running(live_config(ondemand=False), watch=watch) as call:
        assert call.status().state == "live"


def test_more_frames_than_wanted_are_left_out_and_fewer_are_all_shown() -> None:
    with running(live_config(fps=20)) as call:
        start = time.monotonic()
        time.sleep(1.0)
        assert 14 <= len(call.sink.since(start)) <= 26


def test_a_second_output_that_cannot_be_had_is_told_and_opened_later() -> None:
    second = WatchedSink()
    second.broken = True

    class TwoOutputs(Call):
        def __init__(self, config: Config, **options: object) -> None:
            super().__init__(config, **options)
            sinks = [self.sink, second]
            self.session = LiveSession(config, source=self.source, sinks=sinks, build=self.build)

    with running(call_type=TwoOutputs) as call:
        assert "the watched device is gone" in call.status().detail
        assert not second.written
        second.broken = False
        assert eventually(lambda: bool(second.since(0)))
        assert call.status().detail == ""
    assert second.opened == 1
    assert not second.is_open


@pytest.mark.parametrize("action", ["resume", "freeze"])
def test_the_last_picture_of_all_is_a_slate(action: Action) -> None:
    with running() as call:
        call.session.act(action)
        assert eventually(call.is_showing)
    assert call.sink.written[-1][1].kind == "slate"


def test_a_slow_camera_is_shown_without_slates_in_between() -> None:
    with running() as call:
        call.source.interval_s = 0.35
        time.sleep(3)
        start = time.monotonic()
        time.sleep(1.5)
        assert call.sink.since(start, "slate") == []
        assert len(call.sink.since(start)) >= 3


def test_a_slow_pipeline_drops_old_frames_and_keeps_the_newest() -> None:
    def slow(frame: Frame) -> Frame:
        time.sleep(0.06)
        return truly(frame)

    with running() as call:
        call.segmenter.fault = slow
        time.sleep(0.8)
        assert call.status().dropped > 10
        assert call.status().latency_ms[1] < 150
        assert call.status().state == "live"


def test_late_frames_lower_the_cost_and_the_step_is_told() -> None:
    def slow(frame: Frame) -> Frame:
        time.sleep(0.05)
        return truly(frame)

    with running(live_config(adapt=True, budget_ms=20)) as call:
        call.segmenter.fault = slow
        assert eventually(lambda: call.status().step != "full", 6.0)
        steady = _with(call.session.config, "live", adapt=False)
        with pytest.raises(ConfigError):
            call.session.apply(_with(steady, "background", source="/nowhere/beach.jpg"))
        assert call.status().step != "full", "a change that was refused lifted the step"
        call.session.apply(steady)
        assert call.status().step == "full"


def test_a_clock_that_jumps_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that jumps changes nothing: only monotonic time is used."""
    with running() as call:
        monkeypatch.setattr(time, "time", lambda: 0.0)
        time.sleep(0.3)
        assert call.is_showing()
        assert call.status().state == "live"


def test_nothing_but_composites_reaches_the_sink() -> None:
    with running() as call:
        call.segmenter.fault = lambda frame: (_ for _ in ()).throw(MatteError("no"))
        time.sleep(0.4)
        assert all(isinstance(composite, Composite) for _, composite in call.sink.written)
