"""Write a video, with the sound, subtitles and metadata of the one it was made from."""

from __future__ import annotations

import contextlib
import logging
import os
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, ColorTrc
from av.video.stream import VideoStream

from livecomp.errors import OutputError
from livecomp.frame import Composite
from livecomp.media.convert import AVCOL_SPC_BT709, YuvConverter
from livecomp.media.image import partial_path
from livecomp.media.pyav import KEEP_METADATA
from livecomp.media.video import url_from_path
from livecomp.output.check import check_composite
from livecomp.output.copied import CopiedStreams
from livecomp.paths import followed, is_dir

__all__ = ["VideoSink"]

log = logging.getLogger(__name__)

_MP4_FLAGS = {"movflags": "+faststart"}
_CONTAINER_OPTIONS: dict[str, dict[str, str]] = {
    ".m4v": _MP4_FLAGS,
    ".mkv": {},
    ".mov": _MP4_FLAGS,
    ".mp4": _MP4_FLAGS,
    ".webm": {},
}
_VP9_OPTIONS = {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "b": "0"}


class VideoSink:
    """H.264 (VP9 in WebM), 4:2:0, BT.709 limited range and tagged so, with the times of the source.

    H.264 needs even sides: an odd one is made even by repeating its last row or column once. WebM keeps odd sides, but
    says nothing of the shape of a pixel: where that is not square, the picture is stretched until it is.
    The file has a temporary name until `close`; an older file of the final name stays as it was until then. Where a
    link leads, the file is written.

    Args:
        path: The final file; its suffix says the container.
        size_wh: Width and height of the composites in pixels.
        fps: Nominal frames per second.
        time_base: Unit of the times in seconds; that of the source keeps them exactly.
        copy_from: A file whose sound, subtitles, chapters and metadata are copied; None for none.
        quality: Constant rate factor, 0..51, lower is better and larger.
        preset: x264's own name for its effort. At equal picture quality on a 1080p webcam clip, "superfast" needs two
            thirds of the time of "veryfast" and half again its bytes.
        sample_aspect_ratio: Width to height of a pixel.
        threads: Encoding threads.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        size_wh: tuple[int, int],
        fps: Fraction,
        time_base: Fraction,
        copy_from: Path | None = None,
        quality: int = 18,
        preset: str = "superfast",
        sample_aspect_ratio: Fraction = Fraction(1),
        threads: int = 2,
    ) -> None:
        self._path = Path(path)
        self._final = self._path
        self._partial = partial_path(self._path)
        self._size_wh = size_wh
        self._fps = fps
        self._time_base = time_base
        self._copy_from = copy_from
        self._quality = quality
        self._preset = preset
        self._sample_aspect_ratio = sample_aspect_ratio
        self._threads = threads
        self._container: OutputContainer | None = None
        self._stream: VideoStream | None = None
        self._copied: CopiedStreams | None = None
        self._converter = YuvConverter()
        self._shown_wh = size_wh
        self._padding_wh = (0, 0)
        self._last_pts: int | None = None

    def open(self) -> None:
        """See `Sink.open`; also when the container or the encoder is unknown."""
        suffix = self._path.suffix.lower()
        if suffix not in _CONTAINER_OPTIONS:
            known = ", ".join(_CONTAINER_OPTIONS)
            raise OutputError(f"{self._path}: expected a video's suffix ({known}), received {suffix or 'none'!r}")
        if is_dir(self._path):
            raise OutputError(f"cannot write {self._path}: it is a folder")
        codec = "libvpx-vp9" if suffix == ".webm" else "libx264"
        if codec not in av.codecs_available:
            raise OutputError(f"cannot write {self._path}: this FFmpeg has no {codec}; the PyAV wheels of PyPI have it")
        self._last_pts = None
        self._final = followed(self._path)
        self._partial = partial_path(self._final.parent / self._path.name)
        try:
            self._container = av.open(
                url_from_path(self._partial),
                "w",
                container_options=_CONTAINER_OPTIONS[suffix],
                **KEEP_METADATA,
            )
            self._stream = self._add_stream(self._container, codec)
            if self._copy_from is not None:
                self._copied = CopiedStreams(self._copy_from, self._container)
                self._copied.open()
            self._container.start_encoding()
        except (OSError, ValueError, av.error.FFmpegError) as error:
            self.abort()
            raise OutputError(f"cannot write {self._path}: {_reason(error)}") from error

    def _add_stream(self, container: OutputContainer, codec: str) -> VideoStream:
        if codec == "libx264":
            self._padding_wh = self._size_wh[0] % 2, self._size_wh[1] % 2
        else:
            self._shown_wh = _square_wh(self._size_wh, self._sample_aspect_ratio)
            if self._shown_wh != self._size_wh:
                log.warning(
                    "%s: WebM needs square pixels, so %s of them become %s", self._path, self._size_wh, self._shown_wh
                )
        width, height = self._shown_wh[0] + self._padding_wh[0], self._shown_wh[1] + self._padding_wh[1]
        if self._padding_wh != (0, 0):
            log.warning(
                "%s: H.264 needs even sides, so %s pixels become %s", self._path, self._size_wh, (width, height)
            )
        effort = {"preset": self._preset} if codec == "libx264" else _VP9_OPTIONS
        options = {"crf": str(self._quality), **effort}
        stream = container.add_stream(codec, rate=self._fps, options=options, time_base=self._time_base)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = self._time_base
        context.thread_count = self._threads
        if codec == "libx264":
            context.sample_aspect_ratio = self._sample_aspect_ratio
        context.color_range = ColorRange.MPEG
        context.colorspace = AVCOL_SPC_BT709
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        return stream

    def write(self, composite: Composite) -> None:
        """See `Sink.write`."""
        check_composite(composite, self._size_wh)
        if self._stream is None or self._container is None:
            raise OutputError(f"{self._path} is not open")
        pts = round(Fraction(composite.pts_ns, 1_000_000_000) / self._time_base)
        if self._last_pts is not None:
            pts = max(pts, self._last_pts + 1)
        rgb = composite.rgb
        if self._shown_wh != self._size_wh:
            rgb = np.asarray(cv2.resize(rgb, self._shown_wh, interpolation=cv2.INTER_CUBIC), np.uint8)
        if self._padding_wh != (0, 0):
            right, bottom = self._padding_wh
            rgb = np.asarray(cv2.copyMakeBorder(rgb, 0, bottom, 0, right, cv2.BORDER_REPLICATE), np.uint8)
        frame = self._converter.convert(rgb)
        frame.pts, frame.time_base = pts, self._time_base
        self._last_pts = pts
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
            if self._copied is not None:
                self._copied.mux_until(composite.pts_ns)
        except (OSError, av.error.FFmpegError) as error:
            self.abort()  # whatever is called next, a video with a hole does not get the final name
            raise OutputError(f"cannot write {self._path}: {_reason(error)}") from error

    def close(self) -> None:
        """See `Sink.close`; a video without a frame is an `OutputError`, and no file."""
        if self._container is None:
            return
        if self._last_pts is None:
            self.abort()
            raise OutputError(f"nothing was written to {self._path}: there was no frame")
        assert self._stream is not None
        try:
            for packet in self._stream.encode():
                self._container.mux(packet)
            if self._copied is not None:
                self._copied.mux_until(None)
            self._container.close()
            _sync(self._partial)
            self._partial.replace(self._final)
        except (OSError, av.error.FFmpegError) as error:
            self.abort()
            raise OutputError(f"cannot finish {self._path}: {_reason(error)}") from error
        self._release()

    def abort(self) -> None:
        """See `Sink.abort`."""
        if self._container is not None:
            with contextlib.suppress(OSError, av.error.FFmpegError):  # the disk may be full: the file goes away anyway
                self._container.close()
        self._release()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def _release(self) -> None:
        if self._copied is not None:
            self._copied.close()
        self._container = self._stream = self._copied = None


def _square_wh(size_wh: tuple[int, int], aspect: Fraction) -> tuple[int, int]:
    """The size at which a picture with pixels of this shape has square ones, and no fewer of them."""
    width, height = size_wh
    return (round(width * aspect), height) if aspect > 1 else (width, round(height / aspect))


def _sync(path: Path) -> None:
    """Wait until the file is on the disk: some file systems say only then that there was no room for it."""
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
