from __future__ import annotations

import logging
from fractions import Fraction
from pathlib import Path

import av
import pytest

from livecomp.capture.video import VideoSource
from livecomp.frame import Composite
from livecomp.media.pyav import KEEP_METADATA
from livecomp.output.video import VideoSink
from tests.livecomp.clips import FPS, beep_and_flash, beep_time, flash_time, from_second_key_frame, later

SRT = "1\n00:00:00,200 --> 00:00:00,600\nHello <i>you</i>\n\n2\n00:00:00,900 --> 00:00:01,500\nTwo\nlines\n\n"


def pass_through(path: Path, out: Path) -> None:
    """Write the frames of a video as composites, as the pipeline does."""
    source = VideoSource(path)
    source.open()
    info = source.info
    sink = VideoSink(out, size_wh=info.size_wh, fps=info.fps, time_base=info.time_base, copy_from=info.path)
    sink.open()
    while (frame := source.read()) is not None:
        sink.write(Composite(frame.rgb, frame.pts_ns))
    sink.close()
    source.close()


@pytest.fixture
def subtitles(tmp_path: Path) -> Path:
    path = tmp_path / "texts.srt"
    path.write_text(SRT)
    return path


@pytest.mark.parametrize(
    ("source", "sound_codec", "codec", "target"),
    [
        (".mp4", "aac", "libx264", ".mp4"),
        (".mp4", "aac", "libx264", ".mkv"),
        (".mp4", "aac", "libx264", ".webm"),  # encoded anew as Opus
        (".mkv", "libopus", "libx264", ".mp4"),
        (".mkv", "flac", "libx264", ".mov"),  # likewise
        (".mkv", "libopus", "libx264", ".mov"),  # likewise
        (".mov", "pcm_s16le", "libx264", ".mp4"),  # encoded anew as AAC
        (".mov", "pcm_s16le", "libx264", ".mov"),
        (".ts", "aac", "libx264", ".mp4"),  # starts late, with both streams apart
        (".avi", "pcm_s16le", "mpeg4", ".mp4"),
        (".webm", "libopus", "libvpx-vp9", ".mp4"),
    ],
)
def test_sound_stays_in_sync(tmp_path: Path, source: str, sound_codec: str, codec: str, target: str) -> None:
    original = beep_and_flash(tmp_path / f"in{source}", sound_codec=sound_codec, codec=codec)
    out = tmp_path / f"out{target}"
    pass_through(original, out)
    before = beep_time(original) - flash_time(original)
    after = beep_time(out) - flash_time(out)
    assert abs(after - before) <= 0.5 / FPS
    assert abs(after) <= 1 / FPS
    with av.open(str(out)) as container:
        assert container.streams.video[0].frames in (0, 2 * FPS)
        assert float(container.duration) / av.time_base == pytest.approx(2.0, abs=0.15)


@pytest.mark.parametrize(("rate", "encoded"), [(192_000, 48_000), (37_800, 48_000), (44_100, 44_100)])
def test_sound_of_a_rate_that_the_encoder_does_not_know(tmp_path: Path, rate: int, encoded: int) -> None:
    original = beep_and_flash(tmp_path / "in.mov", sound_codec="pcm_s16le", sound_rate=rate)
    out = tmp_path / "out.mp4"
    pass_through(original, out)
    with av.open(str(out)) as container:
        assert container.streams.audio[0].rate == encoded
    assert abs(beep_time(out) - flash_time(out)) <= 1 / FPS


@pytest.mark.parametrize("source", [".ts", ".mkv"])
@pytest.mark.parametrize("target", [".mp4", ".mkv", ".mov", ".webm"])
def test_a_clock_that_starts_at_hours_starts_at_zero(tmp_path: Path, source: str, target: str) -> None:
    original = beep_and_flash(tmp_path / f"in{source}", codec="mpeg4")
    out = tmp_path / f"out{target}"
    pass_through(later(original, tmp_path / f"late{source}", seconds=80_000), out)
    before = beep_time(original) - flash_time(original)
    assert abs(beep_time(out) - flash_time(out) - before) <= 0.5 / FPS
    assert abs(flash_time(out) - 1) <= 1 / FPS
    with av.open(str(out)) as container:
        assert abs(container.start_time) / av.time_base <= 1 / FPS
        assert float(container.duration) / av.time_base == pytest.approx(2.0, abs=0.15)


