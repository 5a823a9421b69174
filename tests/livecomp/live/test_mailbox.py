"""The slot between two threads."""

from __future__ import annotations

import threading
import time

from livecomp.live.mailbox import Mailbox


def test_the_newest_item_wins_and_what_it_replaces_is_counted() -> None:
    box: Mailbox[int] = Mailbox()
    for item in range(5):
        box.put(item)
    assert box.get(0) == 4
    assert box.dropped == 4
    assert box.get(0) is None


def test_getting_waits_for_an_item() -> None:
    box: Mailbox[str] = Mailbox()
    timer = threading.Timer(0.05, box.put, ["late"])
    timer.start()
    assert box.get(2.0) == "late"
    timer.join()


def test_waking_and_closing_end_the_wait() -> None:
    for end in ("wake", "close"):
        box: Mailbox[str] = Mailbox()
        timer = threading.Timer(0.05, getattr(box, end))
        timer.start()
        start = time.monotonic()
        assert box.get(5.0) is None
        assert time.monotonic() - start < 2
        timer.join()


def test_a_wake_before_the_wait_is_not_lost() -> None:
    box: Mailbox[str] = Mailbox()
    box.wake()
    start = time.monotonic()
    assert box.get(5.0) is None
    assert time.monotonic() - start < 1


def test_a_closed_box_takes_nothing() -> None:
    box: Mailbox[int] = Mailbox()
    box.close()
    box.put(1)
    assert box.get(0) is None
    assert box.dropped == 0


def test_clearing_is_not_dropping() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(1)
    box.clear()
    assert box.get(0) is None
    assert box.dropped == 0
