"""Locks that processes share, as files; whoever dies gives them back."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["file_lock"]

_POLL_S = 0.05


@contextmanager
def file_lock(path: Path, wait_s: float) -> Iterator[bool]:
    """Hold the lock of a file, which is made if need be; other threads wait for it as other processes do.

    Args:
        path: The file; it stays.
        wait_s: How long to wait for whoever holds it, in seconds.

    Yields:
        Whether it was had in that time.

    Raises:
        OSError: The file cannot be made, or cannot be locked where it is.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield _acquire(descriptor, wait_s)
    finally:
        os.close(descriptor)  # which releases the lock


def _acquire(descriptor: int, wait_s: float) -> bool:
    deadline = time.monotonic() + wait_s
    while not _try_lock(descriptor):
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True


if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
