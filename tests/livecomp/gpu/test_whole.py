"""Whole frames against the stages of the CPU, in float32 on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import cv2
import numpy as np
import pytest

from livecomp.capture.demo import DemoSource
from livecomp.composite.reference import ReferenceCompositor
from livecomp.config import Config, Stages
from livecomp.correction import Correction
from livecomp.errors import MatteError, ModelError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.gpu.whole import WholeOptions
from livecomp.harmonizers.identity import IdentityHarmonizer
from livecomp.harmonizers.lowres import make_input
from livecomp.segment.presence import PresenceFilter
from livecomp.smooth.motion import MatteMotion
from tests.livecomp.gpu.graphs import networks, whole_frame

MATTE_MEAN = 1e-4
"""Of every n-th pixel, 0..1; measured 5e-6, and 3.1e-5 where it does not follow the picture's edges."""

MATTE_MOST, OFF, OFF_PLAIN = 2, 3e-3, 3.5e-2
"""8-bit levels; and the share of pixels off at all, with and without the picture's edges, of which none is by more than
one level: the last digit of float32 decides where a level ends, and plain stretching in OpenCV cuts off what is here
rounded. Measured 1.3e-3 and 1.7e-2."""

COMPOSITE_MEAN, COMPOSITE_MOST = 4e-3, 4
"""8-bit levels; measured 1.5e-3 and 2."""

PREDICTION = 1.2e-3
"""Matrix, curves and log-gain; measured 1.5e-4, and 2.8e-4 where the matte does not follow the picture's edges."""


