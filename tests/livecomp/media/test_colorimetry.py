from __future__ import annotations

import logging
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.filter import Graph
from numpy.typing import NDArray

from livecomp.errors import InputError
from livecomp.frame import U8Array
from livecomp.media.colorimetry import SrgbMapper, needs_mapping, srgb_cube
from livecomp.media.video import VideoReader
from tests.livecomp.clips import with_display_matrix, write_clip, write_planes

SRGB, PQ, HLG = 13, 16, 18
BT709, BT2020, P3 = 1, 9, 12


def shades(count: int = 24, most: int = 65535) -> NDArray[np.uint16]:
    """Smooth colours, (24, 24 * 24, 3)."""
    steps = np.linspace(0, most, count)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(count, -1, 3).astype(np.uint16)


def mapped(rgb: NDArray[np.uint16], transfer: int, primaries: int) -> U8Array:
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb48le")
    return np.asarray(SrgbMapper(transfer, primaries).map(frame).to_ndarray(), np.uint8)


def grey(code: float, transfer: int) -> float:
    return float(mapped(np.full((8, 8, 3), round(65535 * code), np.uint16), transfer, BT2020)[4, 4].mean())


def by_ffmpeg(rgb: NDArray[np.uint16], transfer: int, primaries: int) -> U8Array:
    """What FFmpeg's scaler makes of a display's colours in sRGB, clipped at 203 cd/m²."""
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb48le")
    frame.color_trc, frame.color_primaries, frame.color_range = transfer, primaries, 2
    graph = Graph()
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 30))
    options = {"out_primaries": "bt709", "out_transfer": "iec61966-2-1", "intent": "relative_colorimetric"}
    graph.link_nodes(source, graph.add("scale", **options), graph.add("format", "rgb24"), graph.add("buffersink"))
    graph.configure()
    graph.push(frame)
    return np.asarray(graph.pull().to_ndarray(), np.uint8)


def test_light_up_to_the_knee_is_what_the_reports_of_the_itu_say() -> None:
    assert grey(0.38, HLG) == pytest.approx(grey(0.38, PQ), abs=1.5)  # 18 % grey, 26 cd/m²: BT.2408, table 1
    assert grey(0.38, HLG) == pytest.approx(255 * (1.055 * (26 / 203) ** (1 / 2.4) - 0.055), abs=1.5)
    assert grey(0.75, HLG) == pytest.approx(grey(0.58, PQ), abs=1.5)  # a white sheet of paper, 203 cd/m²
    assert 215 < grey(0.75, HLG) < 240
    for transfer, peak in ((HLG, 1.0), (PQ, 0.7518)):
        assert grey(0, transfer) == 0
        assert grey(peak, transfer) >= 254
    assert grey(1, PQ) >= 254  # 10,000 cd/m²


@pytest.mark.parametrize("transfer", [PQ, HLG])
def test_greys_stay_grey_and_in_order(transfer: int) -> None:
    ramp = np.repeat(np.linspace(0, 65535, 1024).astype(np.uint16)[None, :, None], 3, 2).repeat(4, 0)
    shown = mapped(ramp, transfer, BT2020)[2].astype(int)
    assert np.abs(shown - shown[:, :1]).max() <= 1
    assert (np.diff(shown[:, 1]) >= 0).all()
    assert np.diff(shown[:, 1]).max() <= 2  # no steps in a sky


@pytest.mark.parametrize(
    ("transfer", "primaries", "most"),
    [(SRGB, P3, 65535), (SRGB, BT2020, 65535), (HLG, BT2020, 28000), (PQ, BT2020, 32000)],
)
def test_it_agrees_with_ffmpeg_where_nothing_is_compressed(transfer: int, primaries: int, most: int) -> None:
    rgb = shades(most=most)
    ours, theirs = (f(rgb, transfer, primaries).astype(int) for f in (mapped, by_ffmpeg))
    inside = (theirs > 8).all(axis=2) & (theirs < 250).all(axis=2)  # colours outside sRGB are clipped in another way
    assert inside.mean() > 0.1
    off = np.abs(ours - theirs)[inside]
    assert off.mean() < 1.5
    assert np.percentile(off, 99) <= 6