def test_subtitles_and_chapters_follow_a_clock_that_starts_at_hours(tmp_path: Path, subtitles: Path) -> None:
    original = beep_and_flash(tmp_path / "in.mkv", codec="mpeg4", subtitles=subtitles)
    out = tmp_path / "out.mkv"
    pass_through(later(original, tmp_path / "late.mkv", seconds=80_000), out)
    with av.open(str(out)) as container:
        chapter = container.chapters()[0]
        assert (chapter["start"] * chapter["time_base"], chapter["end"] * chapter["time_base"]) == (0, 1)
        texts = [float(packet.pts * packet.time_base) for packet in container.demux(subtitles=0) if packet.size]
    assert texts == pytest.approx([0.2, 0.9], abs=0.03)


@pytest.mark.parametrize("source", [".mp4", ".mkv"])
@pytest.mark.parametrize("delayed", ["audio", "video"])
def test_a_stream_that_starts_later_than_the_other_stays_so(tmp_path: Path, source: str, delayed: str) -> None:
    original = beep_and_flash(tmp_path / f"in{source}", codec="mpeg4")
    held = later(original, tmp_path / f"late{source}", seconds=1, only=delayed)
    out = tmp_path / f"out{source}"
    pass_through(held, out)
    assert flash_time(out) == pytest.approx(flash_time(held), abs=0.002)
    assert beep_time(out) == pytest.approx(beep_time(held), abs=0.002)
    assert abs(beep_time(out) - flash_time(out)) == pytest.approx(1, abs=1 / FPS)


def test_sound_packets_are_copied_byte_by_byte(tmp_path: Path) -> None:
    original = beep_and_flash(tmp_path / "in.mp4")
    out = tmp_path / "out.mp4"
    pass_through(original, out)
    packets = []
    for path in (original, out):
        with av.open(str(path)) as container:
            stream = container.streams.audio[0]
            packets.append(
                [(bytes(packet), packet.pts * stream.time_base) for packet in container.demux(stream) if packet.size]
            )
    assert len(packets[0]) > 50
    assert packets[0] == packets[1]


def test_metadata_chapters_and_languages_are_kept_but_not_facts_about_the_old_file(tmp_path: Path) -> None:
    original = beep_and_flash(tmp_path / "in.mp4")
    out = tmp_path / "out.mkv"
    pass_through(original, out)
    with av.open(str(out)) as container:
        metadata = {key.lower(): value for key, value in container.metadata.items()}
        assert metadata["title"] == "beep and flash"
        assert "major_brand" not in metadata
        assert [chapter["metadata"]["title"] for chapter in container.chapters()] == ["first"]
        assert container.streams.audio[0].language == "deu"


@pytest.mark.parametrize("target", [".mkv", ".mp4"])
def test_titles_that_are_not_in_utf8_keep_their_bytes(tmp_path: Path, target: str) -> None:
    title = b"caf\xe9".decode(errors="surrogateescape")
    original, out = tmp_path / "in.mkv", tmp_path / f"out{target}"
    with (
        av.open(str(beep_and_flash(tmp_path / "clip.mkv"))) as clip,
        av.open(str(original), "w", **KEEP_METADATA) as container,
    ):
        container.metadata["title"] = title
        streams = {stream.index: container.add_stream_from_template(stream) for stream in clip.streams}
        streams[clip.streams.audio[0].index].metadata["title"] = title
        for packet in clip.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                container.mux(packet)
    pass_through(original, out)
    with av.open(str(out), **KEEP_METADATA) as container:
        assert container.metadata["title"] == title
    assert out.read_bytes().count(b"caf\xe9") == 2  # the file's and the sound's


