"""A call with real drivers and a real browser: what `guest.call` saw is judged here.

`make test-v4l2` gets what the guest is made of and sets LIVECOMP_GUEST; without it these tests are skipped.

Times are those of the guest's clock, which runs as fast as this computer's; programs in it run 30 to 70 times slower.
Limits that are meant for a computer that is not emulated are stretched by `Told.stretch`: by how much fewer composites
come than the camera gives pictures, while nothing happens. On such a computer every picture becomes one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from livecomp.output.loopback import OLD
from tests.v4l2.browser.marks import write_numbered_video
from tests.v4l2.browser.viewer import Seen
from tests.v4l2.guest import call
from tests.v4l2.guest.devices import CAMERA_ID, LABEL
from tests.v4l2.guest.hold import FIRST_PICTURE_S, GUEST_S, RECONNECT_S, STALL_S, Told, run_story
from tests.v4l2.guest.story import FPS, SIZE_WH

pytestmark = [pytest.mark.v4l2, pytest.mark.slow, pytest.mark.timeout(420)]

VIEWER_S = 1.0
"""From the virtual camera to what the page says, which is emulated as well."""


@dataclass(frozen=True)
class CallTold(Told[Seen]):
    """What the guest left, and also what came through WebRTC.

    Args:
        received: Pictures of the other side.
    """

    received: list[Seen]

    @property
    def slowness(self) -> float:
        """See `Told.stretch`."""
        return self.stretch(("alone", "unplugged"), ("plugged", "half"), ("loud", "killed"))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> CallTold:
    share = tmp_path_factory.mktemp("guest")
    write_numbered_video(share / call.SCENE, size_wh=SIZE_WH, fps=20, seconds=GUEST_S)
    facts, driver_version = run_story("call", share)
    frames = {stream: [Seen(**frame) for frame in seen] for stream, seen in facts.pop("frames").items()}
    return CallTold(share, facts, frames["camera"], driver_version, frames["received"])


def test_the_drivers_are_known_for_what_they_are(told: CallTold) -> None:
    devices = json.loads((told.share / "devices.json").read_text())
    (camera,), (virtual,) = devices["cameras"], devices["virtual_cameras"]
    assert (camera["name"], camera["driver"], camera["stable_id"]) == ("vivid", "vivid", CAMERA_ID)
    assert {mode["fourcc"] for mode in camera["modes"]} >= {"YUYV", "NV12", "RGB3"}
    assert [320, 180] in [mode["size_wh"] for mode in camera["modes"] if 5.0 in mode["fps"]]
    assert (virtual["label"], virtual["exclusive_caps"], virtual["is_free"]) == (LABEL, True, True)
    assert virtual["driver_version"] == (told.driver_version or OLD)
    has_fault = any("lets only one program write" in fault for fault in virtual["faults"])
    assert has_fault == (not told.driver_version)
    assert "vivid gives YUYV 320x180 at 5 fps" in told.log("first")


def test_a_device_that_is_taken_is_refused_with_the_name_of_who_has_it(told: CallTold) -> None:
    assert told.facts["ended"]["busy"] == 4
    assert f"is taken: python (process {told.facts['other']}) has it open" in told.log("busy")


def test_a_device_that_others_left_unusable_is_used(told: CallTold) -> None:
    # neither capture nor output is the fault of 0.12.7
    assert told.facts["left"] == [False, bool(told.driver_version)]
    assert told.between("choosing", "others")


def test_the_camera_sleeps_until_somebody_watches_and_again_when_they_left(told: CallTold) -> None:
    # `guest.call` waits for each of these
    assert told.mark("sleeping") <= told.mark("the camera is free") <= told.mark("choosing")
    assert told.mark("left") <= told.mark("sleeping again") <= told.mark("the camera is free again")


def test_the_browser_finds_it_by_its_label_and_gets_whole_pictures_in_order(told: CallTold) -> None:
    assert LABEL in told.facts["label"]
    for start, end in (("choosing", "killed"), ("restarted", "left")):
        composites = told.between(start, end)
        assert len(composites) >= 10
        assert not [frame for frame in composites if frame.is_torn]
        assert all(tuple(frame.size_wh) == SIZE_WH for frame in composites)
        numbers = [frame.number for frame in composites if frame.number is not None]
        assert numbers == sorted(numbers)
        assert len(set(numbers)) > len(numbers) // 2


def test_nobody_ever_sees_the_room(told: CallTold) -> None:
    seen = told.pictures + told.received
    assert len(seen) > 100
    assert {frame.kind for frame in seen} <= {"composite", "slate"}
    assert [frame.room for frame in seen if frame.room] == []


def test_others_are_refused_and_do_no_harm(told: CallTold) -> None:
    assert told.facts["ended"]["second"] == told.facts["ended"]["elsewhere"] == 4
    assert "another LiveComp runs" in told.log("second")
    assert "is taken" in told.log("elsewhere")
    assert told.facts["ended"]["producer"] == 1
    assert "not a video output device" in told.log("producer")
    assert told.between("others", "alone")


def test_an_unplugged_camera_is_a_slate_at_once_and_comes_back(told: CallTold) -> None:
    assert told.delay_s("unplugged", "slate") < (STALL_S + 1 / FPS) * told.slowness + VIEWER_S
    assert not told.between("slate after unplugged", "plugged")
    assert told.delay_s("plugged", "composite") < RECONNECT_S * told.slowness + VIEWER_S


def test_a_silent_camera_is_a_slate_at_once_and_comes_back(told: CallTold) -> None:
    assert len(told.between("half", "silent")) >= 6  # every second picture is enough
    assert told.delay_s("silent", "slate") < (STALL_S + 1 / FPS) * told.slowness + VIEWER_S
    assert told.delay_s("loud", "composite") < FIRST_PICTURE_S + RECONNECT_S * told.slowness + VIEWER_S


def test_the_track_lives_through_all_of_it(told: CallTold) -> None:
    assert "ended" not in told.facts["track"]
    assert told.delay_s("killed", "slate") < 10  # after 11 s without a picture Chromium gives a camera up
    assert len(told.between("restarted", "connected")) >= 10


def test_it_reaches_others_through_webrtc(told: CallTold) -> None:
    received = [frame for frame in told.received if frame.kind == "composite"]
    assert len(received) >= 10
    numbers = [frame.number for frame in received if frame.number is not None]
    assert numbers == sorted(numbers)


def test_it_ends_as_it_should(told: CallTold) -> None:
    assert told.facts["ended"]["again"] == 0
    assert "Traceback" not in told.log("first") + told.log("again")
