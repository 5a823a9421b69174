"""Parts of a video between which its time jumps back, as in files that were joined."""

from __future__ import annotations

from fractions import Fraction
from typing import TypeVar

from av.packet import Packet
from av.stream import Stream

__all__ = ["JUMP_S", "VideoParts"]

_S = TypeVar("_S", bound=Stream)

JUMP_S = Fraction(1, 2)
"""By how much time goes back at least between two parts, in seconds; by less, pictures are only out of order."""


class VideoParts:
    """Finds where the time of a video's packets jumps back; all times in seconds by the file's clock.

    Packets are looked at and not pictures, since decoders leave out what they cannot decode behind a joint.

    Args:
        start_s: When the file starts.
        frame_s: How long a picture is shown.
    """

    def __init__(self, start_s: Fraction, frame_s: Fraction) -> None:
        self.moves_s = [-start_s]
        """What to add to the times of each part, to have the first start at zero and each follow the one before."""
        self.ends_s: list[Fraction] = []
        """When the last picture is shown of each part but the newest."""
        self.end_s = Fraction(-(2**62))
        """When the last picture as yet is shown."""
        self._frame_s = frame_s
        self._dts_s = self.end_s
        self._key_s: Fraction | None = None
        self._begin_s = Fraction(0)

    def take(self, packet: Packet[_S]) -> int:
        """Look at the video's next packet; gives the number of its part, which may be known in `moves_s` only later."""
        if packet.pts is not None and packet.dts is not None:
            self._take(packet.pts * packet.time_base, packet.dts * packet.time_base)
        return len(self.ends_s) + (self._key_s is not None)

    def _take(self, pts_s: Fraction, dts_s: Fraction) -> None:
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
        self.moves_s.append(self.moves_s[-1] + self.end_s + self._frame_s - self._begin_s)
        self.ends_s.append(self.end_s)
        self.end_s, self._key_s = self._key_s, None

    def move(self, packet: Packet[_S], part: int) -> None:
        """Give a packet of any stream, in a part that is known, its time from the start of the first part on."""
        if packet.pts is not None:
            packet.pts += round(self.moves_s[part] / packet.time_base)
        if packet.dts is not None:
            packet.dts += round(self.moves_s[part] / packet.time_base)