@pytest.mark.parametrize("target", [".mkv", ".mov", ".mp4"])
def test_where_a_file_was_recorded_is_left_out(tmp_path: Path, target: str) -> None:
    original, out, place = tmp_path / "in.mkv", tmp_path / f"out{target}", "+48.1372+011.5756/"
    with av.open(str(beep_and_flash(tmp_path / "clip.mkv"))) as clip, av.open(str(original), "w") as container:
        container.metadata.update({"location": place, "com.apple.quicktime.location.ISO6709": place, "title": "talk"})
        stream = container.add_stream_from_template(clip.streams.video[0])
        for packet in clip.demux(clip.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    assert place.encode() in original.read_bytes()
    pass_through(original, out)
    with av.open(str(out)) as container:
        assert "talk" in container.metadata.values()
        assert not [value for value in container.metadata.values() if "48.1" in value]


@pytest.mark.parametrize(
    ("source", "target", "codec"),
    [
        (".mkv", ".mkv", "subrip"),
        (".mkv", ".mp4", "mov_text"),
        (".mkv", ".mov", "mov_text"),
        (".mkv", ".m4v", "mov_text"),
        (".mkv", ".webm", "webvtt"),
    ],
)
def test_subtitles_are_copied_or_rewritten(
    tmp_path: Path, subtitles: Path, source: str, target: str, codec: str, caplog: pytest.LogCaptureFixture
) -> None:
    original = beep_and_flash(tmp_path / f"in{source}", subtitles=subtitles)
    out = tmp_path / f"out{target}"
    with caplog.at_level(logging.WARNING):
        pass_through(original, out)
    with av.open(str(out)) as container:
        stream = container.streams.subtitles[0]
        assert stream.codec_context.name in (codec, "srt" if codec == "subrip" else codec)
        texts = [
            (round(float(packet.pts * packet.time_base), 2), bytes(packet))
            for packet in container.demux(stream)
            if packet.size > 2
        ]
    assert [time for time, _ in texts] == [0.2, 0.9]
    assert b"Hello" in texts[0][1]
    assert b"Two" in texts[1][1]
    assert ("encoded anew" in caplog.text) == (codec != "subrip" or target == ".webm")


def test_what_cannot_be_carried_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    original = beep_and_flash(tmp_path / "in.mkv")
    with_font = tmp_path / "font.mkv"
    with av.open(str(original)) as source, av.open(str(with_font), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        target.add_attachment("font.ttf", "application/x-truetype-font", b"font data")
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    with caplog.at_level(logging.WARNING):
        pass_through(with_font, tmp_path / "out.mp4")
    assert "its attachment stream is left out" in caplog.text


def test_without_sound_nothing_is_added(tmp_path: Path) -> None:
    original = beep_and_flash(tmp_path / "in.mp4")
    source = VideoSource(original)
    source.open()
    info = source.info
    sink = VideoSink(tmp_path / "out.mp4", size_wh=info.size_wh, fps=info.fps, time_base=Fraction(1, FPS))
    sink.open()
    frame = source.read()
    assert frame is not None
    sink.write(Composite(frame.rgb, frame.pts_ns))
    sink.close()
    source.close()
    with av.open(str(tmp_path / "out.mp4")) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize("target", [".mp4", ".mkv", ".webm"])
@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_sound_stays_in_sync_behind_a_jump_back(tmp_path: Path, codec: str, target: str) -> None:
    silent = beep_and_flash(tmp_path / "silent.ts", codec=codec, at_s=9.0)
    loud = beep_and_flash(tmp_path / "loud.ts", codec=codec)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(2 * silent.read_bytes() + loud.read_bytes())
    out = tmp_path / f"out{target}"
    pass_through(joined, out)
    before = beep_time(loud) - flash_time(loud)
    assert abs(beep_time(out) - flash_time(out) - before) <= 0.5 / FPS
    assert abs(flash_time(out) - 5) <= 1 / FPS
    with av.open(str(out)) as container:
        assert len(list(container.decode(video=0))) == 6 * FPS
    with av.open(str(out)) as container:
        samples = sum(frame.samples / frame.sample_rate for frame in container.decode(audio=0))
    assert samples == pytest.approx(6, abs=0.2)


@pytest.mark.parametrize("target", [".mp4", ".webm"])
def test_pictures_that_a_decoder_leaves_out_at_a_joint_do_not_part_sound_and_video(tmp_path: Path, target: str) -> None:
    options = {"x264-params": "open-gop=1:keyint=20:bframes=3:b-adapt=0:scenecut=0"}
    silent = beep_and_flash(tmp_path / "silent.ts", seconds=4, at_s=9.0, options=options)
    whole = beep_and_flash(tmp_path / "whole.ts", seconds=4, at_s=3.0, options=options)
    cut = from_second_key_frame(whole, tmp_path / "cut.ts")
    joined = tmp_path / "joined.ts"
    joined.write_bytes(silent.read_bytes() + cut.read_bytes())
    out = tmp_path / f"out{target}"
    pass_through(joined, out)
    assert abs(beep_time(out) - flash_time(out) - (beep_time(whole) - flash_time(whole))) <= 0.5 / FPS
