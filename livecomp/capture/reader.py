"""The thread in which a camera's driver is called."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable

from livecomp.capture.pictures import Pictures
from livecomp.errors import InputError, LiveCompError, reason
from livecomp.frame import U8Array

__all__ = ["Reader"]

_OPEN_S = 5.0
_LEAVE_S = 1.0


class Reader:
    """Opens a camera, keeps its newest picture and closes it, all in one thread.

    A driver may hold a call for ever, and nothing frees it. In that case the thread is left behind, as a daemon, with
    the descriptors it holds; it releases them if the driver ever lets go. It is the one thread of LiveComp that may
    be, so its name does not begin like those of the others.

    Args:
        connect: Opens the camera; may raise what an owner is to see.
    """

    def __init__(self, connect: Callable[[], Pictures]) -> None:
        self._connect = connect
        self._pictures: Pictures | None = None
        self._newest: tuple[U8Array, int] | None = None
        self._failure: BaseException | None = None
        self._stopping = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="camera-driver", daemon=True)

    @property
    def is_alive(self) -> bool:
        """Whether the thread still runs."""
        return self._thread.is_alive()

    def start(self) -> Pictures:
        """Open the camera.

        Raises:
            InputError: It cannot be opened, or the driver does not answer.
        """
        self._thread.start()
        with self._changed:
            self._changed.wait_for(lambda: self._pictures or self._failure or self._stopping, _OPEN_S)
            if self._failure is not None:
                raise self._failure
            if self._pictures is None:
                raise InputError("the camera's driver does not answer; unplug the camera and plug it in again")
            return self._pictures

    def next(self, timeout_s: float) -> tuple[U8Array, int] | None:
        """The next picture and its time; None when there is none within the time.

        Raises:
            InputError: The camera is gone, or was closed.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._newest or self._failure or self._stopping, timeout_s)
            if self._stopping:
                raise InputError("the camera was closed while it was read")
            if self._failure is not None:
                raise self._failure
            newest, self._newest = self._newest, None
            return newest

    def stop(self) -> bool:
        """End the thread; False when the driver holds it. It closes the camera itself."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(_LEAVE_S)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pictures: Pictures | None = None
        try:
            pictures = self._connect()
            with self._changed:
                self._pictures = pictures
                self._changed.notify_all()
            while not self._stopping:
                taken = pictures.take()
                if taken is not None:
                    with self._changed:
                        self._newest = taken
                        self._changed.notify_all()
        except Exception as error:  # a thread's boundary: whoever reads raises it
            with self._changed:
                self._failure = _told(error)
                self._changed.notify_all()
        finally:
            if pictures is not None:
                pictures.close()


def _told(error: Exception) -> Exception:
    """What to raise for something that failed while pictures came."""
    if isinstance(error, OSError) and not isinstance(error, LiveCompError):
        if error.errno in (errno.ENODEV, errno.ENXIO, errno.EIO):
            told = InputError(f"the camera was unplugged: {reason(error)}; it is used again as soon as it is back")
        else:
            told = InputError(f"the camera's driver failed: {reason(error)}; unplug the camera and plug it in again")
        told.__cause__ = error
        return told
    return error
