"""Interlaced video: two half pictures of different moments in one frame, as camcorders and television have it."""

from __future__ import annotations

from collections.abc import Iterator

import av
from av.filter import Graph
from av.video.frame import VideoFrame

__all__ = ["deinterlaced"]

_MIN_COLUMNS, _MIN_LINES = 3, 4  # of bwdif


def deinterlaced(frames: Iterator[VideoFrame], threads: int) -> Iterator[VideoFrame]:
    """The same frames at the same times, but those that say they are interlaced show the moment of their first half.

    Its missing lines come from FFmpeg's bwdif, which takes them from the frames before and after where nothing moves.
    Frames before the first interlaced one pass untouched and at once; then each waits for its successor.

    Args:
        frames: As decoded.
        threads: For one filter.

    Raises:
        InputError: As `frames` does; the frame that waits then is lost.
    """
    graph: Graph | None = None
    kind: tuple[int, int, str] | None = None
    for frame in frames:
        if graph is not None and _kind_of(frame) != kind:
            yield from _end(graph)
            graph = None
        if graph is None and frame.interlaced_frame and frame.width >= _MIN_COLUMNS and frame.height >= _MIN_LINES:
            graph, kind = _filter_for(frame, threads), _kind_of(frame)
        if graph is None:
            yield frame
        else:
            graph.vpush(frame)
            yield from _ready(graph)
    if graph is not None:
        yield from _end(graph)


def _kind_of(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.width, frame.height, frame.format.name


def _filter_for(frame: VideoFrame, threads: int) -> Graph:
    graph = Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base, name="in"
    )
    bwdif = graph.add("bwdif", f"mode=send_frame:deint=interlaced:threads={threads}")
    source.link_to(bwdif)
    bwdif.link_to(graph.add("buffersink"))
    graph.configure()
    return graph


def _ready(graph: Graph) -> Iterator[VideoFrame]:
    while True:
        try:
            yield graph.vpull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return


def _end(graph: Graph) -> Iterator[VideoFrame]:
    graph.vpush(None)
    yield from _ready(graph)
