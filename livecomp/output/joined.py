"""Packets of sound and subtitles whose times start at zero, and go on where those of their file jump back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction

from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from livecomp.media.parts import JUMP_S, VideoParts
from livecomp.media.video import fps_of, start_s_of

__all__ = ["JoinedPackets"]

_MOST_HELD = 512  # packets: five seconds of two streams of sound


class JoinedPackets:
    """Moves packets by as much as `VideoReader` moves those of the pictures beside them, so that both stay together.

    Time jumps back where files were joined, or a recorder was started anew. The packets of the video, which are read
    along, say how much later what follows is to be played; where another stream jumps first, its packets wait for the
    video. Where the video does not jump at all they are given as they are.

    Args:
        container: Open, and read from its beginning by this alone.
        streams: The streams whose packets are wanted.
    """

    def __init__(self, container: InputContainer, streams: Sequence[Stream]) -> None:
        self._container = container
        videos = [s for s in container.streams.video if not s.disposition & Disposition.attached_pic][:1]
        self._all_streams = (*streams, *videos)
        self._video = VideoParts(start_s_of(container), 1 / fps_of(videos[0]) if videos else Fraction(0))
        self._part_by_stream = dict.fromkeys((stream.index for stream in streams), 0)
        self._time_by_stream: dict[int, Fraction] = {}
        self._held: deque[tuple[Packet[Stream], int]] = deque()

    def __iter__(self) -> Iterator[Packet[Stream]]:
        for packet in self._container.demux(*self._all_streams):
            if packet.stream.index in self._part_by_stream:
                self._held.append((packet, self._part(packet)))
            else:
                self._video.take(packet)
            if len(self._held) > _MOST_HELD:
                self._stop_waiting()
            yield from self._ready()
        self._video.settle()
        self._stop_waiting()
        yield from self._ready()

    def _part(self, packet: Packet[Stream]) -> int:
        """The number of the part of the file that a packet belongs to."""
        index = packet.stream.index
        part = self._part_by_stream[index]
        if packet.dts is None:  # the empty packet that ends a stream
            return part
        time_s = packet.dts * packet.time_base
        ends, newest = self._video.ends_s, len(self._video.ends_s)
        if self._time_by_stream.get(index, time_s) - time_s > JUMP_S:
            part += 1
        elif part < newest and ends[part] - time_s > JUMP_S and 2 * time_s < ends[part] + self._video.end_s:
            part = newest  # a stream that was silent around the jump: it is nearer to where the video is now
        self._time_by_stream[index] = time_s
        self._part_by_stream[index] = part
        return part

    def _stop_waiting(self) -> None:
        newest = len(self._video.ends_s)
        self._part_by_stream = {index: min(part, newest) for index, part in self._part_by_stream.items()}
        self._held = deque((packet, min(part, newest)) for packet, part in self._held)

    def _ready(self) -> Iterator[Packet[Stream]]:
        while self._held and self._held[0][1] < len(self._video.moves_s):
            packet, part = self._held.popleft()
            self._video.move(packet, part)
            yield packet
