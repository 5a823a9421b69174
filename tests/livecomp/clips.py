"""Small videos made for tests."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from livecomp.frame import Composite, U8Array, freeze

FPS = 25
SOUND_RATE = 48_000

# Kr and Kb of ITU-R BT.601, BT.709 and BT.2020 by the number that a file states for the matrix.
LUMA = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}


def corner_picture(size_wh: tuple[int, int] = (64, 48)) -> U8Array:
    """Grey with a red top left and a green top right corner."""
    width, height = size_wh
    rgb = np.full((height, width, 3), 90, np.uint8)
    rgb[: height // 3, : width // 3] = (250, 10, 10)
    rgb[: height // 3, -(width // 3) :] = (10, 250, 10)
    return rgb


def numbered_picture(index: int, size_wh: tuple[int, int] = (64, 48)) -> U8Array:
    """Grey whose level tells the number, up to 50: see `number_of`."""
    return np.full((size_wh[1], size_wh[0], 3), 5 * index, np.uint8)


def number_of(rgb: U8Array) -> int:
    """The number of a `numbered_picture`, which survives an encoder."""
    return round(float(rgb.mean()) / 5)


def composite(index: int, size_wh: tuple[int, int] = (64, 48), fps: Fraction = Fraction(FPS)) -> Composite:
    """A numbered composite at its time."""
    return Composite(freeze(numbered_picture(index, size_wh)), round(index * 1_000_000_000 / fps))


def write_clip(
    path: Path,
    pictures: Sequence[U8Array],
    *,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    times: Sequence[int] | None = None,
    time_base: Fraction = Fraction(1, FPS),
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    color: dict[str, int] | None = None,
) -> Path:
    """Encode pictures, BT.601 limited as swscale's default unless `color` says so; `times` are in `time_base`."""
    with av.open(str(path), "w", container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=FPS, options=options or {})
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = time_base
        for name, value in (color or {}).items():
            setattr(stream.codec_context, name, value)
        for index, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = times[index] if times else index, time_base
            for name, value in (color or {}).items():
                setattr(frame, name, value)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def write_animation(path: Path, levels: Sequence[int], ms: int = 40) -> Path:
    """A GIF, PNG or WebP of grey pictures, 64x48, each shown for so many milliseconds."""
    animation = cv2.Animation()
    animation.frames = [np.full((48, 64, 4), (level, level, level, 255), np.uint8) for level in levels]
    animation.durations = [ms] * len(levels)
    assert cv2.imwriteanimation(str(path), animation)
    return path


