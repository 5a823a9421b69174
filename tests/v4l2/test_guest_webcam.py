"""A call with a USB webcam that the kernel's uvcvideo drives: what `guest.webcam_call` saw is judged here.

As in `test_guest_call`, times are stretched by how much slower the product is where it is emulated.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import cv2
import numpy as np
import pytest

from livecomp.frame import U8Array
from tests.v4l2.guest.devices import LABEL
from tests.v4l2.guest.hold import run_story
from tests.v4l2.guest.machine import MODULES
from tests.v4l2.guest.story import FPS, SIZE_WH
from tests.v4l2.guest.webcam_call import PICTURES, Read
from tests.v4l2.shim import yuyv_from_rgb

pytestmark = [pytest.mark.v4l2, pytest.mark.slow, pytest.mark.timeout(420)]

STALL_S = 1.0
RECONNECT_S = 2.0
FIRST_PICTURE_S = 3.0


@dataclass(frozen=True, slots=True)
class Told:
    """What the guest left.

    Args:
        share: Folder with the logs.
        facts: As `guest.webcam_call` wrote them.
        pictures: What was read.
    """

    share: Path
    facts: dict[str, Any]
    pictures: list[Read]

    def between(self, start: str, end: str, kind: str = "composite") -> list[Read]:
        start_s, end_s = self.facts["marks"][start], self.facts["marks"][end]
        return [read for read in self.pictures if read.kind == kind and start_s <= read.time_s < end_s]

    def delay_s(self, mark: str, kind: str) -> float:
        """Seconds from a mark to the first picture of a kind."""
        since_s = self.facts["marks"][mark]
        return min(read.time_s for read in self.pictures if read.kind == kind and read.time_s > since_s) - since_s

    @property
    def stretch(self) -> float:
        """How many times slower than meant the product is here: at least 1."""
        times = [read.time_s for read in self.between("reading", "unplugged")]
        return max(1.0, FPS * median(later - earlier for earlier, later in pairwise(times)))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    share = tmp_path_factory.mktemp("webcam")
    for name, data in zip(PICTURES, encoded(room()), strict=True):
        (share / name).write_bytes(data)
    modules = {"vhci_hcd": (), "uvcvideo": (), "v4l2loopback": MODULES["v4l2loopback"]}
    facts, _ = run_story("webcam_call", share, modules)
    return Told(share, facts, [Read(**read) for read in facts.pop("pictures")])


def room() -> U8Array:
    """A green room with a white square in it."""
    rgb = np.full((SIZE_WH[1], SIZE_WH[0], 3), (0, 255, 0), np.uint8)
    rgb[60:120, 120:200] = 255
    return rgb


def encoded(rgb: U8Array) -> tuple[bytes, bytes, bytes]:
    """A JPEG, a part of it, and YUYV."""
    jpeg = bytes(cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
    return jpeg, jpeg[: len(jpeg) // 2], yuyv_from_rgb(rgb)


def test_it_is_listed_once_with_what_it_can(told: Told) -> None:
    (camera,) = json.loads((told.share / "devices.json").read_text())["cameras"]  # and not its node for metadata
    assert camera["name"].startswith("Test Webcam")
    assert camera["driver"] == "uvcvideo"
    assert {(mode["fourcc"], *mode["size_wh"], *mode["fps"]) for mode in camera["modes"]} == {
        ("YUYV", *SIZE_WH, 2.0), ("MJPG", *SIZE_WH, 10.0, 5.0), ("MJPG", 640, 360, 5.0),
    }  # fmt: skip


def test_jpeg_is_chosen_where_raw_pictures_come_too_slowly(told: Told) -> None:
    log = (told.share / "call.log").read_text()
    assert f"MJPG {SIZE_WH[0]}x{SIZE_WH[1]}" in log
    assert "Traceback" not in log
    assert told.facts["ended"]["call"] == 0
    assert told.facts["status"]["device"].startswith(LABEL)


def test_whole_pictures_are_shown_and_cut_ones_are_not(told: Told) -> None:
    assert {read.kind for read in told.pictures} <= {"composite", "slate"}
    assert not [read for read in told.pictures if read.is_room]
    composites = [read for read in told.pictures if read.kind == "composite"]
    assert len(composites) >= 45
    assert all(read.is_person for read in composites)


def test_pulled_out_it_is_a_slate_at_once_and_comes_back(told: Told) -> None:
    assert told.delay_s("unplugged", "slate") < (STALL_S + 1 / FPS) * told.stretch + 1
    assert not told.between("slate after unplugged", "plugged")
    assert told.delay_s("plugged", "composite") < RECONNECT_S * told.stretch + 1


def test_silent_it_is_a_slate_at_once_and_comes_back(told: Told) -> None:
    assert told.delay_s("silent", "slate") < (STALL_S + 1 / FPS) * told.stretch + 1
    assert told.delay_s("loud", "composite") < FIRST_PICTURE_S + RECONNECT_S * told.stretch + 1
