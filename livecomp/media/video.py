"""Read videos as full-range 8-bit sRGB pictures with their times."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Self

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from livecomp.errors import InputError
from livecomp.frame import U8Array
from livecomp.media.colorimetry import tell_of_hdr
from livecomp.media.convert import Orientation, RgbConverter
from livecomp.media.cut import is_cut_off
from livecomp.media.interlace import deinterlaced
from livecomp.media.parts import JUMP_S, VideoParts
from livecomp.media.pyav import KEEP_METADATA, fraction_of
from livecomp.paths import is_dir

__all__ = ["VIDEO_SUFFIXES", "VideoInfo", "VideoReader", "fps_of", "start_s_of", "url_from_path"]

log = logging.getLogger(__name__)

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".webm"})
"""File name endings, lower case, of the usual containers; reading is not limited to them."""

_TEXT_FORMATS = frozenset({"tty"})  # FFmpeg plays text files as terminal art
_PICTURE_BRANDS = {"avif": ".avif", "heic": ".heic", "heix": ".heic", "mif1": ".heic"}  # FFmpeg gives one tile of it

_AVI = "avi"
_LENGTH_FORMATS = frozenset({_AVI, "mov,mp4,m4a,3gp,3g2,mj2"})  # elsewhere FFmpeg guesses how long a stream is
_MATROSKA = "matroska,webm"

_LATE_FRAMES = 32  # more than decoders hold back, sorted as if there were no joint
_REPEATED_STEP_NS = 1_000
_JUMP_NS = round(JUMP_S * 1_000_000_000)


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
    """Decodes the first video stream of a file that is not a cover picture.

    Quarter turns and mirroring that the file asks for are applied, and interlaced pictures deinterlaced; see
    `RgbConverter` for colours. Pictures of another size than the first are scaled to it.

    Args:
        path: Any file that FFmpeg can read.
        threads: Decoding threads.
    """

    def __init__(self, path: str | Path, *, threads: int = 2) -> None:
        self._path = Path(path)
        self._threads = threads
        self._container: InputContainer | None = None
        self._stream: VideoStream | None = None
        self._frames: Iterator[VideoFrame] = iter(())
        self._converter = RgbConverter()
        self._info: VideoInfo | None = None
        self._first: VideoFrame | None = None
        self._first_pts: int | None = None
        self._decoded = 0
        self._packets = 0
        self._last_pts = 0
        self._longest_step = 0
        self._end_pts = 0
        self._damaged = 0
        self._last_ns = 0
        self._shift_ns = 0
        self._joint_until = 0
        self._is_end_seen = False

    @property
    def info(self) -> VideoInfo:
        """Facts about the video; it must be open."""
        if self._info is None:
            raise InputError(f"{self._path} is not open")
        return self._info

    def open(self) -> Self:
        """Open the file and decode its first frame.

        Raises:
            InputError: It is missing, empty or damaged, or holds no video.
        """
        self.close()
        if is_dir(self._path):
            raise InputError(f"{self._path} is a folder, not a video")
        try:
            if self._path.stat().st_size == 0:
                raise InputError(f"{self._path} is empty")
            container = av.open(url_from_path(self._path), **KEEP_METADATA)
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
        if container.format.name in _TEXT_FORMATS:
            raise InputError(f"{self._path} is a text file, not a video")
        if suffix := _PICTURE_BRANDS.get(container.metadata.get("major_brand", "").strip()):
            raise InputError(f"{self._path} is a picture, not a video; give it a name that ends with {suffix}")
        streams = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic]
        if not streams:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            cover = " (a cover picture)" if container.streams.video else ""
            raise InputError(f"{self._path} has no video stream; it holds {kinds}{cover}")
        stream = self._stream = streams[0]
        if stream.codec_context is None:
            raise InputError(f"{self._path} has a video stream of a codec that this FFmpeg cannot decode")
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = self._threads
        self._frames = deinterlaced(self._decode(container, stream), self._threads)
        first = self._first = next(self._frames, None)
        if first is None:
            raise InputError(f"{self._path} has a video stream without a single frame")
        self._first_pts = first.pts
        tell_of_hdr(self._path, int(first.color_trc))
        width, height = first.width, first.height
        aspect = fraction_of(stream.sample_aspect_ratio or 1)
        orientation = Orientation(first)
        self._converter = RgbConverter(orientation)
        if orientation.is_transposed:
            width, height, aspect = height, width, 1 / aspect
        fps = fps_of(stream)
        time_base = fraction_of(stream.time_base or Fraction(1, 1000))
        count = _frame_count(container, stream, fps)
        self._info = VideoInfo((width, height), fps, time_base, count, aspect)

    def _decode(self, container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
        parts = VideoParts(start_s_of(container), 1 / fps_of(stream))
        held: deque[tuple[Packet[VideoStream], int]] = deque()
        try:
            for packet in container.demux(stream):
                if packet.is_corrupt and container.format.name != "mpegts":  # there it is common, and survived
                    yield from stream.decode(None)
                    raise InputError(f"{self._path} is damaged after {self._decoded} frames")
                self._packets += packet.size > 0
                if packet.pts is not None:
                    duration = packet.duration or 0
                    if container.format.name == _AVI:  # says one tick of its clock, however long a frame is shown
                        duration = self._longest_step = max(self._longest_step, duration, packet.pts - self._last_pts)
                        self._last_pts = packet.pts
                    self._end_pts = max(self._end_pts, packet.pts + duration)
                known = len(parts.moves_s)
                held.append((packet, parts.take(packet)))
                if not packet.size:  # the end
                    parts.settle()
                if len(parts.moves_s) > known:
                    later_s = float(parts.moves_s[-1] - parts.moves_s[-2])
                    log.warning(
                        "%s: time jumps back; all behind frame %d is %.1f s later", self._path, self._decoded, later_s
                    )
                    self._joint_until = self._decoded + _LATE_FRAMES
                while held and held[0][1] < len(parts.moves_s):
                    ready, part = held.popleft()
                    parts.move(ready, part)
                    for frame in ready.decode():
                        self._damaged += frame.is_corrupt
                        yield frame
        except av.error.FFmpegError as error:
            raise InputError(f"{self._path} is damaged after {self._decoded} frames: {error.strerror}") from error
        if self._damaged:
            log.warning("%s: %d frames are damaged", self._path, self._damaged)
        missing = self._missing_frames(container.format.name, stream)
        if missing:
            total = self._decoded + missing
            raise InputError(f"{self._path} is truncated: it ends after {self._decoded} of about {total} frames")
        if not self._is_end_seen and is_cut_off(self._path, container.format.name):
            log.warning("%s is cut off, and ends after %d frames", self._path, self._decoded)
        self._is_end_seen = True

    def _missing_frames(self, container_format: str, stream: VideoStream) -> int:
        """How many frames the file lacks at its end, as far as it says how long it should be."""
        time_base, rate = stream.time_base, stream.average_rate
        if not time_base or not rate or (stream.frames and self._packets >= stream.frames):
            return 0
        if container_format in _LENGTH_FORMATS and stream.duration:
            # Not the stated number of frames: a file with an edit list plays fewer, and its duration follows the list.
            end_s = ((stream.start_time or 0) + stream.duration) * time_base
            return max(0, round((end_s - self._end_pts * time_base) * rate))
        if container_format == _MATROSKA and (stated_s := _tagged_end_s(stream)) is not None:
            missing = round((stated_s - self._end_pts * time_base) * rate)
            return missing if missing > 1 else 0  # these times are rounded
        return 0

    def read(self) -> tuple[U8Array, int] | None:
        """The next picture and its time, or None at the end.

        Returns:
            (H, W, 3) uint8 sRGB in full range, read-only, and its presentation time in nanoseconds, strictly
            increasing: see `advance`.

        Raises:
            InputError: The file is damaged or truncated; the message says how many frames were good.
        """
        decoded = self.advance()
        return None if decoded is None else (self.convert(decoded[0]), decoded[1])

    def advance(self) -> tuple[VideoFrame, int] | None:
        """Like `read`, but leaves the picture as decoded: cheap where most pictures are skipped.

        Returns:
            The picture, and its presentation time in nanoseconds from the start of the file, whatever its clock says
            there, strictly increasing: a missing time becomes the one before plus a frame's duration, a repeated one is
            1 µs later, and after a jump back by more than half a second time goes on as if there had been none.

        Raises:
            InputError: As `read`.
        """
        frame, self._first = self._first or next(self._frames, None), None
        if frame is None:
            return None
        info = self.info
        frame_ns = round(1_000_000_000 / info.fps)
        if frame.pts is None:
            pts_ns = self._last_ns + frame_ns if self._decoded else 0
        else:
            pts_ns = round(frame.pts * fraction_of(frame.time_base or info.time_base) * 1_000_000_000)
            pts_ns += self._shift_ns
        if self._decoded and pts_ns <= self._last_ns:
            back_ns = self._last_ns - pts_ns
            log.debug("%s: frame %d is %d ns back in time", self._path, self._decoded, back_ns)
            is_jump = back_ns > _JUMP_NS and self._decoded >= self._joint_until
            if is_jump:  # in files whose packets do not tell
                log.warning("%s: time jumps back by %.1f s at frame %d", self._path, back_ns / 1e9, self._decoded)
                self._shift_ns += back_ns + frame_ns
            pts_ns = self._last_ns + (frame_ns if is_jump else _REPEATED_STEP_NS)
        self._last_ns = pts_ns
        self._decoded += 1
        return frame, pts_ns

    def convert(self, frame: VideoFrame) -> U8Array:
        """The pixels of what `advance` gave: (H, W, 3) uint8 sRGB in full range, read-only."""
        return self._converter.convert(frame, self.info.size_wh)

    def rewind(self) -> None:
        """Start again at the first frame; times start again too.

        Raises:
            InputError: The file cannot be read again.
        """
        container, stream = self._container, self._stream
        if container is None or stream is None:
            raise InputError(f"{self._path} is not open")
        self._reset()
        try:  # seeking spares opening and probing again, but some containers cannot go back to their first frame
            container.seek(stream.start_time or 0, stream=stream)
            self._frames = deinterlaced(self._decode(container, stream), self._threads)
            self._first = next(self._frames, None)
        except (av.error.FFmpegError, InputError):
            self._first = None
        if self._first is None or self._first.pts != self._first_pts:
            self.open()

    def close(self) -> None:
        """Release the file; harmless when repeated."""
        if self._container is not None:
            self._container.close()
        self._container = self._stream = self._first = None
        self._frames = iter(())
        self._reset()

    def _reset(self) -> None:
        self._decoded = self._packets = self._damaged = 0
        self._end_pts = self._last_pts = self._longest_step = self._shift_ns = self._last_ns = self._joint_until = 0


def _frame_count(container: InputContainer, stream: VideoStream, fps: Fraction) -> int | None:
    """How many frames are played, the smaller of what is stated and what fits; None when nothing tells."""
    time_base = fraction_of(stream.time_base or 0)
    end_s = _tagged_end_s(stream) if container.format.name == _MATROSKA else None
    if end_s is not None:
        seconds = end_s - (stream.start_time or 0) * time_base
    elif stream.duration:
        seconds = stream.duration * time_base  # follows an edit list, which the stated number does not
    elif stream.frames:
        return stream.frames
    else:
        seconds = Fraction(container.duration or 0, av.time_base)
    if seconds <= 0:
        return stream.frames or None
    fitting = max(1, round(seconds * fps))
    return min(stream.frames, fitting) if stream.frames else fitting


def _tagged_end_s(stream: VideoStream) -> Fraction | None:
    """When a stream of a Matroska file ends as its tag says, in seconds; None without the tag."""
    match = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    return None if match is None else Fraction(match[1]) * 3600 + Fraction(match[2]) * 60 + Fraction(match[3])


def fps_of(stream: VideoStream) -> Fraction:
    """Average frames per second, 30 where nothing tells."""
    return fraction_of(stream.average_rate or stream.guessed_rate or 30)


def start_s_of(container: InputContainer) -> Fraction:
    """When a file starts by its own clock, in seconds; recordings of broadcasts start at hours."""
    return Fraction(container.start_time or 0, av.time_base)


def url_from_path(path: Path) -> str:
    """A name that FFmpeg takes for this file: a colon in it is not the end of a protocol."""
    return f"file:{path}"
