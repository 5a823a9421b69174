"""Compare what a graph gives on this machine with what the stages of the CPU give, before it is trusted.

Drivers and compilers differ from machine to machine. A graph that was loaded on a GPU is shown the built-in portrait
first; only if that comes out as it should are frames given to it.
"""

from __future__ import annotations

from contextlib import ExitStack

import cv2
import numpy as np

from livecomp.background import fit_to
from livecomp.capture.demo import DemoSource
from livecomp.composite.fused import FusedCompositor
from livecomp.correction import Correction
from livecomp.errors import ModelError
from livecomp.frame import Composite, Frame, U8Array, freeze
from livecomp.gpu.options import WholeOptions
from livecomp.harmonizers.lowres import make_input
from livecomp.harmonizers.network import NetworkHarmonizer
from livecomp.models import model_path
from livecomp.segment.registry import make_segmenter

__all__ = ["check_composite", "check_prediction", "make_example"]

_MOST_MEAN = 0.5
"""Mean difference of composites, 8-bit levels; in float32 it is 0.005, the rest is for networks in half precision."""

_MOST_FAR = 0.01
"""Share of values that differ by more than `_FAR` levels."""

_FAR = 8

_MOST_PREDICTION = 0.05
"""Difference of any parameter of the correction; in float32 it is 0.0005."""

_PORTRAIT_WH = (640, 360)
_SCENE_LEVELS = (30, 220)


def make_example(size_wh: tuple[int, int]) -> tuple[Frame, U8Array, Correction]:
    """A frame with a person, a scene and a correction that changes colours and shading plainly.

    Args:
        size_wh: Width and height in pixels.

    Returns:
        The frame, without alpha; the scene, (H, W, 3) uint8; and the correction.
    """
    source = DemoSource(_PORTRAIT_WH)
    source.open()
    try:
        portrait = source.read()
    finally:
        source.close()
    assert portrait is not None, "the demo has frames"
    width, height = size_wh
    across = np.linspace(*_SCENE_LEVELS, width, dtype=np.float32)[None, :]
    down = np.linspace(*_SCENE_LEVELS, height, dtype=np.float32)[:, None]
    planes = [np.broadcast_to(plane, (height, width)) for plane in (across, down, (across + down) / 2)]
    scene = freeze(np.stack(planes, axis=2).astype(np.uint8))
    neutral = Correction.identity()
    matrix = np.array([[0.9, 0.1, 0.0], [0.0, 0.85, 0.05], [0.05, 0.0, 0.7]], np.float32)
    gain = np.linspace(-0.4, 0.3, neutral.log_gain.size, dtype=np.float32).reshape(neutral.log_gain.shape)
    correction = Correction(matrix, neutral.curves ** np.float32(1.3), gain)
    return Frame(fit_to(portrait.rgb, size_wh, "cover"), 0), scene, correction


def check_composite(
    composite: Composite, options: WholeOptions, frame: Frame, scene: U8Array, correction: Correction
) -> Frame:
    """Compare the composite of a first frame with that of the stages.

    Returns:
        The frame with the alpha of the stages.

    Raises:
        ModelError: They differ by more than rounding and half precision explain.
    """
    segmenter = make_segmenter(
        options.matte_model, matte_filter=None, refine=options.refine, clear=options.clear, backend="onnxruntime"
    )
    compositor = FusedCompositor(
        color_strength=options.color_strength,
        shading_strength=options.shading_strength,
        light_wrap=options.light_wrap,
        decontaminate=options.decontaminate,
        linear_light=options.linear_light,
        threads=1,
    )
    with ExitStack() as stack:
        for stage in (segmenter, compositor):
            stack.callback(stage.close)
            stage.open()
        matted = segmenter.segment(frame)
        expected = compositor.compose(matted, scene, correction).rgb
    difference = cv2.absdiff(expected, composite.rgb)
    mean, far = float(difference.mean()), float((difference > _FAR).mean())
    if mean > _MOST_MEAN or far > _MOST_FAR:
        raise ModelError(
            f"the built-in portrait comes out with a mean difference of {mean:.2f} levels and {far:.1%} of values far "
            f"off: expected at most {_MOST_MEAN} and {_MOST_FAR:.0%}"
        )
    return matted


def check_prediction(prediction: Correction, matted: Frame, scene: U8Array) -> None:
    """Compare a prediction with that of the network on the CPU.

    Raises:
        ModelError: They differ by more than half precision explains.
    """
    network = NetworkHarmonizer(lambda: model_path("live"), backend="onnxruntime")
    network.open()
    try:
        seen = make_input(matted.rgb, scene, matted.require_alpha(), network.input_size)
        expected = network.predict(*seen)
    finally:
        network.close()
    for name in ("matrix", "curves", "log_gain"):
        difference = float(np.abs(getattr(prediction, name) - getattr(expected, name)).max())
        if difference > _MOST_PREDICTION:
            raise ModelError(
                f"the predicted {name} of the built-in portrait differs by {difference:.3f}: "
                f"expected at most {_MOST_PREDICTION}"
            )
