from __future__ import annotations

import gc
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from livecomp.errors import InputError
from livecomp.frame import U8Array
from livecomp.media.video import VideoReader
from tests.livecomp.clips import (
    FPS,
    SOUND_RATE,
    beep_and_flash,
    corner_picture,
    number_of,
    numbered_picture,
    with_display_matrix,
    with_edit,
    write_clip,
    write_planes,
)

PATCHES = [
    (255, 255, 255),
    (0, 0, 0),
    (128, 128, 128),
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (200, 150, 120),
    (20, 60, 90),
]
FASTSTART = {"movflags": "+faststart"}
RED, GREEN = (250, 10, 10), (10, 250, 10)


def read_all(path: Path) -> list[tuple[U8Array, int]]:
    reader = VideoReader(path).open()
    try:
        pictures = []
        while (picture := reader.read()) is not None:
            pictures.append(picture)
        return pictures
    finally:
        reader.close()


def first_picture(path: Path) -> U8Array:
    reader = VideoReader(path).open()
    try:
        picture = reader.read()
        assert picture is not None
        return picture[0]
    finally:
        reader.close()


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(
        tmp_path / "clip.mp4", [numbered_picture(index) for index in range(30)], container_options=FASTSTART
    )


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p", "yuv420p10le"])
@pytest.mark.parametrize("full", [False, True], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", [1, 5, 9], ids=["709", "601", "2020"])
def test_stated_matrix_and_range_are_honoured(tmp_path: Path, matrix: int, full: bool, pix_fmt: str) -> None:
    path = write_planes(tmp_path / "patches.mkv", PATCHES, matrix=matrix, full=full, tagged=True, pix_fmt=pix_fmt)
    rgb = first_picture(path)
    shown = rgb[rgb.shape[0] // 2, 16::32].astype(int)
    assert np.abs(shown - np.array(PATCHES)).max() <= 3


@pytest.mark.parametrize(("height", "matrix"), [(576, 5), (720, 1)])
def test_unstated_matrix_is_601_below_720_lines_and_709_from_there_on(tmp_path: Path, height: int, matrix: int) -> None:
    path = write_planes(tmp_path / "patches.mkv", PATCHES, matrix=matrix, full=False, tagged=False, height=height)
    shown = first_picture(path)[height // 2, 16::32].astype(int)
    assert np.abs(shown - np.array(PATCHES)).max() <= 3


@pytest.mark.parametrize(
    ("codec", "pix_fmt", "suffix", "options"),
    [
        ("libx264rgb", "rgb24", ".mkv", {"qp": "0"}),
        ("ffv1", "gbrp10le", ".mkv", {}),
        ("png", "rgba", ".mov", {}),
        ("rawvideo", "yuyv422", ".avi", {}),
        ("mjpeg", "yuvj444p", ".avi", {"q": "1"}),
    ],
)
def test_other_pixel_formats_are_shown_as_they_are_meant(
    tmp_path: Path, codec: str, pix_fmt: str, suffix: str, options: dict[str, str]
) -> None:
    path = write_clip(tmp_path / f"clip{suffix}", [corner_picture()] * 2, codec=codec, pix_fmt=pix_fmt, options=options)
    rgb = first_picture(path).astype(int)
    assert np.abs(rgb[4, 4] - RED).max() <= 5
    assert np.abs(rgb[4, -5] - GREEN).max() <= 5
    assert np.abs(rgb[-5, 4] - 90).max() <= 5


@pytest.mark.parametrize(
    ("matrix", "corners", "size_wh"),
    [
        ((1, 0, 0, 1), {"red": (0, 0), "green": (0, -1)}, (64, 48)),
        ((0, 1, -1, 0), {"red": (0, -1), "green": (-1, -1)}, (48, 64)),  # a quarter turn clockwise, phones held upright
        ((-1, 0, 0, -1), {"red": (-1, -1), "green": (-1, 0)}, (64, 48)),
        ((0, -1, 1, 0), {"red": (-1, 0), "green": (0, 0)}, (48, 64)),
        ((-1, 0, 0, 1), {"red": (0, -1), "green": (0, 0)}, (64, 48)),  # mirrored, as selfies are
        ((1, 0, 0, -1), {"red": (-1, 0), "green": (-1, -1)}, (64, 48)),
        ((0, 1, 1, 0), {"red": (0, 0), "green": (-1, 0)}, (48, 64)),
    ],
)
def test_display_matrix_is_applied(
    tmp_path: Path, matrix: tuple[int, int, int, int], corners: dict[str, tuple[int, int]], size_wh: tuple[int, int]
) -> None:
    plain = write_clip(tmp_path / "plain.mp4", [corner_picture()] * 2)
    path = with_display_matrix(plain, tmp_path / "turned.mp4", matrix)
    rgb = first_picture(path)
    assert (rgb.shape[1], rgb.shape[0]) == size_wh
    red, green = rgb[corners["red"]].astype(int), rgb[corners["green"]].astype(int)
    assert red[0] > 200
    assert red[1] < 60
    assert green[1] > 200
    assert green[0] < 60
    assert rgb.flags.c_contiguous
    assert not rgb.flags.writeable


@pytest.mark.parametrize("size_wh", [(65, 47), (17, 33), (1, 1), (3, 2)])
def test_odd_sizes(tmp_path: Path, size_wh: tuple[int, int]) -> None:
    path = write_clip(tmp_path / "odd.mkv", [np.full((size_wh[1], size_wh[0], 3), 120, np.uint8)] * 3, codec="ffv1")
    pictures = read_all(path)
    assert [rgb.shape for rgb, _ in pictures] == [(size_wh[1], size_wh[0], 3)] * 3
    assert all(np.abs(rgb.astype(int) - 120).max() <= 3 for rgb, _ in pictures)


def test_variable_frame_rate_keeps_every_time(tmp_path: Path) -> None:
    times = [0, 33, 70, 71, 300, 1000]
    path = write_clip(
        tmp_path / "vfr.mkv", [numbered_picture(index) for index in range(6)], times=times, time_base=Fraction(1, 1000)
    )
    assert [pts_ns // 1_000_000 for _, pts_ns in read_all(path)] == times


def test_info_of_a_clip(clip: Path) -> None:
    reader = VideoReader(clip).open()
    assert reader.info.size_wh == (64, 48)
    assert reader.info.fps == FPS
    assert reader.info.frame_count == 30
    assert reader.info.sample_aspect_ratio == 1
    reader.close()


def test_times_that_repeat_or_jump_back_still_increase(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = VideoReader(clip).open()
    scripted = [0, 40, 40, 30, 80, None, 160, 5000, 0, 40]  # ms; None is a missing time
    frames = []
    for time_ms in scripted:
        frame = av.VideoFrame(64, 48, "yuv420p")
        frame.pts, frame.time_base = time_ms, Fraction(1, 1000)
        frames.append(frame)
    monkeypatch.setattr(reader, "_frames", iter(frames[1:]))
    monkeypatch.setattr(reader, "_first", frames[0])
    times = [reader.advance()[1] for _ in scripted]  # type: ignore[index]
    reader.close()
    ms = 1_000_000
    expected = [
        0,
        40 * ms,
        40 * ms + 1000,
        40 * ms + 2000,
        80 * ms,
        120 * ms,
        160 * ms,
        5000 * ms,
        5040 * ms,
        5080 * ms,
    ]
    assert times == expected


def test_rewind_gives_the_same_pictures_and_times_again(clip: Path) -> None:
    reader = VideoReader(clip).open()
    rounds = []
    for _ in range(3):
        seen = []
        while (picture := reader.read()) is not None:
            seen.append((number_of(picture[0]), picture[1]))
        rounds.append(seen)
        reader.rewind()
    reader.close()
    assert len(rounds[0]) == 30
    assert rounds[0] == rounds[1] == rounds[2]


def test_rewind_from_the_middle(clip: Path) -> None:
    reader = VideoReader(clip).open()
    for _ in range(7):
        reader.read()
    reader.rewind()
    picture = reader.read()
    reader.close()
    assert picture is not None
    assert (number_of(picture[0]), picture[1]) == (0, 0)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".mov", ".avi"])
@pytest.mark.parametrize("share", [0.5, 0.8, 0.93])
def test_truncated_file_gives_its_good_frames_and_then_an_error(tmp_path: Path, share: float, suffix: str) -> None:
    rng = np.random.default_rng(1)
    noise = [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(30)]
    options = FASTSTART if suffix in {".mp4", ".mov"} else {}
    codec = "ffv1" if suffix == ".avi" else "libx264"
    whole = write_clip(tmp_path / f"whole{suffix}", noise, codec=codec, container_options=options)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * share)])
    reader = VideoReader(cut).open()
    good = 0
    with pytest.raises(InputError, match=r"(truncated|damaged).* after (\d+)") as caught:  # noqa: PT012  # at the cut
        while reader.read() is not None:
            good += 1
    reader.close()
    assert f"after {good} " in str(caught.value)
    assert 0.3 * 30 < good < 30


