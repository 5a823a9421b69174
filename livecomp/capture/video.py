"""Frames of a video file."""

from __future__ import annotations

from pathlib import Path

from livecomp.capture import SourceInfo
from livecomp.frame import Frame
from livecomp.media.video import VideoReader

__all__ = ["VideoSource"]


class VideoSource:
    """The first video stream of a file; see `VideoReader` for how colours and times are read.

    Args:
        path: Any file that FFmpeg can read.
        threads: Decoding threads.
    """

    def __init__(self, path: str | Path, *, threads: int = 2) -> None:
        self._path = Path(path)
        self._reader = VideoReader(path, threads=threads)

    @property
    def info(self) -> SourceInfo:
        """See `Source.info`."""
        info = self._reader.info
        return SourceInfo(
            name=str(self._path),
            size_wh=info.size_wh,
            fps=info.fps,
            time_base=info.time_base,
            frame_count=info.frame_count,
            path=self._path,
            sample_aspect_ratio=info.sample_aspect_ratio,
        )

    def open(self) -> None:
        """See `Source.open`."""
        self._reader.open()

    def read(self) -> Frame | None:
        """See `Source.read`."""
        picture = self._reader.read()
        if picture is None:
            return None
        return Frame(*picture, sample_aspect_ratio=self._reader.info.sample_aspect_ratio)

    def close(self) -> None:
        """See `Source.close`."""
        self._reader.close()
