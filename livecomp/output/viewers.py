"""Whether anybody watches a virtual camera, so that camera and networks can sleep while nobody does."""

from __future__ import annotations

import os
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

from livecomp.output.loopback import holders

if sys.platform != "win32":  # where there is no such device either
    import fcntl

__all__ = ["ViewerWatch", "viewers"]

_SUBSCRIPTION = struct.Struct("@8I")
_EVENT = struct.Struct("@I0L64s2I2l9I0L")  # the union holds 64 bit numbers
_SUBSCRIBE = 1 << 30 | _SUBSCRIPTION.size << 16 | ord("V") << 8 | 90
_DEQUEUE = 2 << 30 | _EVENT.size << 16 | ord("V") << 8 | 89
_SEND_INITIAL = 1
_CLIENT_USAGE = 0x08000000 + 0x08E00000 + 1  # v4l2loopback 0.13 and later


def viewers(device: str, root: Path = Path("/")) -> int | None:
    """How many others take pictures from a v4l2loopback device.

    Drivers from 0.13 on tell it themselves; there are drivers that only say 1 for any number. With others, processes
    that have the device open are counted, as far as this user may see them.

    Args:
        device: Its path.
        root: Where proc is.

    Returns:
        None when it cannot be known.
    """
    count = _usage(device)
    if count is not None:
        return count
    found = holders(device, root)
    return None if found is None else len(found)


def _usage(device: str) -> int | None:
    """What the driver says. A new descriptor each time is told the present state: no event can be missed."""
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        request = _SUBSCRIPTION.pack(_CLIENT_USAGE, 0, _SEND_INITIAL, 0, 0, 0, 0, 0)
        fcntl.ioctl(descriptor, _SUBSCRIBE, request)
        event = bytearray(_EVENT.size)
        fcntl.ioctl(descriptor, _DEQUEUE, event)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    kind, payload, *_ = _EVENT.unpack(event)
    return int.from_bytes(payload[:4], "little") if kind == _CLIENT_USAGE else None


class ViewerWatch:
    """Says whether somebody watches: at once when somebody comes, and for a while after the last one left.

    It has no thread: it looks when it is asked, and not more often than `interval_s`.

    Args:
        count: Gives the number of viewers; None when it cannot be known, which counts as watched. To be on the safe
            side, an unknown number never puts a call to sleep.
        leave_s: Seconds without viewers until nobody watches.
        interval_s: Least seconds between two looks.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        count: Callable[[], int | None],
        *,
        leave_s: float = 3.0,
        interval_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._count = count
        self._leave_s = leave_s
        self._interval_s = interval_s
        self._clock = clock
        self._looked_s: float | None = None
        self._seen_s: float | None = None
        self._is_closed = False

    def watched(self) -> bool:
        """Whether somebody watches, or did until a moment ago; False once closed."""
        if self._is_closed:
            return False
        now = self._clock()
        if self._looked_s is None or now - self._looked_s >= self._interval_s:
            self._looked_s = now
            count = self._count()
            if count is None or count > 0:
                self._seen_s = now
        return self._seen_s is not None and now - self._seen_s < self._leave_s

    def close(self) -> None:
        """Look no more; harmless when repeated."""
        self._is_closed = True
