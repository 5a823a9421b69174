"""Read videos as full-range 8-bit sRGB pictures with their times."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
import cv2
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace, ColorTrc, VideoReformatter

from livecomp.errors import InputError
from livecomp.frame import U8Array, freeze

__all__ = ["VIDEO_SUFFIXES", "VideoInfo", "VideoReader"]

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
"""File name endings, lower case, of the usual containers; reading is not limited to them."""

_HDR = {int(ColorTrc.SMPTE2084): "PQ (HDR10)", int(ColorTrc.ARIB_STD_B67): "HLG"}

# AVColorSpace as a file states it, to the matrix that swscale takes. RGB (0) has no matrix.
_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.SMPTE170M,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
_HD_HEIGHT = 720
_TURNS = {90: cv2.ROTATE_90_COUNTERCLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_CLOCKWISE}


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """Facts about an open video; sizes are those after rotation.

    Args:
        size_wh: Width and height in pixels.
        fps: Average frames per second.
        time_base: Unit of its timestamps in seconds.
        frame_count: Frames, as the container says or as duration and rate suggest; None when unknown.
        sample_aspect_ratio: Width to height of a pixel.
    """

    size_wh: tuple[int, int]
    fps: Fraction
    time_base: Fraction
    frame_count: int | None
    sample_aspect_ratio: Fraction


class VideoReader:
    """Decodes the first video stream of a file.

    Rotation by quarter turns is applied. Where a file does not state its matrix, BT.709 is taken from 720 lines on and
    BT.601 below, as players do; where it does not state its range, limited range, but full for JPEG-style formats.
    Deeper pictures are reduced to 8 bits, and wide-gamut BT.2020 ones keep their primaries; high dynamic range is
    refused, since it has no meaning without tone mapping.

    Args:
        path: Any file that FFmpeg can read.
        threads: Decoding threads.
    """

    def __init__(self, path: str | Path, *, threads: int = 2) -> None:
        self._path = Path(path)
        self._threads = threads
        self._container: InputContainer | None = None
        self._frames: Iterator[VideoFrame] = iter(())
        self._reformatter = VideoReformatter()
        self._info: VideoInfo | None = None
        self._first: VideoFrame | None = None
        self._decoded = 0
        self._packets = 0
        self._last_ns = -1

    @property
    def info(self) -> VideoInfo:
        """Facts about the video; it must be open."""
        if self._info is None:
            raise InputError(f"{self._path} is not open")
        return self._info

    def open(self) -> Self:
        """Open the file and decode its first frame.

        Raises:
            InputError: It is missing, empty or damaged, holds no video, or is tagged as high dynamic range.
        """
        if self._path.is_dir():
            raise InputError(f"{self._path} is a folder, not a video")
        try:
            if self._path.stat().st_size == 0:
                raise InputError(f"{self._path} is empty")
            container = av.open(str(self._path))
        except av.error.FFmpegError as error:
            raise InputError(f"{self._path} cannot be read as a video: {error.strerror}") from error
        except OSError as error:
            raise InputError(f"cannot read {self._path}: {error.strerror}") from error
        self._container = container
        try:
            self._start(container)
        except BaseException:
            self.close()
            raise
        return self

    def _start(self, container: InputContainer) -> None:
        if not container.streams.video:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise InputError(f"{self._path} has no video stream; it holds {kinds}")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = self._threads
        self._frames = self._decode(container)
        self._first = next(self._frames, None)
        if self._first is None:
            raise InputError(f"{self._path} has a video stream without a single frame")
        hdr = _HDR.get(int(self._first.color_trc))
        if hdr:
            raise InputError(
                f"{self._path} is tagged as {hdr} high dynamic range, which needs tone mapping; convert it to SDR first"
            )
        width, height = self._first.width, self._first.height
        aspect = Fraction(stream.sample_aspect_ratio or 1) or Fraction(1)
        if self._first.rotation % 180:
            width, height, aspect = height, width, 1 / aspect
        fps = Fraction(stream.average_rate or stream.guessed_rate or 30)
        time_base = Fraction(stream.time_base or Fraction(1, 1000))
        count = stream.frames or None
        if count is None and (stream.duration or container.duration):
            seconds = stream.duration * time_base if stream.duration else Fraction(container.duration or 0, av.time_base)
            count = max(1, round(seconds * fps))
        self._info = VideoInfo((width, height), fps, time_base, count, aspect)

    def _decode(self, container: InputContainer) -> Iterator[VideoFrame]:
        stream = container.streams.video[0]
        try:
            for packet in container.demux(stream):
                self._packets += packet.size > 0
                for frame in packet.decode():
                    if isinstance(frame, VideoFrame):
                        yield frame
        except av.error.FFmpegError as error:
            raise InputError(f"{self._path} is damaged after {self._decoded} frames: {error.strerror}") from error
        if self._packets < stream.frames:
            raise InputError(f"{self._path} is truncated: it ends after {self._decoded} of {stream.frames} frames")

    def read(self) -> tuple[U8Array, int] | None:
        """The next picture and its time, or None at the end.

        Returns:
            (H, W, 3) uint8 sRGB in full range, read-only, and its presentation time in nanoseconds, strictly
            increasing: a missing, repeated or backward time becomes the one before plus a frame's duration or 1 µs.

        Raises:
            InputError: The file is damaged or truncated; the message says how many frames were good.
        """
        frame, self._first = self._first or next(self._frames, None), None
        if frame is None:
            return None
        info = self.info
        if frame.pts is None:
            pts_ns = self._last_ns + round(1_000_000_000 / info.fps) if self._decoded else 0
        else:
            pts_ns = round(frame.pts * Fraction(frame.time_base or info.time_base) * 1_000_000_000)
        if self._decoded and pts_ns <= self._last_ns:
            log.debug("%s: time %d ns after %d ns at frame %d", self._path, pts_ns, self._last_ns, self._decoded)
            pts_ns = self._last_ns + 1_000
        self._last_ns = pts_ns
        self._decoded += 1
        return self._rgb(frame), pts_ns

    def rewind(self) -> None:
        """Start again at the first frame; times start again too.

        Raises:
            InputError: The file cannot be opened again.
        """
        self.close()
        self.open()

    def _rgb(self, frame: VideoFrame) -> U8Array:
        matrix = _MATRICES.get(int(frame.colorspace))
        if matrix is None:
            matrix = Colorspace.ITU709 if frame.height >= _HD_HEIGHT else Colorspace.ITU601
        full = frame.color_range == ColorRange.JPEG or frame.format.name.startswith("yuvj")
        upright = frame.rotation % 180 == 0
        width, height = self.info.size_wh if upright else self.info.size_wh[::-1]
        converted = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        rgb = np.ascontiguousarray(converted.to_ndarray(), np.uint8)
        turn = _TURNS.get(frame.rotation % 360)
        if turn is not None:
            rgb = np.asarray(cv2.rotate(rgb, turn), np.uint8)
        return freeze(rgb)

    def close(self) -> None:
        """Release the file; harmless when repeated."""
        if self._container is not None:
            self._container.close()
        self._container = None
        self._frames = iter(())
        self._first = None
        self._decoded = self._packets = 0
        self._last_ns = -1
