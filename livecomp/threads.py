"""Thread pools of the libraries, bounded: a frame is small, and pools that wait by spinning take the cores it needs.

OpenBLAS starts a thread for each core, and they spin after each small product; OpenCV splits pictures among as many.
The stages have threads of their own where they pay. Measured beside a busy core (2 x Zen 4): a least-squares fit of
64x64 pixels took 96 ms with OpenBLAS left alone.
"""

from __future__ import annotations

import cv2
from threadpoolctl import threadpool_limits

__all__ = ["bound_threads"]


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
