"""Packets of sound and subtitles whose times start at zero, and go on where those of their file jump back."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction

from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition, Stream

from livecomp.media.video import JUMP_S, fps_of, start_s_of

__all__ = ["JoinedPackets"]

_MOST_HELD = 512  # packets: five seconds of two streams of sound


class JoinedPackets:
    """Moves packets by as much as `VideoReader.advance` moves the pictures beside them, so that both stay together.

    Time jumps back where files were joined, or a recorder was started anew. The packets of the video, which are read
    along, say how much later what follows is to be played; where another stream jumps first, its packets wait for the
    video. Where the video does not jump at all they are given as they are.

    Args:
        container: Open, and read from its beginning by this alone.
        streams: The streams whose packets are wanted.
    """

    def __init__(self, container: InputContainer, streams: Sequence[Stream]) -> None:
        self._container = container
        self._streams = streams
        self._video = _VideoParts(start_s_of(container))
        self._part_by_stream = dict.fromkeys((stream.index for stream in streams), 0)
        self._time_by_stream: dict[int, Fraction] = {}
        self._held: deque[tuple[Packet[Stream], int]] = deque()

    def __iter__(self) -> Iterator[Packet[Stream]]:
        videos = [s for s in self._container.streams.video if not s.disposition & Disposition.attached_pic][:1]
        for video in videos:
            self._video.frame_s = 1 / fps_of(video)
        for packet in self._container.demux(*self._streams, *videos):
            if packet.stream.index in self._part_by_stream:
                self._held.append((packet, self._part(packet)))
            elif packet.pts is not None and packet.dts is not None:
                self._video.take(packet.pts * packet.time_base, packet.dts * packet.time_base)
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
            if packet.pts is not None:
                packet.pts += round(self._video.moves_s[part] / packet.time_base)
            if packet.dts is not None:
                packet.dts += round(self._video.moves_s[part] / packet.time_base)
            yield packet


class _VideoParts:
    """Finds where the time of a video's packets jumps back; all times in seconds by the file's clock.

    Args:
        start_s: When the file starts.
    """

    def __init__(self, start_s: Fraction) -> None:
        self.frame_s = Fraction(0)
        self.moves_s = [-start_s]
        """What to add to the times of each part, to have them follow those of the part before."""
        self.ends_s: list[Fraction] = []
        """When the last picture is shown of each part but the present one."""
        self.end_s = Fraction(-(2**62))
        """When the last picture as yet is shown."""
        self._dts_s = self.end_s
        self._key_s: Fraction | None = None
        self._begin_s = Fraction(0)

    def take(self, pts_s: Fraction, dts_s: Fraction) -> None:
        """Look at the next packet: when it is shown and when it is decoded."""
        if self._key_s is not None and (pts_s > self._key_s or dts_s < self._dts_s):
            self.settle()
        if self._key_s is not None:  # a picture that is shown before the first one that is stored
            self._begin_s = min(self._begin_s, pts_s)
        elif dts_s < self._dts_s and self.end_s - pts_s > JUMP_S:
            self._key_s = self._begin_s = pts_s
        else:
            self.end_s = max(self.end_s, pts_s)
        self._dts_s = dts_s

    def settle(self) -> None:
        """The first picture of a new part, if there is one, is known: it is shown a frame after the last one before."""
        if self._key_s is None:
            return
        self.moves_s.append(self.moves_s[-1] + self.end_s + self.frame_s - self._begin_s)
        self.ends_s.append(self.end_s)
        self.end_s, self._key_s = self._key_s, None
