from __future__ import annotations

from fractions import Fraction

import pytest

from livecomp.capture.negotiate import Mode, choose_mode

Asked = tuple[tuple[int, int], int]
Entry = tuple[str, tuple[int, int], tuple[int | str, ...]]

# What an ordinary USB 2 webcam offers
WEBCAM: list[Entry] = [
    ("YUYV", (640, 480), (30, 15)),
    ("YUYV", (640, 360), (30,)),
    ("YUYV", (1280, 720), (10, 5)),
    ("YUYV", (1920, 1080), (5,)),
    ("MJPG", (640, 360), (30,)),
    ("MJPG", (1280, 720), (60, 30)),
    ("MJPG", (1920, 1080), (30,)),
]
RAW = [entry for entry in WEBCAM if entry[0] == "YUYV"]


def modes(entries: list[Entry]) -> list[Mode]:
    return [Mode(fourcc, size_wh, tuple(map(Fraction, rates))) for fourcc, size_wh, rates in entries]


@pytest.mark.parametrize(
    ("entries", "asked", "expected"),
    [
        (WEBCAM, ((640, 360), 30), ("YUYV", (640, 360), 30)),
        (WEBCAM, ((1280, 720), 30), ("MJPG", (1280, 720), 30)),
        (WEBCAM, ((1280, 720), 10), ("YUYV", (1280, 720), 10)),
        (WEBCAM, ((1920, 1080), 30), ("MJPG", (1920, 1080), 30)),
        (WEBCAM, ((960, 540), 30), ("MJPG", (1280, 720), 30)),
        (WEBCAM, ((320, 180), 30), ("YUYV", (640, 360), 30)),
        (RAW, ((1280, 720), 30), ("YUYV", (640, 360), 30)),
        ([("YUYV", (1280, 720), (25,)), ("YUYV", (320, 180), (30,))], ((1280, 720), 30), ("YUYV", (1280, 720), 25)),
        ([("YUYV", (640, 360), ("30000/1001",))], ((640, 360), 30), ("YUYV", (640, 360), Fraction(30000, 1001))),
        ([("H264", (640, 360), (30,)), ("NV12", (640, 360), ())], ((640, 360), 30), ("NV12", (640, 360), 30)),
        ([("YUYV", (640, 480), (30,)), ("YUYV", (360, 640), (30,))], ((640, 360), 30), ("YUYV", (640, 480), 30)),
    ],
)
def test_the_best_mode(entries: list[Entry], asked: Asked, expected: tuple[str, tuple[int, int], int]) -> None:
    chosen = choose_mode(modes(entries), asked[0], Fraction(asked[1]))
    assert chosen is not None
    mode, rate = chosen
    assert (mode.fourcc, mode.size_wh, rate) == expected


def test_none_where_nothing_can_be_read() -> None:
    assert choose_mode([], (640, 360), Fraction(30)) is None
    assert choose_mode(modes([("H264", (640, 360), (30,))]), (640, 360), Fraction(30)) is None
