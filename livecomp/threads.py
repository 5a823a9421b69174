"""Thread pools of the libraries, bounded: a frame is small, and pools that wait by spinning take the cores it needs.

OpenBLAS starts a thread for each core, and they spin after each small product; OpenCV splits pictures among as many.
The stages have threads of their own where they pay. Measured beside a busy core (2 x Zen 4): a least-squares fit of
64x64 pixels took 96 ms with OpenBLAS left alone.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable

import cv2
from threadpoolctl import threadpool_limits

__all__ = ["bound_arenas", "bound_threads", "trim_heaps"]

_M_ARENA_MAX = -8
"""Of mallopt in glibc's malloc.h."""


def bound_threads(opencv: int = 1, algebra: int = 1) -> None:
    """Bound the pools of this process, for as long as it runs.

    A library that is used by other programs leaves their pools alone, so nothing calls this but commands and
    measurements. Networks get their threads by options, and compiled loops have none of their own.

    Args:
        opencv: Threads for one call of OpenCV.
        algebra: Threads of BLAS and OpenMP.
    """
    cv2.setNumThreads(opencv)
    threadpool_limits(limits=algebra)


def bound_arenas(count: int = 2) -> bool:
    """Let the threads of this process share a few heaps, for as long as it runs; to be called before there are threads.

    glibc gives each new thread a heap of its own, up to eight per core, and each keeps the pictures that its thread
    once decoded.

    Args:
        count: How many heaps.

    Returns:
        Whether there is something to bound: other C libraries have one heap.
    """
    mallopt = _of_glibc("mallopt")
    return mallopt is not None and bool(mallopt(_M_ARENA_MAX, count))


def trim_heaps() -> bool:
    """Give the free pages of all heaps back to the system; other threads that allocate wait meanwhile.

    The buffers of frames come and go at one end of a heap, and what a new scene needed while it was decoded stays
    behind them as holes: over thirty changes of scene a call grew by 39 MB.

    Returns:
        Whether anything was given back; False with other C libraries.
    """
    malloc_trim = _of_glibc("malloc_trim")
    return malloc_trim is not None and bool(malloc_trim(ctypes.c_size_t(0)))


def _of_glibc(name: str) -> Callable[..., int] | None:
    if not sys.platform.startswith("linux"):
        return None
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None)
    return found
