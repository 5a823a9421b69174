"""The segmenter with models that fail on purpose: every failure is a MatteError, and none shows the room."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from livecomp.errors import MatteError, ModelError
from livecomp.frame import Frame, freeze
from livecomp.segment.haze import HazeRemover
from livecomp.segment.refine import GuidedRefiner
from livecomp.segment.segmenter import PersonSegmenter
from livecomp.smooth.matte import MotionAdaptiveFilter

FRAME_NS = 33_333_333


def picture(seed: int, shape: tuple[int, int] = (60, 80)) -> Frame:
    rgb = np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)
    return Frame(freeze(rgb), seed * FRAME_NS)


def person(left: int = 8) -> np.ndarray:
    matte = np.zeros((32, 32), np.float32)
    matte[8:, left : left + 16] = 1
    return matte


class ScriptedModel:
    """Answers from a script of mattes, functions and exceptions; the last one stays."""

    name = "scripted"

    def __init__(self, *script: object) -> None:
        self._script = list(script)
        self.calls: list[str] = []

    def open(self) -> None:
        self.calls.append("open")

    def predict(self, rgb: np.ndarray) -> np.ndarray:
        self.calls.append("predict")
        answer = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer  # type: ignore[return-value]

    def reset(self) -> None:
        self.calls.append("reset")

    def close(self) -> None:
        self.calls.append("close")


def make(model: ScriptedModel, refined: bool = False, steady: bool = False) -> PersonSegmenter:
    return PersonSegmenter(
        model,
        matte_filter=MotionAdaptiveFilter() if steady else None,
        refiner=GuidedRefiner() if refined else None,
    )


FAULTS: dict[str, object] = {
    "raises ModelError": ModelError("no memory left"),
    "raises anything": ZeroDivisionError("inside foreign code"),
    "nothing": lambda: None,
    "NaN": np.full((32, 32), np.nan, np.float32),
    "one NaN": np.where(np.arange(1024).reshape(32, 32) == 7, np.float32(np.nan), person()),
    "all ones": np.ones((32, 32), np.float32),
    "wrong shape": np.zeros((1, 32, 32), np.float32),
    "wrong dtype": person().astype(np.float64),
    "wrong range": person() * 255,
    "half transparent": np.full((32, 32), 0.5, np.float32),
}


@pytest.mark.parametrize("refined", [False, True])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_every_fault_is_a_matte_error_naming_time_and_model_and_the_next_frame_works(
    fault: object, refined: bool
) -> None:
    segmenter = make(ScriptedModel(person(6), fault, person(8)), refined=refined, steady=True)
    segmenter.open()
    segmenter.segment(picture(0))
    with pytest.raises(MatteError, match=r"0\.033 s from 'scripted'"):
        segmenter.segment(picture(1))
    assert segmenter.segment(picture(2)).require_alpha()[45, 38] > 200
    segmenter.close()


def test_a_model_that_stalls_and_hands_out_its_own_buffer_is_found() -> None:
    buffer = person()
    segmenter = make(ScriptedModel(buffer))
    first = segmenter.segment(picture(0))
    kept = first.require_alpha().copy()
    with pytest.raises(MatteError, match="stalled"):
        segmenter.segment(picture(1))
    buffer[:] = np.roll(buffer, 4, axis=1)
    second = segmenter.segment(picture(2))
    np.testing.assert_array_equal(first.require_alpha(), kept)
    assert not np.array_equal(second.require_alpha(), kept)


def test_interrupts_pass() -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(ScriptedModel(interrupt)).segment(picture(0))


def test_the_frame_keeps_its_pixels_and_time() -> None:
    frame = picture(3)
    matted = make(ScriptedModel(person())).segment(frame)
    assert matted.rgb is frame.rgb
    assert matted.pts_ns == frame.pts_ns
    assert frame.alpha is None


def test_without_a_refiner_the_matte_is_upsampled_plainly() -> None:
    alpha = make(ScriptedModel(person())).segment(picture(0, (64, 64))).require_alpha()
    assert alpha.shape == (64, 64)
    assert set(np.unique(alpha[20:60, 22:42])) == {255}
    assert not alpha[:, :14].any()
    assert alpha[40, 15] in range(60, 68)  # a quarter of the way between two pixels


def test_a_matte_of_full_size_is_left_as_it_is() -> None:
    matte = np.tile(np.linspace(0, 1, 80, dtype=np.float32) ** 8, (60, 1))
    alpha = make(ScriptedModel(matte)).segment(picture(0)).require_alpha()
    np.testing.assert_array_equal(alpha, np.rint(matte * 255))


def test_another_size_or_a_reset_starts_everything_anew() -> None:
    model = ScriptedModel(person(6), person(8), person(10), person(12))
    segmenter = make(model, steady=True)
    segmenter.segment(picture(0))
    segmenter.segment(picture(1))
    assert "reset" not in model.calls
    segmenter.segment(picture(2, (40, 50)))
    assert model.calls.count("reset") == 1
    segmenter.reset()
    assert model.calls.count("reset") == 2


def test_the_filter_never_sees_a_refused_matte() -> None:
    class Recorder:
        def __init__(self) -> None:
            self.seen: list[float] = []

        def update(self, matte: np.ndarray, pts_ns: int) -> np.ndarray:
            self.seen.append(float(matte.mean()))
            return matte

        def reset(self) -> None:
            pass

    recorder = Recorder()
    segmenter = PersonSegmenter(
        ScriptedModel(person(6), np.ones((32, 32), np.float32), person(8)), matte_filter=recorder, refiner=None
    )
    segmenter.segment(picture(0))
    with pytest.raises(MatteError):
        segmenter.segment(picture(1))
    segmenter.segment(picture(2))
    assert len(recorder.seen) == 2
    assert max(recorder.seen) < 0.5


def test_open_and_close_reach_the_model() -> None:
    model = ScriptedModel(person())
    segmenter = make(model, refined=True)
    segmenter.open()
    segmenter.close()
    segmenter.close()
    assert model.calls == ["open", "close", "close"]


@pytest.mark.parametrize("make_view", [lambda rgb: rgb[:, ::-1], lambda rgb: rgb[::2], lambda rgb: rgb[..., ::-1]])
def test_pictures_that_are_not_contiguous_are_fine(make_view: Callable[[np.ndarray], np.ndarray]) -> None:
    rgb = np.random.default_rng(5).integers(0, 256, (64, 64, 3), np.uint8)
    view = freeze(make_view(rgb))
    frame = Frame(view, 0)
    matted = make(ScriptedModel(person()), refined=True).segment(frame)
    assert matted.rgb is view
    plain = make(ScriptedModel(person()), refined=True).segment(Frame(freeze(np.ascontiguousarray(view)), 0))
    np.testing.assert_array_equal(matted.require_alpha(), plain.require_alpha())


class ScriptedPresence:
    """Keeps what is left of a column, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def keep(self, sure: np.ndarray, rgb: np.ndarray, pts_ns: int) -> np.ndarray:
        self.calls.append((rgb.shape, pts_ns))
        return sure * (np.arange(sure.shape[1]) < 16).astype(np.uint8)

    def reset(self) -> None:
        self.calls.append("reset")


def test_only_regions_with_somebody_in_them_are_person_and_a_cut_forgets_who_was_seen() -> None:
    two = person(2) + np.roll(person(2), 16, axis=1)
    two[:, 16:18] = 0
    presence = ScriptedPresence()
    segmenter = PersonSegmenter(
        ScriptedModel(two),
        matte_filter=None,
        refiner=None,
        haze_remover=HazeRemover(),
        presence=presence,  # type: ignore[arg-type]
    )
    segmenter.open()
    alpha = segmenter.segment(picture(3, (64, 64))).require_alpha()
    assert alpha[40, 10] == 255
    assert not alpha[:, 40:].any()
    assert presence.calls == [((64, 64, 3), 3 * FRAME_NS)]
    segmenter.reset()
    segmenter.close()
    assert presence.calls[1:] == ["reset"]