def test_hues_of_bright_colours_are_kept() -> None:
    cube = srgb_cube(HLG, P3)
    dim, bright = cube[20, 10, 10], cube[28, 14, 14]
    assert bright[0] > dim[0] + 0.1
    assert bright[0] > bright[1] + 0.3
    assert bright[1] == pytest.approx(bright[2], abs=0.1)


def test_a_red_of_display_p3_is_that_of_srgb() -> None:
    red = (np.array([[[0.9175, 0.2003, 0.1387]]]) * 65535).astype(np.uint16).repeat(8, 0).repeat(8, 1)
    assert np.abs(mapped(red, SRGB, P3)[4, 4].astype(int) - (255, 0, 0)).max() <= 8


@pytest.mark.parametrize("transfer", [1, 2, 6, SRGB])
@pytest.mark.parametrize("primaries", [1, 2, 5, 6])
def test_ordinary_videos_are_left_as_they_are(transfer: int, primaries: int) -> None:
    assert not needs_mapping(transfer, primaries)
    np.testing.assert_allclose(srgb_cube(transfer, primaries)[3, 20, 30], np.array([3, 20, 30]) / 32, atol=1e-6)


def test_without_primaries_high_dynamic_range_is_of_bt2020() -> None:
    np.testing.assert_array_equal(srgb_cube(HLG, 2), srgb_cube(HLG, BT2020))


def test_without_a_place_for_its_table_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with pytest.raises(InputError, match=r"without a temporary file: .*No such file"):
        grey(0.5, HLG)


@pytest.mark.parametrize("pix_fmt", ["yuv444p10le", "yuv420p10le", "yuv420p"])
@pytest.mark.parametrize(("transfer", "name", "white"), [(PQ, "PQ", 0.58), (HLG, "HLG", 0.75)])
def test_a_video_of_high_dynamic_range_is_brought_into_srgb(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, transfer: int, name: str, white: float, pix_fmt: str
) -> None:
    patches = [(round(255 * code),) * 3 for code in (0.0, 0.38, white, 1.0)]
    color = {"color_trc": transfer, "color_primaries": BT2020}
    path = write_planes(
        tmp_path / "phone.mkv", patches, matrix=9, full=False, tagged=True, pix_fmt=pix_fmt, color=color
    )
    reader = VideoReader(path)
    with caplog.at_level(logging.WARNING):
        reader.open()
    assert f"phone.mkv has a high dynamic range ({name})" in caplog.text
    for _ in range(2):
        picture = reader.read()
        assert picture is not None
        rgb = picture[0]
        assert not rgb.flags.writeable
        assert np.abs(rgb[32, 16::32].astype(int) - np.array([[0], [100], [229], [255]])).max() <= 4
        reader.rewind()
    reader.close()
    assert caplog.text.count("high dynamic range") == 1


@pytest.mark.parametrize("color", [{"color_trc": HLG}, {"color_primaries": BT2020}])
def test_without_a_matrix_that_of_the_display_is_taken(tmp_path: Path, color: dict[str, int]) -> None:
    patches = [(190, 110, 80), (60, 150, 70), (50, 70, 180)]
    shown = []
    for tagged in (True, False):
        path = tmp_path / f"{tagged}.mkv"
        reader = VideoReader(write_planes(path, patches, matrix=9, full=False, tagged=tagged, color=color)).open()
        picture = reader.read()
        reader.close()
        assert picture is not None
        shown.append(picture[0])
    np.testing.assert_array_equal(*shown)


def test_a_wide_gamut_is_brought_into_srgb_upright(tmp_path: Path) -> None:
    picture = np.full((48, 64, 3), 90, np.uint8)
    picture[:24, :32] = (234, 51, 35)  # the red of sRGB in Display P3
    tagged = write_clip(
        tmp_path / "p3.mp4", [picture] * 2, pix_fmt="yuv444p", color={"color_primaries": P3, "color_trc": 1}
    )
    reader = VideoReader(with_display_matrix(tagged, tmp_path / "turned.mp4", (0, 1, -1, 0))).open()
    read = reader.read()
    reader.close()
    assert read is not None
    assert read[0].shape == (64, 48, 3)
    assert np.abs(read[0][8, -8].astype(int) - (255, 0, 0)).max() <= 12
    assert np.abs(read[0][-8, 8].astype(int) - 90).max() <= 3
