"""The promise: the real room never shows. A canary colour fills it, and the matte fails in every way it can."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from livecomp.background import ColorBackground
from livecomp.capture.synthetic import SyntheticSource
from livecomp.composite.fused import FusedCompositor
from livecomp.config import Stages
from livecomp.correction import Correction
from livecomp.errors import MatteError, ModelError
from livecomp.frame import Frame
from livecomp.harmonizers.mkl import MklHarmonizer
from livecomp.offline import Output, run_offline
from livecomp.output.memory import MemorySink
from livecomp.pipeline import Pipeline
from livecomp.segment.refine import GuidedRefiner
from livecomp.segment.segmenter import PersonSegmenter
from livecomp.smooth.filters import OneEuroSmoother
from livecomp.smooth.matte import MotionAdaptiveFilter

CANARY = (255, 0, 255)
SCENE = (30, 120, 60)
FRAMES = 12
FAILING = range(4, 8)


class TrueMatte:
    """A matte model that knows the truth, until it fails."""

    name = "truth"

    def __init__(self, source: SyntheticSource, fault: Callable[[np.ndarray], object] | None = None) -> None:
        self._source = source
        self._fault = fault
        self._index = 0

    def open(self) -> None:
        pass

    def predict(self, rgb: np.ndarray) -> np.ndarray:
        index, self._index = self._index, self._index + 1
        truth = cv2.resize(self._source.true_alpha(index), (256, 144), interpolation=cv2.INTER_AREA)
        matte = truth.astype(np.float32) / 255
        if self._fault is not None and index in FAILING:
            return self._fault(matte)  # type: ignore[return-value]
        return matte

    def reset(self) -> None:
        pass

    def close(self) -> None:
        pass


def raising(matte: np.ndarray) -> np.ndarray:
    raise ModelError("the driver is gone")


def foreign_error(matte: np.ndarray) -> np.ndarray:
    raise MemoryError("inside a library")


FAULTS: dict[str, Callable[[np.ndarray], object]] = {
    "raises": raising,
    "raises a foreign error": foreign_error,
    "NaN": lambda matte: np.full_like(matte, np.nan),
    "one NaN": lambda matte: np.where(np.arange(256) == 7, np.float32(np.nan), matte),
    "all ones": np.ones_like,
    "out of range": lambda matte: matte * 255,
    "wrong shape": lambda matte: matte[None],
    "empty": lambda matte: matte[:0],
    "wrong dtype": lambda matte: (matte * 255).astype(np.uint8),
    "nothing": lambda matte: None,
}


class Recorder(PersonSegmenter):
    """Keeps the alphas, to know afterwards where nobody stood."""

    alphas: dict[int, np.ndarray]

    def segment(self, frame: Frame) -> Frame:
        matted = super().segment(frame)
        self.alphas[frame.pts_ns] = matted.require_alpha()
        return matted


def build(fault: Callable[[np.ndarray], object] | None) -> tuple[SyntheticSource, Recorder, Stages]:
    source = SyntheticSource((321, 179), count=FRAMES, wall=CANARY)
    source.open()
    segmenter = Recorder(TrueMatte(source, fault), matte_filter=MotionAdaptiveFilter(), refiner=GuidedRefiner())
    segmenter.alphas = {}
    stages = Stages(
        segmenter=segmenter,
        background=ColorBackground(SCENE),
        harmonizer=MklHarmonizer(),
        smoother=OneEuroSmoother(),
        compositor=FusedCompositor(light_wrap=0.5, decontaminate=True),
    )
    return source, segmenter, stages


def shows_the_room(rgb: np.ndarray) -> bool:
    return bool((np.abs(rgb.astype(int) - CANARY).max(axis=-1) < 70).any())


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_frames_that_fail_become_slates_and_the_room_never_shows(fault: Callable[[np.ndarray], object]) -> None:
    source, segmenter, stages = build(fault)
    shown, plain = MemorySink(), MemorySink()
    outputs = [Output(shown), Output(plain, lambda processed: processed.plain)]
    with Pipeline(stages, on_miss="slate", keep_plain=True) as pipeline:
        assert run_offline(source, pipeline, outputs) == FRAMES
    assert pipeline.missed == len(FAILING)
    for sink in (shown, plain):
        kinds = [composite.kind for composite in sink.composites]
        assert kinds == ["slate" if index in FAILING else "composite" for index in range(FRAMES)]
        for composite in sink.composites:
            if composite.kind == "slate":
                assert not shows_the_room(composite.rgb)
                continue
            empty = segmenter.alphas[composite.pts_ns] == 0
            assert empty.mean() > 0.3
            assert (composite.rgb[empty] == SCENE).all()


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_or_the_run_stops_and_keeps_nothing(fault: Callable[[np.ndarray], object]) -> None:
    source, _, stages = build(fault)
    sink = MemorySink()
    with Pipeline(stages) as pipeline, pytest.raises(MatteError, match=r"0\.133 s"):
        run_offline(source, pipeline, [Output(sink)])
    assert not sink.composites


def test_the_canary_would_be_seen() -> None:
    """The check itself: a frame of the source shows the room, and so would a composite with a full matte."""
    source, _, stages = build(None)
    frame = source.read()
    assert frame is not None
    assert shows_the_room(frame.rgb)
    everything = frame.with_alpha(np.full(frame.rgb.shape[:2], 255, np.uint8))
    scene = stages.background.render(frame)
    assert shows_the_room(stages.compositor.compose(everything, scene, Correction.identity()).rgb)


def test_an_empty_matte_shows_the_scene_alone() -> None:
    source, _, stages = build(lambda matte: np.zeros_like(matte))
    sink = MemorySink()
    with Pipeline(stages) as pipeline:
        run_offline(source, pipeline, [Output(sink)])
    for index in list(FAILING)[1:]:
        assert not shows_the_room(sink.composites[index].rgb)
