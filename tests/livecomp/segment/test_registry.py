from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from livecomp.errors import ConfigError
from livecomp.frame import Frame, freeze
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
