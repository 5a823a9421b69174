from __future__ import annotations

import numpy as np
import pytest

from engine.model_file import ModelFile
from livecomp.composite.reference import ReferenceCompositor
from livecomp.correction import Correction
from livecomp.frame import Frame, U8Array
from tests.livecomp.gpu.graphs import ROOM, blend_only, correction_feed, cpu_runner, disc, strong_correction, waves

SIZES = ((320, 180), (321, 179), (97, 65))


def mattes(size_wh: tuple[int, int]) -> tuple[U8Array, ...]:
    soft = disc(size_wh)
    return soft, np.zeros_like(soft), np.full_like(soft, 255), np.full_like(soft, 1)


def one(value: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array([value], np.float32)


@pytest.mark.parametrize("size_wh", SIZES)
@pytest.mark.parametrize("linear_light", [False, True])
def test_the_blend_is_the_references_within_one_level(size_wh: tuple[int, int], linear_light: bool) -> None:
    frame, scene = waves(size_wh, 1), waves(size_wh, 2)
    with cpu_runner(ModelFile.of(blend_only(size_wh, linear_light=linear_light), "blend.onnx")) as runner:
        for correction in (strong_correction(), Correction.identity()):
            for wrap, clean in ((0.0, False), (0.25, True), (1.0, True), (1.0, False)):
                reference = ReferenceCompositor(light_wrap=wrap, decontaminate=clean, linear_light=linear_light)
                for alpha in mattes(size_wh):
                    expected = reference.compose(Frame(frame, 0).with_alpha(alpha.copy()), scene, correction).rgb
                    feed = {"frame": frame, "background": scene, "alpha": alpha, "light_wrap": one(wrap)}
                    feed |= {"decontaminate": one(clean)} | correction_feed(correction)
                    got = runner.infer(feed)["composite"]
                    difference = np.abs(expected.astype(np.int16) - got)
                    assert difference.max() <= 1
                    # only where a value lies on the edge between two levels
                    assert (difference > 0).mean() < 1e-3


def test_nothing_of_the_room_is_left_where_alpha_is_zero() -> None:
    size_wh = (96, 64)
    room = np.full((64, 96, 3), ROOM, np.uint8)
    scene = waves(size_wh, 3)
    alpha = disc(size_wh)
    with cpu_runner(ModelFile.of(blend_only(size_wh), "blend.onnx")) as runner:
        feed = {"frame": room, "background": scene, "alpha": alpha, "light_wrap": one(1), "decontaminate": one(1)}
        got = runner.infer(feed | correction_feed(strong_correction()))["composite"]
    np.testing.assert_array_equal(got[alpha == 0], scene[alpha == 0])
    assert (alpha == 0).any()
