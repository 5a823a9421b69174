"""Write a video, with the sound, subtitles and metadata of the one it was made from."""

from __future__ import annotations

import contextlib
import logging
from fractions import Fraction
from pathlib import Path

import av
import cv2
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from av.video.stream import VideoStream

from livecomp.errors import OutputError
from livecomp.frame import Composite, U8Array
from livecomp.media.image import partial_path
from livecomp.media.video import VIDEO_SUFFIXES
from livecomp.output.check import check_composite
from livecomp.output.copied import CopiedStreams

__all__ = ["VideoSink"]

log = logging.getLogger(__name__)

_CODECS = {".webm": "libvpx-vp9"}
_VP9_OPTIONS = {"deadline": "realtime", "cpu-used": "7", "row-mt": "1", "b": "0"}
# The values of AVColorSpace; PyAV names only those that its reformatter takes.
_AVCOL_SPC_BT709 = 1


class VideoSink:
    """H.264 (VP9 in WebM), 4:2:0, BT.709 limited range and tagged so, with the times of the source.

    4:2:0 needs even sides: an odd side is made even by repeating its last row or column once. The file has a temporary
    name until `close`; an older file of the final name stays as it was until then.

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
        self._reformatter = VideoReformatter()
        self._last_pts = -1
        self._count = 0

    def open(self) -> None:
        """See `Sink.open`; also when the container or the encoder is unknown."""
        suffix = self._path.suffix.lower()
        if suffix not in VIDEO_SUFFIXES:
            known = ", ".join(sorted(VIDEO_SUFFIXES))
            raise OutputError(f"{self._path}: expected a video's suffix ({known}), received {suffix or 'none'!r}")
        options = {"movflags": "+faststart"} if suffix in (".mp4", ".m4v", ".mov") else {}
        try:
            self._container = av.open(str(self._partial), "w", container_options=options)
            self._stream = self._add_stream(self._container, _CODECS.get(suffix, "libx264"))
            if self._copy_from is not None:
                self._copied = CopiedStreams(self._copy_from, self._container)
                self._copied.open()
            self._container.start_encoding()
        except (OSError, ValueError) as error:  # FFmpeg's errors are both, by kind
            self.abort()
            raise OutputError(f"cannot write {self._path}: {_reason(error)}") from error

    def _add_stream(self, container: OutputContainer, codec: str) -> VideoStream:
        width, height = (side + side % 2 for side in self._size_wh)
        if (width, height) != self._size_wh:
            log.info("%s: %s pixels become %s, since 4:2:0 needs even sides", self._path, self._size_wh, (width, height))
        effort = {"preset": self._preset} if codec == "libx264" else _VP9_OPTIONS
        options = {"crf": str(self._quality), **effort}
        stream = container.add_stream(codec, rate=self._fps, options=options, time_base=self._time_base)
        assert isinstance(stream, VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        context = stream.codec_context
        context.time_base = self._time_base
        context.thread_count = self._threads
        context.sample_aspect_ratio = self._sample_aspect_ratio
        context.color_range = ColorRange.MPEG
        context.colorspace = _AVCOL_SPC_BT709
        context.color_primaries = ColorPrimaries.BT709
        context.color_trc = ColorTrc.BT709
        return stream

    def write(self, composite: Composite) -> None:
        """See `Sink.write`."""
        check_composite(composite, self._size_wh)
        assert self._stream is not None
        assert self._container is not None
        pts = max(round(Fraction(composite.pts_ns, 1_000_000_000) / self._time_base), self._last_pts + 1)
        frame = self._yuv(composite.rgb)
        frame.pts, frame.time_base = pts, self._time_base
        self._last_pts = pts
        self._count += 1
        try:
            for packet in self._stream.encode(frame):
                self._container.mux(packet)
            if self._copied is not None:
                self._copied.mux_until(composite.pts_ns)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {_reason(error)}") from error

    def _yuv(self, rgb: U8Array) -> VideoFrame:
        height, width = rgb.shape[:2]
        if height % 2 or width % 2:
            rgb = cv2.copyMakeBorder(rgb, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)  # type: ignore[assignment]
        frame = self._reformatter.reformat(
            VideoFrame.from_ndarray(rgb, format="rgb24"),
            format="yuv420p",
            src_colorspace=Colorspace.ITU709,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            threads=1,
        )
        frame.colorspace, frame.color_range = _AVCOL_SPC_BT709, ColorRange.MPEG
        frame.color_primaries, frame.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return frame

    def close(self) -> None:
        """See `Sink.close`; a video without a frame is an `OutputError`, and no file."""
        if self._container is None:
            return
        if not self._count:
            self.abort()
            raise OutputError(f"nothing was written to {self._path}: there was no frame")
        assert self._stream is not None
        try:
            for packet in self._stream.encode():
                self._container.mux(packet)
            if self._copied is not None:
                self._copied.mux_until(None)
            self._container.close()
            self._partial.replace(self._path)
        except OSError as error:
            self.abort()
            raise OutputError(f"cannot finish {self._path}: {_reason(error)}") from error
        self._release()

    def abort(self) -> None:
        """See `Sink.abort`."""
        if self._container is not None:
            with contextlib.suppress(OSError, ValueError):  # the disk may be full: the file goes away anyway
                self._container.close()
        self._release()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def _release(self) -> None:
        if self._copied is not None:
            self._copied.close()
        self._container = self._stream = self._copied = None


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error)
