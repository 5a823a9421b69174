"""One suite over every segmenter that runs here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import resources

import cv2
import numpy as np
import pytest

from livecomp.errors import DependencyError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.models import list_models
from livecomp.segment.registry import MATTE_MODELS, make_segmenter
from livecomp.segment.segmenter import PersonSegmenter
from livecomp.smooth.matte import MotionAdaptiveFilter

FRAME_NS = 33_333_333
HERE = [name for name in MATTE_MODELS if name != "mediapipe"]  # which has no model file; see its own tests


@pytest.fixture(params=HERE)  # closed after each test, as some have threads of their own
def segmenter(request: pytest.FixtureRequest) -> Iterator[PersonSegmenter]:
    name = str(request.param)
    if name == "rvm" and {info.name: info.path for info in list_models()}["rvm"] is None:
        pytest.skip("the network 'rvm' is not installed here (livecomp setup rvm)")
    made = make_segmenter(name, matte_filter=MotionAdaptiveFilter())
    made.open()
    yield made
    made.close()


def scene(shape: tuple[int, int], shift: int = 0) -> U8Array:
    """A figure, head and shoulders in skin and dark cloth, before a green screen, with a little noise."""
    height, width = shape
    rgb = np.empty((height, width, 3), np.uint8)
    rgb[:] = (0, 177, 64)
    x, unit = width // 2 + shift, min(height, width)
    cv2.ellipse(rgb, (x, height), (int(unit * 0.38), int(unit * 0.42)), 0, 0, 360, (40, 44, 70), -1)
    cv2.ellipse(
        rgb, (x, int(height - unit * 0.58)), (int(unit * 0.14), int(unit * 0.2)), 0, 0, 360, (214, 165, 135), -1
    )
    noise = np.random.default_rng(shift).integers(-3, 4, rgb.shape)
    return freeze(np.clip(rgb + noise, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("shape", [(180, 320), (320, 180), (179, 321), (33, 7), (2, 2), (1, 1), (1, 64), (64, 1)])
def test_any_size_gives_the_same_frame_with_a_read_only_alpha(
    segmenter: PersonSegmenter, shape: tuple[int, int]
) -> None:
    frame = Frame(scene(shape, 100 if shape == (1, 1) else 0), 5 * FRAME_NS)  # one pixel cannot show both
    before = frame.rgb.copy()
    matted = segmenter.segment(frame)
    alpha = matted.require_alpha()
    assert matted.rgb is frame.rgb
    assert matted.pts_ns == frame.pts_ns
    assert alpha.shape == shape
    assert alpha.dtype == np.uint8
    assert not alpha.flags.writeable
    assert frame.alpha is None
    np.testing.assert_array_equal(frame.rgb, before)


def test_the_person_is_kept_and_the_rest_is_not(segmenter: PersonSegmenter) -> None:
    if segmenter.name == "chroma":
        alpha = segmenter.segment(Frame(scene((360, 640)), 0)).require_alpha()
        assert int(alpha[120:330, 300:340].min()) == 255
        assert not alpha[:, :120].any()
        return
    portrait = cv2.imread(str(resources.files("livecomp") / "assets" / "astronaut.jpg"))
    rgb = freeze(np.ascontiguousarray(portrait[..., ::-1]))
    for index in range(3):
        alpha = segmenter.segment(Frame(rgb, index * FRAME_NS)).require_alpha()
    assert float(alpha[40:130, 175:280].mean()) > 245  # the head
    assert float(alpha[330:500, 80:220].mean()) > 245  # the suit
    assert float(alpha[:230, 340:].mean()) < 8  # the rocket
    assert float(alpha[:120, :130].mean()) < 8  # the flag


@pytest.mark.parametrize("value", [0, 127, 255])
def test_grey_pictures_without_anybody_are_no_person_or_refused(segmenter: PersonSegmenter, value: int) -> None:
    frame = Frame(freeze(np.full((120, 160, 3), value, np.uint8)), 0)
    if segmenter.name == "chroma":  # nothing has the key's colour, so everything would be shown
        with pytest.raises(RuntimeError, match="takes"):
            segmenter.segment(frame)
    else:
        assert float(segmenter.segment(frame).require_alpha().mean()) < 0.5 * 255


def test_black_and_white_pictures_work(segmenter: PersonSegmenter) -> None:
    if segmenter.name == "chroma":
        pytest.skip("a chroma key needs colour")
    grey = cv2.cvtColor(scene((180, 320)), cv2.COLOR_RGB2GRAY)
    rgb = freeze(np.repeat(grey[..., None], 3, axis=2))
    assert segmenter.segment(Frame(rgb, 0)).require_alpha().shape == (180, 320)


def test_views_give_what_copies_give(segmenter: PersonSegmenter) -> None:
    view = freeze(scene((180, 320))[:, ::-1])
    first = segmenter.segment(Frame(view, 0))
    assert first.rgb is view
    segmenter.reset()
    second = segmenter.segment(Frame(freeze(np.ascontiguousarray(view)), 0))
    np.testing.assert_array_equal(first.require_alpha(), second.require_alpha())


def test_after_reset_the_same_pictures_give_the_same_alphas(segmenter: PersonSegmenter) -> None:
    def run() -> list[U8Array]:
        segmenter.reset()
        frames = (Frame(scene((180, 320), 4 * index), index * FRAME_NS) for index in range(4))
        return [segmenter.segment(frame).require_alpha() for frame in frames]

    for first, second in zip(run(), run(), strict=True):
        np.testing.assert_array_equal(first, second)


def test_earlier_alphas_stay_as_they_were(segmenter: PersonSegmenter) -> None:
    first = segmenter.segment(Frame(scene((180, 320)), 0)).require_alpha()
    kept = first.copy()
    second = segmenter.segment(Frame(scene((180, 320), 60), FRAME_NS)).require_alpha()
    np.testing.assert_array_equal(first, kept)
    assert not np.shares_memory(first, second)
    assert not np.array_equal(first, second)


def test_the_size_may_change_between_frames(segmenter: PersonSegmenter) -> None:
    for index, shape in enumerate([(180, 320), (90, 160), (320, 180)]):
        assert segmenter.segment(Frame(scene(shape), index * FRAME_NS)).require_alpha().shape == shape


@pytest.mark.parametrize("name", HERE)
def test_opening_twice_closing_twice_and_closing_unopened_are_harmless(name: str) -> None:
    segmenter = make_segmenter(name, matte_filter=None)
    segmenter.close()
    try:
        segmenter.open()
    except DependencyError as error:
        pytest.skip(str(error))
    segmenter.open()
    segmenter.close()
    segmenter.close()
    segmenter.open()
    assert segmenter.segment(Frame(scene((90, 160)), 0)).alpha is not None
    segmenter.close()
