"""`livecomp run` from end to end, with a camera and a virtual camera that the test controls."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pytest

from livecomp.capture.demo import DemoSource
from livecomp.frame import U8Array
from tests.v4l2.browser.marks import NUMBERS, write_numbered_video
from tests.v4l2.browser.viewer import PROGRAM, Viewer
from tests.v4l2.shim import CameraState
from tests.v4l2.system import System

pytestmark = pytest.mark.v4l2

SIZE_WH = (640, 360)
GREEN, PERSON = (0, 177, 64), (150, 110, 90)
CHEAP = ("--segmenter", "chroma", "--model", "identity", "-W", 640, "-H", 360)
RED, BLUE = "#a03020", "#2030a0"


def room() -> U8Array:
    """Somebody before a green wall."""
    rgb = np.full((SIZE_WH[1], SIZE_WH[0], 3), GREEN, np.uint8)
    rgb[120:240, 240:400] = PERSON
    return rgb


def green_pixels(rgb: U8Array) -> int:
    red, green, blue = (rgb[..., channel].astype(int) for channel in range(3))
    return int(((green > 100) & (green > np.maximum(red, blue) + 50)).sum())


@pytest.fixture
def system(tmp_path: Path, fake_v4l2: Path) -> System:
    return System(tmp_path, fake_v4l2)


def options(*more: str | Path | float) -> list[str]:
    return [str(option) for option in (*CHEAP, *more)]


def in_front(system: System) -> bool:
    """Whether the scene, not a slate, is shown."""
    corner = system.loopback.rgb()[5, 5].astype(int)
    return bool(abs(corner - [160, 48, 32]).max() < 12)


# A real matte, a real network and a real browser.


def portraits() -> list[U8Array]:
    """The built-in portrait as a bust that leaves the number bands of the scene free."""
    source = DemoSource()
    source.open()
    shown = []
    for _ in range(45):
        frame = source.read()
        assert frame is not None
        picture = np.full((SIZE_WH[1], SIZE_WH[0], 3), (96, 92, 88), np.uint8)
        small = np.asarray(cv2.resize(frame.rgb, (400, 225), interpolation=cv2.INTER_AREA), np.uint8)
        picture[60:285, 120:520] = small
        shown.append(picture)
    source.close()
    return shown


@pytest.mark.timeout(240)
def test_a_browser_gets_every_picture_whole_and_in_order_through_unplug_and_replug(
    tmp_path: Path, fake_v4l2: Path
) -> None:
    if shutil.which(PROGRAM) is None:
        pytest.skip(f"{PROGRAM} is not installed: apt-get install {PROGRAM}")
    system = System(tmp_path, fake_v4l2)
    scene = tmp_path / "scene.mp4"
    write_numbered_video(scene, size_wh=SIZE_WH, fps=60, seconds=200)
    system.camera.play(portraits())
    run = system.call("-b", scene, "-W", "640", "-H", "360", "--no-ondemand")
    with system.camera, run as call:
        call.wait_until_live()
        with Viewer("LiveComp", size_wh=SIZE_WH, fake_camera=system.loopback.y4m) as viewer:
            viewer.wait_for("loaded", 60)
            assert "LiveComp" in viewer.choose(60)
            begun = time.time()
            viewer.wait_until(lambda: len(viewer.seen(since_s=begun)) >= 120, 60, "120 frames")
            away = time.time()
            system.camera.state = CameraState.UNPLUGGED
            viewer.wait_until(
                lambda: any(frame.kind == "slate" for frame in viewer.seen(since_s=away)), 10, "the slate"
            )
            slate_s = next(frame.time_s for frame in viewer.seen(since_s=away) if frame.kind == "slate") - away
            back = time.time()
            system.camera.state = CameraState.THERE
            viewer.wait_until(
                lambda: any(frame.kind == "composite" for frame in viewer.seen(since_s=back)), 10, "a composite"
            )
            back_s = next(frame.time_s for frame in viewer.seen(since_s=back) if frame.kind == "composite") - back
            viewer.wait_until(lambda: len(viewer.seen(since_s=back + back_s)) >= 30, 30, "30 frames more")
            seen = viewer.seen(since_s=begun)
        status = system.status()
        call.end()
    assert slate_s < 1.0
    assert back_s < 2.0
    composites = [frame for frame in seen if frame.kind == "composite" and frame.number is not None]
    # the file may be read in the middle of being rewritten, which no driver allows: such a picture shows two numbers
    torn = [frame for frame in composites if frame.is_torn]
    assert len(torn) <= len(composites) // 50
    numbers = [frame.number for frame in composites if not frame.is_torn and frame.number is not None]
    steps = [(later - earlier) % NUMBERS for earlier, later in pairwise(numbers)]
    assert max(steps) < NUMBERS // 2, "pictures went back"
    assert {frame.kind for frame in seen} <= {"composite", "slate"}
    assert status["missed"] == 0
    assert len(set(numbers)) > len(numbers) // 2  # the browser reads at its own rate, the same one again if need be


# What it answers to.


@pytest.mark.parametrize("by", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_nothing_behind(system: System, by: signal.Signals) -> None:
    system.camera.show(room())
    with system.call(*options("-b", RED, "--no-ondemand")) as call:
        call.wait_until_live()
        assert in_front(system)
        assert green_pixels(system.loopback.rgb()) == 0
        assert (system.root / "run/livecomp/ctl.sock").stat().st_mode & 0o777 == 0o600
        said = call.end(by)
    assert "ended: " in said
    assert "Warning" not in said
    assert "Traceback" not in said
    assert not (system.root / "run/livecomp/ctl.sock").exists()
    assert system.camera.streaming == 0
    assert system.loopback.producer == 0


def test_ctl_and_an_edited_file_act_within_100_ms_and_drop_no_frame(system: System) -> None:
    system.config_file.parent.mkdir()
    system.config_file.write_text("[live]\nfade_ms = 0\nadapt = false\n")
    system.camera.play([room(), room()])
    colors = {RED: (160, 48, 32), BLUE: (32, 48, 160)}
    delays: dict[str, list[float]] = {"ctl": [], "file": []}
    with system.camera, system.call(*options("-b", RED, "--no-ondemand")) as call:
        call.wait_until_live()

        def shows(color: str) -> bool:
            corner = system.loopback.rgb()[5, 5].astype(int)
            return bool(abs(corner - colors[color]).max() < 12)

        time.sleep(1)
        dropped = system.status()["dropped"]
        for turn in range(10):
            color = (BLUE, RED)[turn % 2]
            start = time.monotonic()
            if turn < 5:
                assert system.ask(do="set", values={"background.source": color})["ok"]
            else:
                text = f'[background]\nsource = "{color}"\n[live]\nfade_ms = 0\nadapt = false\n'
                system.config_file.write_text(text)
            call.wait_until(lambda color=color: shows(color), 5, f"the change to {color}")
            delays["ctl" if turn < 5 else "file"].append(time.monotonic() - start)
            time.sleep(0.2)
        lost = system.status()["dropped"] - dropped
        call.end()
    assert median(delays["ctl"]) < 0.1, delays
    assert median(delays["file"]) < 0.15, delays  # 100 ms, and up to one frame until the consumer looks
    assert lost <= 1, f"{lost} frames were dropped"


def test_a_bad_edit_keeps_the_last_good_one_and_says_what_is_wrong(system: System) -> None:
    system.config_file.parent.mkdir()
    system.config_file.write_text(f'[background]\nsource = "{RED}"\n')
    system.camera.show(room())
    with system.call(*options("--no-ondemand")) as call:
        call.wait_until_live()
        for text, words in (
            ("[composite]\nlight_warp = 1\n", ("line 2", "light_wrap")),
            ("[composite\n", ("no valid TOML",)),
            ("[live]\nwidth = 320\n", ("live.width", "cannot change")),
        ):
            system.config_file.write_text(text)
            call.wait_until(lambda words=words: words[0] in system.status()["detail"], 5, f"the word on {text!r}")
            assert all(word in system.status()["detail"] for word in words)
            assert in_front(system)
        system.config_file.write_text(f'[background]\nsource = "{BLUE}"\n')
        call.wait_until(lambda: not in_front(system), 5, "the good edit")
        call.wait_until(lambda: system.status()["detail"] == "", 5, "the end of the trouble")
        call.end()


def test_ctl_changes_a_call(system: System) -> None:
    system.camera.play([room(), room()])
    with system.camera, system.call(*options("-b", RED, "--no-ondemand")) as call:
        call.wait_until_live()
        for action, state in (("freeze", "frozen"), ("slate", "slate"), ("pause", "paused"), ("resume", "live")):
            assert system.livecomp("ctl", action).returncode == 0
            call.wait_until(lambda state=state: system.status()["state"] == state, 5, state)
            if action == "pause":
                call.wait_until(lambda: system.camera.streaming == 0, 5, "the camera's release")
        assert system.livecomp("ctl", "strength", "0.25", "0.5").returncode == 0
        assert system.livecomp("ctl", "set", "composite.light_wrap=0", "smooth.filter=none").returncode == 0
        changed = system.ask(do="config")["config"]
        assert changed["composite.color_strength"] == 0.25
        assert changed["composite.shading_strength"] == 0.5
        assert changed["composite.light_wrap"] == 0
        assert changed["smooth.filter"] == "none"
        for wrong, words, code in (
            (["background", "missing.jpg"], "no background", 8),
            (["set", "composite.light_warp=1"], "did you mean composite.light_wrap", 8),
            (["set", "composite.light_wrap=2"], "less than or equal to 1", 8),
            (["set", "live.width=320"], "cannot change", 8),
            (["set", "live.slate=nowhere.png"], "cannot read", 3),
            (["segmenter", "magic"], "known are", 8),
        ):
            answer = system.livecomp("ctl", *wrong)
            assert answer.returncode == code
            assert words in answer.stderr
        assert "640x360" in system.livecomp("ctl", "status").stdout
        assert system.livecomp("ctl", "stop").returncode == 0
        call.wait_until_ended()
    assert system.livecomp("ctl", "status").returncode == 3


# What happens around it.


def test_the_camera_sleeps_until_somebody_watches(tmp_path: Path, fake_v4l2: Path) -> None:
    system = System(tmp_path, fake_v4l2, usage_events=True)
    system.camera.show(room())
    with system.call(*options("-b", RED)) as call:
        call.wait_until(lambda: "the call runs" in call.said, 60)
        assert system.status()["state"] == "sleeping"
        time.sleep(0.5)
        assert system.camera.delivered == system.camera.streaming == 0
        written = system.loopback.frames
        system.loopback.consumers = 1
        call.wait_until(lambda: system.status()["state"] == "live", 3, "waking up")
        assert in_front(system)
        system.loopback.consumers = 0
        call.wait_until(lambda: system.camera.streaming == 0, 10, "falling asleep")
        # the device stays listed: a slate is written, now and then
        call.wait_until(lambda: not in_front(system), 5, "the slate")
        assert system.loopback.frames > written
        call.end()


@pytest.mark.parametrize("driver", [{"sticky": True}, {"has_tokens": True, "usage_events": True}])
def test_after_a_kill_the_next_call_has_the_same_device(
    tmp_path: Path, fake_v4l2: Path, driver: dict[str, bool]
) -> None:
    system = System(tmp_path, fake_v4l2, **driver)
    system.camera.show(room())
    with system.call(*options("-b", RED, "--no-ondemand")) as call:
        call.wait_until_live()
        call.wait_until(lambda: in_front(system), 5, "the scene")
        os.kill(call.pid, signal.SIGKILL)
    assert system.loopback.keeps_format == ("has_tokens" in driver)
    with system.call(*options("-b", BLUE, "--no-ondemand")) as call:
        call.wait_until_live()
        assert not in_front(system)
        call.end()
    assert not system.loopback.keeps_format


def test_a_second_call_is_told_of_the_first_and_does_no_harm(system: System) -> None:
    system.camera.show(room())
    with system.call(*options("-b", RED, "--no-ondemand")) as call:
        call.wait_until_live()
        second = [sys.executable, "-m", "livecomp", "run", *options("-b", BLUE), "--root", str(system.root)]
        for more, words in (([], "another LiveComp runs"), (["--socket", "other/ctl.sock"], "livecomp")):
            refused = subprocess.run(
                [*second, *more], env=system.variables, capture_output=True, text=True, cwd=system.root, check=False
            )
            assert refused.returncode == 4, refused.stderr
            assert words in refused.stderr
        shown = system.loopback.frames
        call.wait_until(lambda: system.loopback.frames > shown + 5, 5, "more pictures")
        assert in_front(system)
        call.end()


@pytest.mark.parametrize("log", ["a full disk", "a pipe that nobody reads any more"])
def test_a_log_that_cannot_be_written_does_not_end_the_call(system: System, log: str) -> None:
    system.camera.show(room())
    is_disk = log == "a full disk"
    reading, writing = (None, os.open("/dev/full", os.O_WRONLY)) if is_disk else os.pipe()
    words = ["-vv"] if is_disk else []  # which would fill a pipe
    command = [sys.executable, "-m", "livecomp", *words, "run", *options("-b", RED, "--no-ondemand")]
    process = subprocess.Popen(
        [*command, "--root", str(system.root)], env=system.variables, stdout=writing, stderr=writing
    )
    os.close(writing)
    try:
        deadline = time.monotonic() + 60
        while system.loopback.frames < 40 and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert process.poll() is None
        assert in_front(system)
        if reading is not None:
            os.close(reading)
        system.camera.state = CameraState.UNPLUGGED  # something to log
        time.sleep(1)
        assert not in_front(system)
        system.camera.state = CameraState.THERE
        deadline = time.monotonic() + 10
        while not in_front(system) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert in_front(system)
        process.send_signal(signal.SIGTERM)
        process.wait(15)
    finally:
        process.kill()
        process.wait()


TROUBLES = [(CameraState.BUSY, "in use by"), (CameraState.FORBIDDEN, "usermod -aG video")]


@pytest.mark.parametrize(("state", "words"), TROUBLES)
def test_a_camera_that_cannot_be_had_is_told_though_nobody_watches(
    tmp_path: Path, fake_v4l2: Path, state: CameraState, words: str
) -> None:
    system = System(tmp_path, fake_v4l2, usage_events=True)
    system.camera.state = state
    with system.call(*options("-b", RED)) as call:
        call.wait_until(lambda: words in call.said, 60, words)
        assert system.status()["state"] == "sleeping"
        call.end()
    assert system.camera.delivered == 0


@pytest.mark.parametrize(("state", "words"), TROUBLES)
def test_a_camera_that_cannot_be_had_is_told_and_taken_when_it_can(
    system: System, state: CameraState, words: str
) -> None:
    system.camera.show(room())
    system.camera.state = state
    with system.call(*options("-b", RED, "--no-ondemand")) as call:
        call.wait_until(lambda: "the call runs" in call.said, 60)
        call.wait_until(lambda: words in system.status()["detail"], 5, words)
        assert system.status()["state"] == "starting"
        system.camera.state = CameraState.THERE
        call.wait_until(lambda: in_front(system), 5, "the camera")
        assert words in call.said
        call.end()
