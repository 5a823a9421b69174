from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from livecomp.capture.demo import DemoSource
from livecomp.config import Config
from livecomp.errors import ConfigError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.segment.presence import PresenceFilter
from livecomp.segment.registry import MATTE_MODELS, MatteOptions, make_segmenter
from livecomp.smooth.matte import MotionAdaptiveFilter


def test_an_unknown_name_lists_the_known_ones_and_what_they_need() -> None:
    with pytest.raises(ConfigError, match=r"'nobody'; known are general, .*rvm \(needs livecomp setup rvm\)"):
        make_segmenter("nobody", matte_filter=None)


@pytest.mark.parametrize("name", MATTE_MODELS)
def test_models_know_their_name(name: str) -> None:
    assert MATTE_MODELS[name].make(MatteOptions()).name == name
    assert make_segmenter(name, matte_filter=MotionAdaptiveFilter()).name == name


def test_options_reach_the_model() -> None:
    with pytest.raises(ConfigError, match="grey"):
        make_segmenter("chroma", matte_filter=None, key_rgb=(90, 90, 90))


def test_importing_it_loads_no_optional_package() -> None:
    code = (
        "import sys, livecomp.segment.registry; "
        "print([name for name in ('mediapipe', 'torch', 'tensorrt') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_a_key_may_give_the_same_matte_for_another_picture() -> None:
    segmenter = make_segmenter("chroma", matte_filter=None)
    segmenter.open()
    for index, grey in enumerate((90, 160, 220)):
        rgb = np.full((48, 64, 3), (0, 177, 64), np.uint8)
        rgb[12:, 20:44] = grey
        alpha = segmenter.segment(Frame(freeze(rgb), index)).require_alpha()
        assert alpha[30, 32] == 255
        assert alpha[5, 5] == 0
    segmenter.close()


class Nobody(PresenceFilter):
    """Finds nobody anywhere."""

    def keep(self, sure: U8Array, rgb: U8Array, pts_ns: int) -> U8Array:
        return np.zeros_like(sure)


@pytest.mark.parametrize(("people_only", "is_shown"), [(True, False), (False, True)])
@pytest.mark.parametrize("model", ["general", "landscape", "both"])
def test_with_people_only_the_selfie_networks_show_whom_the_filter_lets_pass(
    model: str, people_only: bool, is_shown: bool
) -> None:
    options = {"model": model, "people_only": people_only, "backend": "onnxruntime"}
    config = Config.from_options({"segment": options, "compute": "cpu"})
    source = DemoSource((320, 240))
    source.open()
    frame = source.read()
    assert frame is not None
    for presence, shown in ((Nobody(), is_shown), (None, True)):
        segmenter = config.build(presence=presence).segmenter
        segmenter.open()
        assert segmenter.segment(frame).require_alpha().any() == shown
        segmenter.close()