def write_planes(path: Path, patches: Sequence[tuple[int, int, int]], *, matrix: int, full: bool, tagged: bool,
                 pix_fmt: str = "yuv444p", height: int = 64, color: dict[str, int] | None = None) -> Path:  # fmt: skip
    """A lossless clip of one picture with 32-pixel-wide patches of these RGB colours, by the formulas of the ITU."""
    width = 32 * len(patches)
    bits = 10 if "10" in pix_fmt else 8
    step = 2 if "420" in pix_fmt else 1
    planes = [np.zeros((height, width)) for _ in range(3)]
    for index, rgb in enumerate(patches):
        for plane, value in zip(planes, yuv_from_rgb(rgb, matrix, full, bits), strict=True):
            plane[:, 32 * index : 32 * (index + 1)] = value
    tags = (color or {}) | ({"colorspace": matrix, "color_range": 2 if full else 1} if tagged else {})
    frame = av.VideoFrame(width, height, pix_fmt)
    frame.pts, frame.time_base = 0, Fraction(1, FPS)
    for plane, values, skip in zip(frame.planes, planes, (1, step, step), strict=True):
        dtype = np.uint8 if bits == 8 else np.uint16
        rows = np.zeros((plane.height, plane.line_size // dtype().itemsize), dtype)
        kept = np.round(values[::skip, ::skip]).clip(0, 2**bits - 1)
        rows[:, : kept.shape[1]] = kept
        plane.update(rows.tobytes())
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = width, height, pix_fmt
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
            setattr(frame, name, value)
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def yuv_from_rgb(rgb: tuple[int, int, int], matrix: int, full: bool, bits: int = 8) -> tuple[float, float, float]:
    """Y, Cb, Cr code values, unrounded."""
    kr, kb = LUMA[matrix]
    red, green, blue = (value / 255 for value in rgb)
    luma = kr * red + (1 - kr - kb) * green + kb * blue
    cb, cr = (blue - luma) / 2 / (1 - kb), (red - luma) / 2 / (1 - kr)
    scale = 2 ** (bits - 8)
    if full:
        return luma * (2**bits - 1), cb * (2**bits - 1) + 128 * scale, cr * (2**bits - 1) + 128 * scale
    return (luma * 219 + 16) * scale, (cb * 224 + 128) * scale, (cr * 224 + 128) * scale


def with_display_matrix(path: Path, out: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Copy an MP4 with another a, b, c, d in its track's display matrix."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 44
    a, b, c, d = (value * 0x10000 for value in matrix)
    data[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    out.write_bytes(data)
    return out


def with_edit(path: Path, out: Path, *, skip_frames: int, keep_frames: int) -> Path:
    """Copy an MP4 whose edit list plays only `keep_frames` frames after the first `skip_frames`."""
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        ticks = int(1 / FPS / stream.time_base)
    place = data.index(b"elst") + 4 + 4 + 4
    _, media_time = struct.unpack(">Ii", data[place : place + 8])
    data[place : place + 8] = struct.pack(">Ii", keep_frames * 1000 // FPS, media_time + skip_frames * ticks)
    out.write_bytes(data)
    return out


def beep_and_flash(
    path: Path,
    *,
    seconds: int = 2,
    at_s: float = 1.0,
    sound_codec: str = "aac",
    sound_rate: int = SOUND_RATE,
    codec: str = "libx264",
    size_wh: tuple[int, int] = (64, 48),
    subtitles: Path | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    """Black and silent, but white and loud for 0.2 s from `at_s` on."""
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=FPS, options=options or {})
        video.width, video.height, video.pix_fmt = *size_wh, "yuv420p"
        sound = container.add_stream(sound_codec, rate=sound_rate, layout="mono")
        sound.metadata["language"] = "deu"
        texts = av.open(str(subtitles)) if subtitles else None
        text = container.add_stream_from_template(texts.streams.subtitles[0]) if texts else None
        container.metadata["title"] = "beep and flash"
        container.set_chapters(
            [{"id": 1, "start": 0, "end": 1000, "time_base": Fraction(1, 1000), "metadata": {"title": "first"}}]
        )
        for index in range(seconds * FPS):
            on = at_s <= index / FPS < at_s + 0.2
            frame = av.VideoFrame.from_ndarray(np.full((size_wh[1], size_wh[0], 3), 255 * on, np.uint8), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(video.encode(frame))
        time = np.arange(seconds * sound_rate) / sound_rate
        tone = 0.5 * np.sin(2 * np.pi * 1000 * time) * ((time >= at_s) & (time < at_s + 0.2))
        context = sound.codec_context
        container.start_encoding()
        block = context.frame_size or 1024
        resampler = av.AudioResampler(context.format, "mono", sound_rate)
        for start in range(0, len(tone), block):
            piece = av.AudioFrame.from_ndarray(tone[None, start : start + block].astype(np.float32), "fltp", "mono")
            piece.pts, piece.sample_rate, piece.time_base = start, sound_rate, Fraction(1, sound_rate)
            for converted in resampler.resample(piece):
                container.mux(sound.encode(converted))
        container.mux(sound.encode(None))
        if texts is not None and text is not None:
            for packet in texts.demux():
                if packet.dts is not None:
                    packet.stream = text
                    container.mux(packet)
        container.mux(video.encode())
        if texts is not None:
            texts.close()
    return path


def later(path: Path, out: Path, *, seconds: int, only: str | None = None) -> Path:
    """Copy a file without B-frames, with so much later times, of `only` one type of stream if it is given."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        kept = [stream for stream in source.streams if stream.type != "data"]  # MP4 has chapters twice
        streams = {stream.index: target.add_stream_from_template(stream) for stream in kept}
        chapters = source.chapters()
        for chapter in chapters:
            chapter["start"] += round(seconds / Fraction(chapter["time_base"]))
            chapter["end"] += round(seconds / Fraction(chapter["time_base"]))
        target.set_chapters(chapters)
        for packet in source.demux(kept):
            if packet.dts is not None:
                ticks = round(seconds / packet.time_base) if only in (None, packet.stream.type) else 0
                packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return out


def from_second_key_frame(path: Path, out: Path) -> Path:
    """Copy a file without what is stored before its second key frame."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        keys = 0
        for packet in source.demux():
            keys += packet.stream.type == "video" and packet.is_keyframe
            if packet.dts is not None and keys > 1:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return out


def flash_time(path: Path) -> float:
    """When the picture turns white, in seconds."""
    with av.open(str(path)) as container:
        return next(
            float(frame.time) for frame in container.decode(video=0) if frame.to_ndarray(format="gray").mean() > 127
        )


def beep_time(path: Path) -> float:
    """When the sound sets in, in seconds."""
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            samples: NDArray[np.generic] = frame.to_ndarray()
            level = np.abs(samples.astype(np.float64)).max(axis=0) / (32768 if samples.dtype == np.int16 else 1)
            if level.max() > 0.1:
                return float(frame.time) + int(np.argmax(level > 0.1)) / frame.sample_rate
    raise AssertionError("no sound at all")


Decoder = Callable[[Path], list[tuple[U8Array, float]]]


def decode(path: Path) -> list[tuple[U8Array, float]]:
    """All pictures of a BT.709 clip as RGB, with times in seconds, by PyAV alone."""
    with av.open(str(path)) as container:
        return [
            (frame.to_ndarray(format="rgb24", src_colorspace=1, dst_colorspace=1), float(frame.time))
            for frame in container.decode(video=0)
        ]
