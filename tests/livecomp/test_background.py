from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from livecomp.background import (
    Background,
    BlurBackground,
    ColorBackground,
    Fit,
    PictureBackground,
    VideoBackground,
    fit_to,
    open_background,
)
from livecomp.errors import ConfigError, InputError
from livecomp.frame import Composite, Frame, U8Array, freeze
from livecomp.media.image import write_image
from livecomp.output.video import VideoSink
from tests.livecomp.clips import corner_picture, number_of, numbered_picture, write_animation, write_clip

MS = 1_000_000


def frame_at(pts_ns: int, size_wh: tuple[int, int] = (64, 48), alpha: U8Array | None = None) -> Frame:
    return Frame(freeze(np.full((size_wh[1], size_wh[0], 3), 50, np.uint8)), pts_ns, alpha)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Ten pictures, 40 ms each."""
    return write_clip(tmp_path / "clip.mp4", [numbered_picture(index) for index in range(10)])


@pytest.fixture(params=["picture", "video", "colour", "blur", "demo"])
def background(request: pytest.FixtureRequest, tmp_path: Path, clip: Path) -> Background:
    write_image(tmp_path / "picture.png", corner_picture())
    specs = {"picture": tmp_path / "picture.png", "video": clip, "colour": "#102030"}
    return open_background(specs.get(request.param, request.param))


@pytest.mark.parametrize("size_wh", [(64, 48), (33, 21), (1, 1), (97, 5), (5, 97)])
def test_every_background_fills_the_frame_read_only(background: Background, size_wh: tuple[int, int]) -> None:
    background.open()
    for pts_ns in (0, 40 * MS, 3000 * MS):
        rgb = background.render(frame_at(pts_ns, size_wh))
        assert rgb.shape == (size_wh[1], size_wh[0], 3)
        assert rgb.dtype == np.uint8
        assert rgb.flags.c_contiguous
        assert not rgb.flags.writeable
    background.close()
    background.close()


def test_the_frame_size_may_change(background: Background) -> None:
    background.open()
    for size_wh in ((64, 48), (32, 24), (64, 48)):
        assert background.render(frame_at(0, size_wh)).shape == (size_wh[1], size_wh[0], 3)
    background.close()


def test_opened_again_it_gives_the_same(background: Background) -> None:
    seen = []
    for _ in range(2):
        background.open()
        seen.append(background.render(frame_at(70 * MS)))
        background.close()
    assert (seen[0] == seen[1]).all()


@pytest.mark.parametrize(
    ("spec", "rgb"),
    [("#102030", (16, 32, 48)), ("#f0A", (255, 0, 170)), ("Navy", (0, 0, 128)), ("white", (255, 255, 255))],
)
def test_colours(spec: str, rgb: tuple[int, int, int]) -> None:
    background = open_background(spec)
    assert isinstance(background, ColorBackground)
    assert not background.is_moving
    assert (background.render(frame_at(0)) == rgb).all()


def test_specs_find_their_kind(tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_image(tmp_path / "scene.jpg", corner_picture())
    assert isinstance(open_background(tmp_path / "scene.jpg"), PictureBackground)
    assert isinstance(open_background(str(clip)), VideoBackground)
    assert isinstance(open_background("demo"), PictureBackground)
    assert isinstance(open_background("blur"), BlurBackground)
    assert isinstance(open_background("blur:0.7"), BlurBackground)
    monkeypatch.chdir(tmp_path)
    clip.rename(tmp_path / "red")
    assert isinstance(open_background("red"), VideoBackground)


@pytest.mark.parametrize(
    "spec", ["", "nothing.png", "#12", "#12345g", "blur:", "blur:2", "blur:-1", "blur:x", "blur:nan"]
)
def test_unknown_specs_are_refused(spec: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError):
        open_background(spec)


@pytest.mark.parametrize("suffix", [".gif", ".png"])
def test_animations_play(tmp_path: Path, suffix: str) -> None:
    background = open_background(write_animation(tmp_path / f"scene{suffix}", [0, 80, 160]))
    assert background.is_moving
    background.open()
    shown = [round(float(background.render(frame_at(ms * MS)).mean())) for ms in (0, 40, 80, 120, 160)]
    background.close()
    np.testing.assert_allclose(shown, [0, 80, 160, 0, 80], atol=1)


def test_damaged_pictures_are_reported_by_open(tmp_path: Path) -> None:
    (tmp_path / "scene.png").write_bytes(b"not a picture")
    with pytest.raises(InputError, match=r"scene\.png"):
        open_background(tmp_path / "scene.png").open()


def test_a_picture_is_scaled_once_for_each_size(tmp_path: Path) -> None:
    write_image(tmp_path / "scene.png", corner_picture((200, 100)))
    background = open_background(tmp_path / "scene.png")
    background.open()
    first = background.render(frame_at(0))
    assert background.render(frame_at(40 * MS)) is first
    background.close()
    with pytest.raises(InputError, match="not open"):
        background.render(frame_at(0))


@pytest.mark.parametrize("kind", ["picture", "video", "demo"])
def test_a_scene_may_be_out_of_focus(kind: str, tmp_path: Path) -> None:
    write_image(tmp_path / "picture.png", corner_picture((200, 100)))
    clip = write_clip(tmp_path / "clip.mp4", [corner_picture((200, 100))] * 2)
    spec = {"picture": tmp_path / "picture.png", "video": clip, "demo": "demo"}[kind]
    edges = []
    for defocus in (0.0, 1.0):
        background = open_background(spec, defocus=defocus)
        background.open()
        rgb = background.render(frame_at(0, (200, 100)))
        edges.append(np.abs(np.diff(rgb.astype(int), axis=1)).max())
        background.close()
    assert edges[1] < edges[0] / 2


@pytest.mark.parametrize("kind", ["picture", "video"])
def test_the_shape_of_pixels_may_change_at_one_size(kind: str, tmp_path: Path) -> None:
    if kind == "picture":
        spec = tmp_path / "picture.png"
        write_image(spec, numbered_picture(40))
    else:
        spec = write_clip(tmp_path / "clip.mp4", [numbered_picture(40)] * 3)
    background = open_background(spec, "contain")
    background.open()
    square, wide = frame_at(0), replace(frame_at(0), sample_aspect_ratio=Fraction(2))
    covered = [round(float((background.render(frame) > 100).mean()), 1) for frame in (square, wide, square)]
    background.close()
    assert covered == [1, 0.5, 1]


@pytest.mark.parametrize("fit", ["cover", "contain", "stretch"])
@pytest.mark.parametrize("size_wh", [(100, 100), (300, 50), (37, 211), (1, 9)])
def test_fits(fit: Fit, size_wh: tuple[int, int]) -> None:
    """A picture with a white frame round it, twice as wide as high."""
    picture = np.full((100, 200, 3), 128, np.uint8)
    picture[:10] = picture[-10:] = 255
    picture[:, :10] = picture[:, -10:] = 255
    rgb = fit_to(freeze(picture), size_wh, fit)
    assert (rgb.shape[1], rgb.shape[0]) == size_wh
    width, height = size_wh
    middle_row, middle_column = rgb[height // 2, :, 0], rgb[:, width // 2, 0]
    wide = width / height > 2
    if min(size_wh) < 20:
        return
    if fit == "stretch":
        assert middle_row[0] == middle_row[-1] == middle_column[0] == middle_column[-1] == 255
    elif fit == "cover":
        assert rgb.min() > 100
        cut, kept = (middle_column, middle_row) if wide else (middle_row, middle_column)
        assert cut[0] < 140
        assert cut[-1] < 140
        assert kept[0] == kept[-1] == 255
    else:
        bars, kept = (middle_row, middle_column) if wide else (middle_column, middle_row)
        assert bars[0] == bars[-1] == 0
        assert kept[0] == kept[-1] == 255


@pytest.mark.parametrize("kind", ["picture", "video"])
@pytest.mark.parametrize("fit", ["cover", "contain"])
@pytest.mark.parametrize("aspect", [Fraction(2), Fraction(1, 2)])
def test_a_square_is_shown_square_whatever_the_shape_of_a_pixel(
    fit: Fit, aspect: Fraction, kind: str, tmp_path: Path
) -> None:
    """Of the camera's pixels, or of those of a background that is a video."""
    picture = np.zeros((80, 80, 3), np.uint8)
    picture[20:60, 20:60] = 255
    frame_aspect, path = aspect, tmp_path / "scene.png"
    if kind == "picture":
        write_image(path, picture)
    else:
        frame_aspect, path = Fraction(1), tmp_path / "scene.mp4"
        sink = VideoSink(
            path, size_wh=(80, 80), fps=Fraction(25), time_base=Fraction(1, 25), sample_aspect_ratio=aspect
        )
        sink.open()
        sink.write(Composite(freeze(picture), 0))
        sink.close()
    background = open_background(path, fit)
    background.open()
    frame = Frame(freeze(np.zeros((80, 80, 3), np.uint8)), 0, sample_aspect_ratio=frame_aspect)
    white = background.render(frame)[..., 1] > 127
    background.close()
    shown = white.any(axis=0).sum() / white.any(axis=1).sum()
    assert shown == pytest.approx(float(1 / aspect if kind == "picture" else aspect), rel=0.1)


