"""`livecomp run` on a desktop: browsers find it through PipeWire, as Firefox does on Fedora."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from livecomp.frame import U8Array
from tests.pipewire.desktop import Desktop, why_not
from tests.pipewire.provider import NV12, Provider, format_of, nv12
from tests.v4l2 import shim
from tests.v4l2.browser.marks import NUMBERS, write_numbered_video
from tests.v4l2.browser.viewer import FIREFOX, PROGRAM, Seen, Viewer
from tests.v4l2.system import System

pytestmark = pytest.mark.v4l2

SIZE_WH = (640, 360)
GREEN, PERSON = (0, 177, 64), (150, 110, 90)
CHEAP = ("--segmenter", "chroma", "--model", "identity", "-W", "640", "-H", "360")


def room() -> U8Array:
    """Somebody before a green wall."""
    rgb = np.full((SIZE_WH[1], SIZE_WH[0], 3), GREEN, np.uint8)
    rgb[120:240, 240:400] = PERSON
    return rgb


class DesktopSystem(System):
    """A computer with a camera, a device of v4l2loopback and a desktop."""

    desktop: Desktop | None = None

    @property
    def variables(self) -> dict[str, str]:
        """The environment of programs that run in it."""
        assert self.desktop is not None
        return {**self.desktop.variables, **super().variables}


class PipewireSystem(DesktopSystem):
    """One whose cameras are PipeWire's alone."""

    @property
    def devices_root(self) -> Path:
        return Path("/")


@pytest.fixture
def system(short_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DesktopSystem]:
    if reason := why_not() or shim.why_not():
        pytest.skip(reason)
    computer = DesktopSystem(short_path, shim.build(tmp_path_factory.mktemp("shim")))
    computer.camera.play([room(), room()])
    with Desktop(short_path) as desktop:
        computer.desktop = desktop
        yield computer


def mean_colors(pictures: Sequence[bytes]) -> list[tuple[U8Array, U8Array]]:
    """Of the scene's corner and of the person's middle, RGB."""
    found = []
    for picture in pictures:
        rgb = np.asarray(
            cv2.cvtColor(np.frombuffer(picture, np.uint8).reshape(360, 640, 2), cv2.COLOR_YUV2RGB_YUY2), np.uint8
        )
        found.append((rgb[20, 20], rgb[180, 320]))
    return found


def shows_the_scene(frames: list[Seen]) -> list[int]:
    """The numbers of composites, which have to be whole and in order; and no room anywhere."""
    assert {frame.kind for frame in frames} <= {"composite", "slate"}
    assert not any(frame.room for frame in frames)
    composites = [frame for frame in frames if frame.kind == "composite"]
    assert not any(frame.is_torn for frame in composites)
    numbers = [frame.number for frame in composites if frame.number is not None]
    assert all(0 < (later - earlier) % NUMBERS < NUMBERS // 2 for earlier, later in pairwise(numbers))
    return numbers


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("program", [PROGRAM, FIREFOX])
def test_a_browser_finds_livecomp_wakes_it_and_is_left_with_a_slate(system: DesktopSystem, program: str) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed: apt-get install {program}")
    assert system.desktop is not None
    system.desktop.start_portal()
    scene = system.root / "scene.mp4"
    write_numbered_video(scene, size_wh=SIZE_WH, fps=60, seconds=120)
    watching = Viewer(
        "LiveComp", size_wh=SIZE_WH, program=program, by_pipewire=True, variables=system.desktop.variables
    )
    with system.camera, system.call(*CHEAP, "-b", scene, "-o", "pipewire") as call, watching as viewer:
        call.wait_until(lambda: "the call runs to LiveComp (PipeWire)" in call.said, 60)
        viewer.wait_for("loaded", 60)
        time.sleep(1)
        assert system.status()["state"] == "sleeping"
        assert system.camera.streaming == 0
        assert viewer.choose(30) == "LiveComp"
        viewer.wait_until(lambda: any(frame.kind == "composite" for frame in viewer.seen()), 20, "a composite")
        begun = time.time()
        viewer.wait_until(lambda: len(viewer.seen(since_s=begun)) >= 90, 30, "90 frames")
        seconds = viewer.seen(since_s=begun)[89].time_s - begun
        assert system.status()["state"] == "live"
        call.end()
        ended = time.time()
        time.sleep(1)
        seen = viewer.seen()
        assert "no camera" not in str(viewer.reports("failed"))
    numbers = shows_the_scene(seen)
    assert len(numbers) > 60
    assert seconds < 6, "90 frames take 3 s"
    assert seen[-1].kind == "slate", f"the last picture is of {seen[-1].time_s - ended:.2f} s after the end"


def test_one_call_is_in_both_places_and_wakes_for_either(system: DesktopSystem) -> None:
    assert system.desktop is not None
    system.loopback.consumers = 0
    with system.camera, system.call(*CHEAP, "-b", "#a03020") as call:
        call.wait_until(lambda: "the call runs to LiveComp (" in call.said, 60)
        assert f"LiveComp ({system.root}/dev/video10, PipeWire)" in call.said
        pictures = system.desktop.pictures(60, SIZE_WH)
        assert len(pictures) == 60
        call.wait_until(lambda: system.loopback.rgb()[5, 5][0] > 140, 5, "the scene in v4l2loopback, too")
        # one of them fails, and the other goes on
        system.desktop.stop_pipewire()
        call.wait_until(lambda: "PipeWire" in system.status()["detail"], 5, "the word on it")
        assert system.status()["device"] == f"LiveComp ({system.root}/dev/video10)"
        written = system.loopback.frames
        call.wait_until(lambda: system.loopback.frames > written + 2, 5, "pictures in v4l2loopback")
        system.desktop.start_pipewire()
        call.wait_until(lambda: not system.status()["detail"], 5, "the end of the trouble")
        assert len(system.desktop.pictures(10, SIZE_WH)) == 10
        call.end()


def test_a_camera_that_only_pipewire_has_is_used_unplugged_and_used_again(
    short_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if reason := why_not() or shim.why_not():
        pytest.skip(reason)
    scene = (160, 48, 32)
    computer = PipewireSystem(short_path, shim.build(tmp_path_factory.mktemp("shim")))

    def built_in() -> Provider:
        return Provider([format_of(SIZE_WH, NV12)], lambda _: nv12(room(), 704), stride=704)

    with Desktop(short_path) as desktop, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_RUNTIME_DIR", desktop.variables["XDG_RUNTIME_DIR"])
        computer.desktop = desktop
        options = (*CHEAP, "-b", "#a03020", "--camera", "built-in", "-o", "pipewire", "--no-ondemand")
        with built_in() as camera, computer.call(*options) as call:
            call.wait_until_live()
            for corner, middle in mean_colors(desktop.pictures(30, SIZE_WH)):
                assert abs(corner.astype(int) - scene).max() <= 4
                assert abs(middle.astype(int) - PERSON).max() <= 4
            camera.unplug()
            call.wait_until(lambda: computer.status()["state"] == "no camera", 3, "the slate")
            for corner, _ in mean_colors(desktop.pictures(10, SIZE_WH)):
                assert abs(corner.astype(int) - GREEN).max() > 60
            with built_in():
                call.wait_until(lambda: computer.status()["state"] == "live", 4, "the camera's return")
                assert len(desktop.pictures(30, SIZE_WH)) == 30
                said = call.end()
    assert "the camera is gone: PipeWire ended the stream" in said
