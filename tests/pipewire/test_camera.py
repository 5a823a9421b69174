"""The camera that PipeWire is given, as programs see it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from livecomp.errors import OutputError
from livecomp.frame import U8Array
from livecomp.output.pipewire import PipewireWriter
from livecomp.pipewire.library import find_pipewire
from tests.pipewire.desktop import Desktop
from tests.v4l2.browser.marks import draw_number, read_number

SIZE_WH = (320, 180)
FPS = Fraction(30)


def numbered(number: int) -> U8Array:
    rgb = np.full((SIZE_WH[1], SIZE_WH[0], 3), (200, 30, 90), np.uint8)
    draw_number(rgb, number)
    return rgb


@contextmanager
def filming(writer: PipewireWriter) -> Iterator[Callable[[], int]]:
    """Pictures that count up, 30 a second; gives how many there were so far."""
    ended = threading.Event()
    sent = 0

    def film() -> None:
        nonlocal sent
        while not ended.wait(1 / 30):
            writer.send(numbered(sent))
            sent += 1

    thread = threading.Thread(target=film)
    thread.start()
    try:
        yield lambda: sent
    finally:
        ended.set()
        thread.join()


def numbers(pictures: list[bytes]) -> list[int]:
    """Of whole pictures."""
    found = []
    for picture in pictures:
        luma = np.frombuffer(picture, np.uint8).reshape(SIZE_WH[1], SIZE_WH[0], 2)[..., 0]
        pair = read_number(np.ascontiguousarray(luma))
        assert pair is not None
        assert pair[0] == pair[1], "a torn picture"
        found.append(pair[0])
    return found


def test_programs_get_every_picture_whole_in_order_and_in_its_colours(desktop: Desktop) -> None:
    writer = PipewireWriter(SIZE_WH, FPS)
    try:
        with filming(writer):
            pictures = desktop.pictures(60, SIZE_WH)
    finally:
        writer.close()
    found = numbers(pictures)
    assert len(found) == 60
    assert found == list(range(found[0], found[0] + 60))
    yuy2 = np.frombuffer(pictures[-1], np.uint8).reshape(SIZE_WH[1], SIZE_WH[0], 2)
    centre = cv2.cvtColor(yuy2, cv2.COLOR_YUV2RGB_YUY2)[90, 160].astype(int)
    assert abs(centre - [200, 30, 90]).max() <= 2


def test_it_is_told_whether_anybody_watches_and_costs_nothing_while_nobody_does(desktop: Desktop) -> None:
    writer = PipewireWriter(SIZE_WH, FPS)
    try:
        with filming(writer) as sent:
            assert writer.viewers() == 0
            seen: list[int | None] = []
            watching = threading.Thread(target=lambda: desktop.pictures(30, SIZE_WH))
            watching.start()
            while watching.is_alive():
                seen.append(writer.viewers())
                time.sleep(0.02)
            watching.join()
            assert 1 in seen
            desktop.wait_until(lambda: writer.viewers() == 0, "the end of watching", 3)
            before = sent()
            start = time.thread_time()
            for number in range(100):
                writer.send(numbered(number))
            assert time.thread_time() - start < 0.1
            assert sent() >= before
    finally:
        writer.close()


@pytest.mark.slow
def test_several_programs_watch_at_once_and_after_a_pause(desktop: Desktop) -> None:
    writer = PipewireWriter(SIZE_WH, FPS)
    found: list[list[int]] = []

    def watch() -> None:
        found.append(numbers(desktop.pictures(30, SIZE_WH)))

    try:
        with filming(writer):
            for _ in range(2):
                both = [threading.Thread(target=watch) for _ in range(2)]
                for thread in both:
                    thread.start()
                for thread in both:
                    thread.join()
                time.sleep(6)  # after five seconds WirePlumber takes the buffers away
    finally:
        writer.close()
    assert len(found) == 4
    assert all(len(seen) == 30 and seen == sorted(set(seen)) for seen in found)


def test_the_end_of_pipewire_is_told_and_a_new_one_takes_the_camera_again(desktop: Desktop) -> None:
    writer = PipewireWriter(SIZE_WH, FPS)
    desktop.stop_pipewire()
    desktop.wait_until(lambda: writer.viewers() is None, "the end", 3)
    with pytest.raises(OutputError, match="PipeWire ended the stream"):
        writer.send(numbered(0))
    writer.close()
    with pytest.raises(OutputError, match="PipeWire does not run for this user: Host is down"):
        PipewireWriter(SIZE_WH, FPS)
    assert "does not run" in find_pipewire().trouble

    desktop.start_pipewire()
    assert find_pipewire().version
    writer = PipewireWriter(SIZE_WH, FPS)
    try:
        with filming(writer):
            assert len(numbers(desktop.pictures(5, SIZE_WH))) == 5
    finally:
        writer.close()
        writer.close()
    assert "livecomp" not in desktop.run("pw-cli", "ls", "Node")


def test_a_pipewire_that_hangs_delays_nobody_and_goes_on(desktop: Desktop) -> None:
    desktop.signal_pipewire(signal.SIGSTOP)
    try:
        start = time.monotonic()
        writer = PipewireWriter(SIZE_WH, FPS)
        assert time.monotonic() - start < 2
        start = time.monotonic()
        for number in range(10):
            writer.send(numbered(number))
        assert time.monotonic() - start < 0.2
    finally:
        desktop.signal_pipewire(signal.SIGCONT)
    try:
        with filming(writer):
            assert len(numbers(desktop.pictures(10, SIZE_WH))) == 10
            desktop.signal_pipewire(signal.SIGSTOP)
            start = time.monotonic()
            for number in range(10):
                writer.send(numbered(number))
            assert writer.viewers() is not None
            assert time.monotonic() - start < 0.2
            desktop.signal_pipewire(signal.SIGCONT)
            assert len(numbers(desktop.pictures(10, SIZE_WH))) == 10
    finally:
        desktop.signal_pipewire(signal.SIGCONT)
        writer.close()


def test_the_library_prints_nothing(desktop: Desktop, capfd: pytest.CaptureFixture[str]) -> None:
    PipewireWriter(SIZE_WH, FPS).close()
    desktop.stop_pipewire()
    assert find_pipewire().trouble
    assert capfd.readouterr() == ("", "")


def test_without_a_folder_for_sockets_it_is_told(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path))
    found = find_pipewire()
    assert not found.version
    assert "PipeWire does not run for this user" in found.trouble or "library cannot be used" in found.trouble