@pytest.mark.parametrize("suffix", [".ts", ".m2ts", ".flv", ".wmv"])
def test_a_cut_stream_without_a_length_is_told_once(
    tmp_path: Path, suffix: str, caplog: pytest.LogCaptureFixture
) -> None:
    codec = {".flv": "flv1", ".wmv": "wmv2"}.get(suffix, "mpeg2video")
    whole = beep_and_flash(tmp_path / f"whole{suffix}", codec=codec, sound_codec="mp3", sound_rate=44_100)
    frames = len(read_all(whole))
    assert not caplog.messages
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(whole.read_bytes()[:-50])  # of the sound, which comes last
    reader = VideoReader(cut).open()
    for _ in range(2):
        while reader.read() is not None:
            pass
        reader.rewind()
    reader.close()
    assert [message.split(" is cut off")[1] for message in caplog.messages] == [f", and ends after {frames} frames"]


def test_a_clip_cut_by_one_frame_is_noticed(tmp_path: Path) -> None:
    whole = write_clip(
        tmp_path / "whole.mp4",
        [numbered_picture(index) for index in range(30)],
        codec="mpeg4",
        container_options=FASTSTART,
    )
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[:-10])
    assert len(read_all(whole)) == 30
    with pytest.raises(InputError, match="after 29 "):
        read_all(cut)


