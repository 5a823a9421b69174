from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from livecomp.frame import U8Array
from livecomp.media.video import VideoReader
from tests.livecomp.clips import FPS, with_display_matrix, write_clip

SIZE = (160, 120)
FIELD_STEP = 9  # columns that the bar moves from one half picture to the next
X264 = {"x264opts": "interlaced=1", "preset": "ultrafast", "crf": "10"}


def bar(field: int, size_wh: tuple[int, int] = SIZE) -> U8Array:
    """A white bar at its place in half picture number `field`."""
    rgb = np.full((size_wh[1], size_wh[0], 3), 40, np.uint8)
    left = 4 + FIELD_STEP * field % (size_wh[0] - 24)
    rgb[:, left : left + 16] = 220
    return rgb


def woven(index: int) -> U8Array:
    """Two moments in one frame, the earlier in the lines 1, 3, 5 ..., as x264 takes them by default."""
    rgb = bar(2 * index + 1)
    rgb[1::2] = bar(2 * index)[1::2]
    return rgb


def comb(rgb: U8Array) -> float:
    """How much each line differs from the mean of its neighbours."""
    green = rgb[..., 1].astype(float)
    return float(np.abs(green[1:-1] - (green[:-2] + green[2:]) / 2).mean())


def read_all(path: Path) -> list[tuple[U8Array, int]]:
    reader = VideoReader(path).open()
    try:
        return list(iter(reader.read, None))
    finally:
        reader.close()


def interlaced_clip(path: Path, picture: Callable[[int], U8Array] = woven, frames: int = 6) -> Path:
    return write_clip(path, [picture(i) for i in range(frames)], options=X264)


def test_moving_edges_have_no_comb_and_stand_where_the_first_half_has_them(tmp_path: Path) -> None:
    path = interlaced_clip(tmp_path / "clip.mp4")
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).interlaced_frame
    assert comb(woven(2)) > 10
    pictures = read_all(path)
    for index, (rgb, _) in enumerate(pictures):
        assert comb(rgb) < 1
        assert np.abs(rgb.astype(int) - bar(2 * index)).mean() < 3


def test_no_frame_is_lost_and_times_stay(tmp_path: Path) -> None:
    pictures = read_all(interlaced_clip(tmp_path / "clip.mp4"))
    assert [pts_ns for _, pts_ns in pictures] == [i * 1_000_000_000 // FPS for i in range(6)]


def test_fine_detail_that_stands_still_is_kept(tmp_path: Path) -> None:
    stripes = np.repeat(np.where(np.arange(SIZE[1]) % 4 < 2, 60, 200).astype(np.uint8), SIZE[0] * 3)
    picture = stripes.reshape(SIZE[1], SIZE[0], 3)
    rgb = read_all(interlaced_clip(tmp_path / "clip.mp4", lambda _: picture))[3][0]
    assert np.abs(rgb.astype(int) - picture)[4:-4].mean() < 4


def test_a_file_starts_again_with_the_same_picture(tmp_path: Path) -> None:
    reader = VideoReader(interlaced_clip(tmp_path / "clip.mp4")).open()
    first, _ = reader.read() or pytest.fail("no picture")
    while reader.read() is not None:
        pass
    reader.rewind()
    again, pts_ns = reader.read() or pytest.fail("no picture")
    assert np.array_equal(first, again)
    assert pts_ns == 0
    reader.close()


def test_progressive_video_passes_untouched(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", [woven(i) for i in range(6)], options={"crf": "10"})
    assert all(comb(rgb) > 8 for rgb, _ in read_all(path))


def test_interlaced_part_behind_a_progressive_one_of_another_size(tmp_path: Path) -> None:
    plain = write_clip(tmp_path / "plain.ts", [bar(0, (128, 96))] * 3, codec="mpeg2video")
    fields = {"flags": "+ilme+ildct", "b": "4M"}
    part = write_clip(tmp_path / "part.ts", [woven(i) for i in range(6)], codec="mpeg2video", options=fields)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(plain.read_bytes() + part.read_bytes() + plain.read_bytes())
    with av.open(str(joined)) as container:
        decoded = [(frame.width, frame.interlaced_frame) for frame in container.decode(video=0)]
    assert {(128, False), (160, True)} == set(decoded)
    pictures = read_all(joined)
    assert [rgb.shape for rgb, _ in pictures] == [(96, 128, 3)] * len(decoded)
    assert max(comb(rgb) for rgb, _ in pictures) < 3


def test_smaller_than_the_filter_takes(tmp_path: Path) -> None:
    tiny = np.zeros((2, 2, 3), np.uint8)
    path = write_clip(tmp_path / "tiny.mkv", [tiny] * 3, codec="ffv1", pix_fmt="bgr0")
    assert len(read_all(path)) == 3


def test_turned_video_stays_turned(tmp_path: Path) -> None:
    path = with_display_matrix(interlaced_clip(tmp_path / "clip.mp4"), tmp_path / "turned.mp4", (0, 1, -1, 0))
    pictures = read_all(path)
    assert {rgb.shape for rgb, _ in pictures} == {(SIZE[0], SIZE[1], 3)}
    assert max(comb(rgb.transpose(1, 0, 2)) for rgb, _ in pictures) < 1