def demo_frames(size_wh: tuple[int, int], count: int) -> list[Frame]:
    """The demo clip at any size, odd ones too."""
    source = DemoSource((size_wh[0] // 2 * 2, size_wh[1] // 2 * 2))
    source.open()
    frames = []
    for _ in range(count):
        frame = source.read()
        assert frame is not None
        rgb = cv2.resize(frame.rgb, size_wh, interpolation=cv2.INTER_LINEAR)
        frames.append(Frame(freeze(np.asarray(rgb, np.uint8)), frame.pts_ns))
    source.close()
    return frames


@pytest.fixture
def opened() -> Iterator[Callable[[dict[str, object]], Stages]]:
    """Opens stages with these options of the matte, and closes them after the test."""
    with ExitStack() as stack:

        def open_stages(segment: dict[str, object]) -> Stages:
            options = {"segment": {"backend": "onnxruntime"} | segment, "harmonize": {"backend": "onnxruntime"}}
            stages = Config.from_options(options).build("demo")
            for stage in (stages.segmenter, stages.background, stages.harmonizer):
                stage.open()
                stack.callback(stage.close)
            return stages

        yield open_stages


Opened = Callable[[dict[str, object]], Stages]


@pytest.mark.parametrize(
    ("size_wh", "model", "refine", "clear"),
    [
        ((640, 360), "both", True, True),
        ((641, 359), "general", True, False),
        ((426, 240), "landscape", False, True),
        ((320, 240), "both", True, True),
    ],
)
def test_frames_look_as_the_stages_of_the_cpu_make_them(
    size_wh: tuple[int, int], model: str, refine: bool, clear: bool, opened: Opened
) -> None:
    stages = opened({"model": model, "refine": refine, "clear": clear})
    reference = ReferenceCompositor(light_wrap=0.25, decontaminate=True, color_strength=0.8)
    whole = whole_frame(WholeOptions(matte_model=model, refine=refine, clear=clear, color_strength=0.8))
    whole.open()
    correction = Correction.identity()
    for frame in demo_frames(size_wh, 4):
        matted = stages.segmenter.segment(frame)
        scene = stages.background.render(matted)
        expected = reference.compose(matted, scene, correction).rgb
        shown = whole.run(frame, scene, correction)
        difference = np.abs(expected.astype(np.int16) - shown.composite.rgb)
        assert difference.mean() < COMPOSITE_MEAN
        assert difference.max() <= COMPOSITE_MOST
        thin = cv2.resize(matted.require_alpha(), (64, 64), interpolation=cv2.INTER_NEAREST)
        assert np.abs(thin / 255.0 - shown.alpha / 255.0).mean() < MATTE_MEAN
        seen, seen_alpha = make_input(matted.rgb, scene, matted.require_alpha(), stages.harmonizer.input_size)
        correction = stages.harmonizer.predict(seen, seen_alpha)
        predicted = whole.predict()
        for name in ("matrix", "curves", "log_gain"):
            np.testing.assert_allclose(getattr(predicted, name), getattr(correction, name), atol=PREDICTION)
    assert float(matted.require_alpha().mean()) > 20, "somebody must be there"
    whole.close()


@pytest.mark.parametrize(
    ("size_wh", "model", "refine", "clear"),
    [
        ((1280, 720), "both", True, True),
        ((641, 359), "general", True, True),
        ((641, 359), "landscape", True, False),
        ((640, 480), "both", False, True),
        ((240, 320), "both", False, False),
        ((97, 65), "both", True, True),
    ],
)
def test_the_matte_is_that_of_the_cpu_at_every_pixel(
    size_wh: tuple[int, int], model: str, refine: bool, clear: bool, opened: Opened
) -> None:
    """A person painted black on white shows the alpha. No region comes a frame late in these clips; see below."""
    stages = opened({"model": model, "refine": refine, "clear": clear})
    options = WholeOptions(matte_model=model, refine=refine, clear=clear, light_wrap=0, decontaminate=False)
    whole = whole_frame(options)
    whole.open()
    black = Correction(np.zeros((3, 3), np.float32), np.zeros((3, 32), np.float32), NO_GAIN.copy())
    white = freeze(np.full((size_wh[1], size_wh[0], 3), 255, np.uint8))
    for frame in demo_frames(size_wh, 3):
        expected = stages.segmenter.segment(frame).require_alpha()
        alpha = 255 - whole.run(frame, white, black).composite.rgb[..., 0]
        difference = cv2.absdiff(alpha, expected)
        assert difference.max() <= MATTE_MOST
        assert (difference > 0).mean() < (OFF if refine else OFF_PLAIN)
        assert expected.mean() > 20, "somebody must be there"
    whole.close()


def test_a_region_far_from_the_person_comes_and_goes_a_frame_late(opened: Opened) -> None:
    stages = opened({})
    whole = whole_frame()
    whole.open()
    before, late = None, 0
    for frame in demo_frames((240, 320), 6):
        matted = stages.segmenter.segment(frame)
        shown = whole.run(frame, stages.background.render(matted), Correction.identity())
        thin = cv2.resize(matted.require_alpha(), (64, 64), interpolation=cv2.INTER_NEAREST).astype(np.int16)
        before = thin if before is None else before
        # a little of the edge aside: what is small and touches the person's edge is still reached by it
        assert ((np.minimum(thin, before) - shown.alpha) > 16).mean() < 2e-3
        assert ((shown.alpha - np.maximum(thin, before)) > 16).mean() < 2e-3
        late += int((np.abs(shown.alpha - thin) > 16).any())
        before = thin
    assert 0 < late < 4, "the demo clip at this size has such a region"
    whole.close()


class ScriptedPresence(PresenceFilter):
    """Finds somebody everywhere, or nowhere, and remembers when it was asked to forget."""

    def __init__(self) -> None:
        super().__init__()
        self.is_somebody_there = False
        self.asked_ns: list[int] = []
        self.resets = 0

    def keep(self, sure: U8Array, rgb: U8Array, pts_ns: int) -> U8Array:
        self.asked_ns.append(pts_ns)
        return sure if self.is_somebody_there else np.zeros_like(sure)

    def reset(self) -> None:
        self.resets += 1


@pytest.mark.parametrize("prove", [False, True])
def test_whom_the_filter_does_not_let_pass_is_not_shown_from_the_first_frame_on(prove: bool) -> None:
    """And the portrait that proves a graph is neither hidden nor taken for somebody in the call."""
    presence = ScriptedPresence()
    whole = whole_frame(presence=presence, prove=prove)
    whole.open()
    whole.prepare((320, 240))
    assert presence.asked_ns == []
    scene = freeze(np.full((240, 320, 3), (20, 30, 200), np.uint8))
    shown = []
    for index, frame in enumerate(demo_frames((320, 240), 8)):
        presence.is_somebody_there = index >= 3
        shown.append(bool((whole.run(frame, scene, Correction.identity()).composite.rgb != scene).any()))
    assert shown == [False] * 4 + [True] * 4, "shown a frame after somebody was found"
    assert presence.resets == 0, "another graph is no reason to forget who was seen"
    whole.reset()
    assert presence.resets == 1
    presence.is_somebody_there = False
    assert not (whole.run(frame, scene, Correction.identity()).composite.rgb != scene).any()
    whole.close()
    assert presence.resets == 1


def test_without_a_view_of_who_is_there_nothing_is_shown() -> None:
    class Blind(ScriptedPresence):
        def keep(self, sure: U8Array, rgb: U8Array, pts_ns: int) -> U8Array:
            raise MatteError("whether somebody is there cannot be told")

    whole = whole_frame(presence=Blind())
    whole.open()
    scene = freeze(np.zeros((240, 320, 3), np.uint8))
    for frame in demo_frames((320, 240), 2):
        with pytest.raises(MatteError, match="whether somebody is there"):
            whole.run(frame, scene, Correction.identity())
    whole.close()


def test_a_second_pass_changes_the_correction_and_nothing_else() -> None:
    first, second = demo_frames((320, 180), 2)
    scene = freeze(np.full((180, 320, 3), (20, 30, 200), np.uint8))
    dark = Correction(np.eye(3, dtype=np.float32) * np.float32(0.5), Correction.identity().curves, NO_GAIN.copy())
    once, twice = whole_frame(), whole_frame()
    for whole in (once, twice):
        whole.open()
        assert whole.run(first, scene, Correction.identity()).composite.rgb.mean() > 0
    again = twice.again(first, scene, dark)
    assert again.composite.rgb.mean() < once.run(second, scene, Correction.identity()).composite.rgb.mean()
    assert again.composite.pts_ns == first.pts_ns
    expected = once.again(second, scene, dark).composite.rgb
    np.testing.assert_array_equal(twice.run(second, scene, dark).composite.rgb, expected)
    once.close()
    twice.close()


NO_GAIN = np.zeros((16, 16), np.float32)


def test_the_plain_composite_and_another_size_come_with_another_graph() -> None:
    (frame,), (other,) = demo_frames((320, 180), 1), demo_frames((200, 202), 1)
    scene = freeze(np.full((180, 320, 3), (20, 30, 200), np.uint8))
    dark = Correction(np.zeros((3, 3), np.float32), Correction.identity().curves, NO_GAIN.copy())
    whole = whole_frame(WholeOptions(light_wrap=0))
    whole.open()
    shown = whole.run(frame, scene, dark, plain=True)
    assert shown.plain is not None
    np.testing.assert_array_equal(shown.plain.rgb, whole.run(frame, scene, Correction.identity()).composite.rgb)
    small: U8Array = freeze(np.zeros((202, 200, 3), np.uint8))
    assert whole.run(other, small, dark).composite.size_wh == (200, 202)
    with pytest.raises(ModelError, match=r"64x48 are too small for the GPU: at least 64"):
        whole.prepare((64, 48))
    whole.close()
    whole.close()
    with pytest.raises(ModelError, match="not open"):
        whole.prepare((320, 180))


def test_a_harmonizer_without_a_network_sees_what_it_would_see_on_the_cpu(opened: Opened) -> None:
    class Recording(IdentityHarmonizer):
        def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
            self.seen = composite, alpha
            return super().predict(composite, alpha)

    stages = opened({})
    (frame,) = demo_frames((640, 360), 1)
    harmonizer = Recording()
    mattes_only = {name: data for name, data in networks().items() if name != "live"}
    whole = whole_frame(networks=lambda: mattes_only, harmonizer=harmonizer)
    whole.open()
    matted = stages.segmenter.segment(frame)
    scene = stages.background.render(matted)
    whole.run(frame, scene, Correction.identity())
    whole.predict()
    seen, seen_alpha = make_input(frame.rgb, scene, matted.require_alpha(), harmonizer.input_size)
    assert np.abs(seen.astype(np.int16) - harmonizer.seen[0]).mean() < 0.5
    assert np.abs(seen_alpha.astype(np.int16) - harmonizer.seen[1]).mean() < 0.5
    whole.close()


def test_the_motion_of_a_thin_alpha_is_that_of_the_whole_one() -> None:
    alpha = np.zeros((360, 640), np.uint8)
    alpha[100:300, 200:400] = 255
    moved = np.roll(alpha, 9, axis=1)
    full, thin = MatteMotion(), MatteMotion()
    for matte in (alpha, moved):
        expected = full.update(matte)
        assert thin.update(np.asarray(cv2.resize(matte, (64, 64), interpolation=cv2.INTER_NEAREST))) == expected
    assert expected[0] > 0