def test_a_complete_clip_whose_last_frame_has_no_duration_is_not_truncated(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.wmv", [numbered_picture(index) for index in range(30)], codec="wmv2")
    assert len(read_all(path)) == 30


def test_an_avi_whose_clock_is_finer_than_its_frame_rate_is_not_truncated(tmp_path: Path) -> None:
    ticks = range(0, 30 * 24, 24)
    pictures = [numbered_picture(index) for index in range(30)]
    path = write_clip(tmp_path / "clip.avi", pictures, codec="mpeg4", times=ticks, time_base=Fraction(1, 600))
    assert len(read_all(path)) == 30


def test_a_stream_copied_into_a_transport_stream_is_not_truncated(tmp_path: Path) -> None:
    ticks = 512
    clip = write_clip(
        tmp_path / "clip.mp4",
        [numbered_picture(index) for index in range(30)],
        times=[index * ticks for index in range(30)],
        time_base=Fraction(1, FPS * ticks),  # as `VideoSink` keeps that of a source: frames then tell no duration
    )
    copied = tmp_path / "copied.ts"
    with av.open(str(clip)) as source, av.open(str(copied), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    assert len(read_all(copied)) == 30


def test_a_matroska_file_whose_sound_goes_on_is_not_truncated(tmp_path: Path) -> None:
    path = tmp_path / "clip.mkv"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=FPS, options={"bf": "0"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=SOUND_RATE, layout="mono")
        for index in range(5):
            frame = av.VideoFrame.from_ndarray(numbered_picture(index), format="rgb24").reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        piece = av.AudioFrame.from_ndarray(np.zeros((1, SOUND_RATE // 2), np.int16), "s16", "mono")
        piece.pts, piece.sample_rate, piece.time_base = 0, SOUND_RATE, Fraction(1, SOUND_RATE)
        container.mux(sound.encode(piece))
        container.mux(sound.encode(None))
    assert len(read_all(path)) == 5
    reader = VideoReader(path).open()
    assert reader.info.frame_count == 5
    reader.close()


def test_damage_in_the_middle_is_survived_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    rng = np.random.default_rng(1)
    path = write_clip(tmp_path / "clip.ts", [rng.integers(0, 255, (96, 128, 3), np.uint8) for _ in range(30)])
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = bytes(value ^ 0x5A for value in data[middle : middle + 400])
    path.write_bytes(data)
    assert len(read_all(path)) >= 28
    assert "frames are damaged" in caplog.text


def test_a_file_cut_before_its_index_is_refused(tmp_path: Path, clip: Path) -> None:
    whole = write_clip(tmp_path / "index_last.mp4", [numbered_picture(index) for index in range(30)])
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(InputError, match="cannot be read as a video"):
        VideoReader(cut).open()


def test_a_trimmed_clip_with_an_edit_list_is_not_truncated(tmp_path: Path) -> None:
    plain = write_clip(
        tmp_path / "plain.mp4", [numbered_picture(index) for index in range(30)], options={"g": "1", "bf": "0"}
    )
    trimmed = with_edit(plain, tmp_path / "trimmed.mp4", skip_frames=4, keep_frames=10)
    assert [number_of(rgb) for rgb, _ in read_all(trimmed)] == list(range(4, 14))
    reader = VideoReader(trimmed).open()
    assert reader.info.frame_count == 10
    reader.close()


def test_missing_empty_and_foreign_files_each_say_what_they_are(tmp_path: Path) -> None:
    contents = {
        "empty.mp4": (b"", "is empty"),
        "noise.mp4": (np.random.default_rng(0).bytes(5000), "cannot be read as a video"),
        "notes.txt": (b"shopping list\n" * 50, "is a text file"),
    }
    for name, (content, reason) in contents.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=reason):
            VideoReader(tmp_path / name).open()
    with pytest.raises(InputError, match="No such file"):
        VideoReader(tmp_path / "missing.mp4").open()
    with pytest.raises(InputError, match="is a folder"):
        VideoReader(tmp_path).open()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_named(clip: Path) -> None:
    clip.chmod(0)
    with pytest.raises(InputError, match="Permission denied"):
        VideoReader(clip).open()


def test_a_codec_that_nobody_knows_is_named_as_the_reason(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mpg", [corner_picture()] * 5, codec="wmv2")  # MPEG-PS has no number for it
    with pytest.raises(InputError, match="cannot decode"):
        VideoReader(path).open()


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    both = beep_and_flash(tmp_path / "both.mp4")
    path = tmp_path / "sound.m4a"
    with av.open(str(both)) as source, av.open(str(path), "w", format="mp4") as target:
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    with pytest.raises(InputError, match="no video stream; it holds audio"):
        VideoReader(path).open()


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    both = beep_and_flash(tmp_path / "both.mp4")
    path = tmp_path / "song.mp4"
    with av.open(str(both)) as source, av.open(str(path), "w") as target:
        sound = target.add_stream_from_template(source.streams.audio[0])
        cover = target.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 48, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        target.start_encoding()
        picture = av.VideoFrame.from_ndarray(corner_picture(), format="rgb24").reformat(format="yuvj420p")
        target.mux(cover.encode(picture))
        target.mux(cover.encode())
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = sound
                target.mux(packet)
    with pytest.raises(InputError, match=r"no video stream; it holds audio, video \(a cover picture\)"):
        VideoReader(path).open()


@pytest.mark.parametrize("name", ["10:20 take.mp4", "concat:a|b.mp4", "take%03d.mp4", "-.mp4", "ünï çödé.mp4"])
def test_names_that_look_like_something_else(clip: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    clip.rename(clip.with_name(name))
    monkeypatch.chdir(clip.parent)
    assert len(read_all(Path(name))) == 30


def test_closing_twice_and_reading_a_closed_file(clip: Path) -> None:
    reader = VideoReader(clip)
    reader.close()
    reader.open()
    reader.close()
    reader.close()
    assert reader.read() is None


def test_a_picture_is_freed_as_soon_as_nobody_has_it(clip: Path) -> None:
    reader = VideoReader(clip).open()
    gc.collect()
    gc.disable()
    try:
        while reader.read() is not None:
            pass
        assert gc.collect() < 20  # three for each of 30 pictures would wait for the collector, and hold the picture
    finally:
        gc.enable()
        reader.close()
