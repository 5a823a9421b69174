from __future__ import annotations

import subprocess
import sys

import pytest

from livecomp.errors import ConfigError
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