def test_a_video_shows_the_picture_of_the_time_and_starts_over(clip: Path) -> None:
    background = open_background(clip)
    background.open()
    assert background.is_moving
    start = 1234 * MS  # the first frame's time is the video's beginning
    for step in (0, 39, 40, 41, 100, 119, 120, 399, 400, 430, 480, 799, 801, 1250):
        expected = step // 40 % 10
        assert number_of(background.render(frame_at(start + step * MS))) == expected, step
    background.close()


def test_a_picture_that_did_not_change_is_not_made_again(clip: Path) -> None:
    background = open_background(clip)
    background.open()
    first = background.render(frame_at(0))
    assert background.render(frame_at(20 * MS)) is first
    assert background.render(frame_at(40 * MS)) is not first
    background.close()


def test_time_that_jumps_back_starts_the_video_over(clip: Path) -> None:
    background = open_background(clip)
    background.open()
    background.render(frame_at(1000 * MS))
    assert number_of(background.render(frame_at(1200 * MS))) == 5
    assert number_of(background.render(frame_at(0))) == 0
    assert number_of(background.render(frame_at(80 * MS))) == 2
    background.close()


def test_a_long_pause_does_not_decode_every_round_that_nobody_saw(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    background = VideoBackground(clip)
    background.open()
    background.render(frame_at(0))
    background.render(frame_at(500 * MS))
    decoded = 0
    advance = background._reader.advance

    def counted() -> object:
        nonlocal decoded
        decoded += 1
        return advance()

    monkeypatch.setattr(background._reader, "advance", counted)
    hour = 3600 * 1000 * MS
    assert number_of(background.render(frame_at(hour + 240 * MS))) == 6
    assert decoded <= 25
    background.close()


def test_skipped_pictures_are_not_converted(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    background = VideoBackground(clip)
    background.open()
    converted = []
    convert = background._reader.convert
    monkeypatch.setattr(background._reader, "convert", lambda frame: converted.append(frame) or convert(frame))
    for step in range(4):
        background.render(frame_at(step * 200 * MS))
    assert len(converted) == 4
    background.close()


def test_a_video_of_one_picture(tmp_path: Path) -> None:
    background = open_background(write_clip(tmp_path / "one.mp4", [numbered_picture(7)]))
    background.open()
    for step in range(5):
        assert number_of(background.render(frame_at(step * 500 * MS))) == 7
    background.close()


def test_variable_frame_rate_holds_pictures_as_long_as_they_last(tmp_path: Path) -> None:
    path = write_clip(
        tmp_path / "vfr.mkv",
        [numbered_picture(index) for index in range(4)],
        times=[0, 500, 510, 2000],
        time_base=Fraction(1, 1000),
    )
    background = open_background(path)
    background.open()
    shown = [number_of(background.render(frame_at(time * MS))) for time in (0, 499, 505, 600, 1999, 2001)]
    assert shown == [0, 0, 1, 2, 2, 3]
    background.close()


def test_blur_hides_details_at_any_strength() -> None:
    rng = np.random.default_rng(0)
    text = cv2.putText(np.full((720, 1280, 3), 200, np.uint8), "SECRET 4711", (300, 400), 0, 2.0, (0, 0, 0), 4)
    text = np.clip(text + rng.integers(-5, 5, text.shape), 0, 255).astype(np.uint8)
    frame = Frame(freeze(text), 0)
    contrasts, spreads = [], []
    for strength in (0.0, 0.5, 1.0):
        rgb = BlurBackground(strength).render(frame).astype(float)
        contrasts.append(float(np.abs(np.diff(rgb, axis=1)).max()))
        spreads.append(float(rgb.std()))
    assert max(contrasts) < 12
    assert spreads[0] > spreads[1] > spreads[2]


def test_blur_leaves_the_person_out_where_the_matte_is_known() -> None:
    rgb = np.full((90, 160, 3), 60, np.uint8)
    alpha = np.zeros((90, 160), np.uint8)
    alpha[30:, 60:100] = 255
    rgb[alpha > 0] = (250, 20, 20)
    with_ghost = BlurBackground(1.0).render(Frame(freeze(rgb), 0))
    without = BlurBackground(1.0).render(Frame(freeze(rgb), 0, freeze(alpha)))
    beside = (slice(40, 80), slice(45, 58))
    assert with_ghost[beside][..., 0].mean() > 75
    assert np.abs(without[beside].astype(int) - 60).max() <= 2


def test_blur_of_a_picture_full_of_person_is_defined() -> None:
    frame = frame_at(0, alpha=freeze(np.full((48, 64), 255, np.uint8)))
    assert np.abs(BlurBackground(0.5).render(frame).astype(int) - 50).max() <= 1
