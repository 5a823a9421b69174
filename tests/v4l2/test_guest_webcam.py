"""A call with a USB webcam that the kernel's uvcvideo drives: what `guest.webcam_call` saw is judged here.

As in `test_guest_call`, times are stretched by how much slower the product is where it is emulated.
"""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from livecomp.frame import U8Array
from tests.v4l2.guest.devices import LABEL
from tests.v4l2.guest.hold import FIRST_PICTURE_S, RECONNECT_S, STALL_S, Told, run_story
from tests.v4l2.guest.machine import MODULES
from tests.v4l2.guest.story import FPS, SIZE_WH
from tests.v4l2.guest.webcam_call import PICTURES, Read
from tests.v4l2.shim import yuyv_from_rgb

pytestmark = [pytest.mark.v4l2, pytest.mark.slow, pytest.mark.timeout(420)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told[Read]:
    share = tmp_path_factory.mktemp("webcam")
    for name, data in zip(PICTURES, encoded(room()), strict=True):
        (share / name).write_bytes(data)
    modules = {"vhci_hcd": (), "uvcvideo": (), "v4l2loopback": MODULES["v4l2loopback"]}
    facts, driver_version = run_story("webcam_call", share, modules)
    return Told(share, facts, [Read(**read) for read in facts.pop("pictures")], driver_version)


def stretch(told: Told[Read]) -> float:
    return told.stretch(("reading", "unplugged"))


def room() -> U8Array:
    """A green room with a white square in it."""
    rgb = np.full((SIZE_WH[1], SIZE_WH[0], 3), (0, 255, 0), np.uint8)
    rgb[60:120, 120:200] = 255
    return rgb


def encoded(rgb: U8Array) -> tuple[bytes, bytes, bytes]:
    """A JPEG, a part of it, and YUYV."""
    jpeg = bytes(cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1])
    return jpeg, jpeg[: len(jpeg) // 2], yuyv_from_rgb(rgb)


def test_it_is_listed_once_with_what_it_can(told: Told[Read]) -> None:
    (camera,) = json.loads((told.share / "devices.json").read_text())["cameras"]  # and not its node for metadata
    assert camera["name"].startswith("Test Webcam")
    assert camera["driver"] == "uvcvideo"
    assert {(mode["fourcc"], *mode["size_wh"], *mode["fps"]) for mode in camera["modes"]} == {
        ("YUYV", *SIZE_WH, 2.0), ("MJPG", *SIZE_WH, 10.0, 5.0), ("MJPG", 640, 360, 5.0),
    }  # fmt: skip


def test_jpeg_is_chosen_where_raw_pictures_come_too_slowly(told: Told[Read]) -> None:
    log = told.log("call")
    assert f"MJPG {SIZE_WH[0]}x{SIZE_WH[1]}" in log
    assert "Traceback" not in log
    assert told.facts["ended"]["call"] == 0
    assert told.facts["status"]["device"].startswith(LABEL)


def test_whole_pictures_are_shown_and_cut_ones_are_not(told: Told[Read]) -> None:
    assert {read.kind for read in told.pictures} <= {"composite", "slate"}
    assert not [read for read in told.pictures if read.is_room]
    composites = [read for read in told.pictures if read.kind == "composite"]
    assert len(composites) >= 45
    assert all(read.is_person for read in composites)


def test_pulled_out_it_is_a_slate_at_once_and_comes_back(told: Told[Read]) -> None:
    assert told.delay_s("unplugged", "slate") < (STALL_S + 1 / FPS) * stretch(told) + 1
    assert not told.between("slate after unplugged", "plugged")
    assert told.delay_s("plugged", "composite") < RECONNECT_S * stretch(told) + 1


def test_silent_it_is_a_slate_at_once_and_comes_back(told: Told[Read]) -> None:
    assert told.delay_s("silent", "slate") < (STALL_S + 1 / FPS) * stretch(told) + 1
    assert told.delay_s("loud", "composite") < FIRST_PICTURE_S + RECONNECT_S * stretch(told) + 1
