"""A slot for one item between two threads: the newest wins, what it replaces is counted."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

__all__ = ["Mailbox"]

T = TypeVar("T")


class Mailbox(Generic[T]):
    """One slot between one that puts and one that gets. Putting never waits; getting waits for an item."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._item: T | None = None
        self._is_open = True
        self._woken = False
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """How many items were replaced before anybody took them."""
        return self._dropped

    def put(self, item: T) -> None:
        """Leave an item, in place of one that is still there; nothing happens once the box is closed."""
        with self._condition:
            if not self._is_open:
                return
            self._dropped += self._item is not None
            self._item = item
            self._condition.notify()

    def get(self, timeout_s: float) -> T | None:
        """Take the item, waiting for it up to `timeout_s` seconds; None if there is none, or the box is closed."""
        with self._condition:
            self._condition.wait_for(self._is_due, max(0.0, timeout_s))
            item, self._item, self._woken = self._item, None, False
            return item

    def wake(self) -> None:
        """Make `get`, this one or the next, return at once, with an item or without."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def clear(self) -> None:
        """Take away what is there, uncounted."""
        with self._condition:
            self._item = None

    def close(self) -> None:
        """Take nothing more, and wake whoever waits."""
        with self._condition:
            self._is_open = False
            self._item = None
            self._condition.notify_all()

    def _is_due(self) -> bool:
        return self._item is not None or self._woken or not self._is_open
