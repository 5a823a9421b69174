"""Processes that measure end with the one that started them, however that ends."""

from __future__ import annotations

import multiprocessing
import os
import threading

__all__ = ["end_with_owner"]


def end_with_owner() -> None:
    """Have this process end as soon as the one that started it has, even if that was killed and could tell nobody."""
    threading.Thread(target=_wait, name="livecomp-owner", daemon=True).start()


def _wait() -> None:
    owner = multiprocessing.parent_process()
    if owner is not None:
        owner.join()
        os._exit(1)
