"""A call in the guest, from beginning to end; runs there, and leaves what was seen in a file.

    python -m tests.v4l2.guest.call SHARE

The camera is vivid: a green room with a white square as the person. `livecomp run` keys out the green and puts a
numbered video behind the square; Chromium watches what comes out of v4l2loopback, as it would in a call. Nothing is
judged here but what is needed to go on: the tests that read the file do that.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.v4l2.browser.viewer import Seen, Viewer, ViewerError

__all__ = ["CAMERA", "DEVICE", "FACTS", "FPS", "LABEL", "SCENE", "SIZE_WH"]

CAMERA = Path("/dev/video0")
DEVICE = Path("/dev/video10")
LABEL = "LiveComp"
SIZE_WH = (320, 180)
FPS = 10
SCENE = "scene.mp4"
FACTS = "facts.json"

_DRIVER = Path("/sys/bus/platform/drivers/vivid")
_GREEN_ROOM = "test_pattern=8,osd_text_mode=2,show_square=1"
_QUERYCAP, _CAPTURE = 0x80685600, 1
_SLOW_S = 90.0
_AWAY_S = 3.0


class Call:
    """The program, the viewer, and what happened when.

    Args:
        share: Folder with the scene, where logs and facts go.
    """

    def __init__(self, share: Path) -> None:
        self.viewer = Viewer(LABEL, size_wh=SIZE_WH)
        self.facts: dict[str, Any] = {"marks": {}}
        self._share = share
        self._begun = time.time()
        self._runs = 0

    def mark(self, name: str) -> float:
        """Note that something happens now; returns the time."""
        now = self.facts["marks"][name] = time.time()
        sys.stdout.write(f"{now - self._begun:7.2f} {name}\n")
        sys.stdout.flush()
        return float(now)

    def start_program(self) -> subprocess.Popen[bytes]:
        """One more `livecomp run`, with a log of its own."""
        self._runs += 1
        options = ["--camera", CAMERA, "--device", DEVICE, "--background", self._share / SCENE]
        options += ["--width", SIZE_WH[0], "--height", SIZE_WH[1], "--fps", FPS]
        options += ["--segmenter", "chroma", "--key-color", "#00ff00", "--model", "reinhard"]
        with (self._share / f"run{self._runs}.log").open("wb") as log:
            command = [sys.executable, "-m", "livecomp", "run", *map(str, options)]
            return subprocess.Popen(command, stdout=log, stderr=log)

    def wait_for_frames(self, count: int, kind: str, since_s: float, what: str, stream: str = "camera") -> None:
        """Wait until the viewer has seen so many frames of a kind since then."""

        def holds() -> bool:
            return sum(frame.kind == kind for frame in self.viewer.seen(stream, since_s=since_s)) >= count

        self.viewer.wait_until(holds, _SLOW_S, what)

    def write(self) -> None:
        """Leave what is known, whether or not all went well."""
        frames: dict[str, list[Seen]] = {stream: self.viewer.seen(stream) for stream in ("camera", "received")}
        self.facts["frames"] = {stream: [asdict(frame) for frame in seen] for stream, seen in frames.items()}
        self.facts["cameras"] = self.viewer.reports("cameras")
        self.facts["track"] = self.viewer.reports("track")
        (self._share / FACTS).write_text(json.dumps(self.facts))


def wait_until(holds: Callable[[], bool], what: str, program: subprocess.Popen[bytes] | None = None) -> None:
    """Wait for something that no report tells of.

    Raises:
        ViewerError: The program ended, or it takes too long.
    """
    deadline = time.monotonic() + _SLOW_S
    while not holds():
        if program is not None and program.poll() is not None:
            raise ViewerError(f"livecomp run ended with {program.returncode} while it was waited for: {what}")
        if time.monotonic() > deadline:
            raise ViewerError(f"{what}: not within {_SLOW_S} s")
        time.sleep(0.1)


def is_listed() -> bool:
    """Whether the virtual camera presents itself as a camera."""
    descriptor = os.open(DEVICE, os.O_RDWR)
    try:
        answer = bytearray(104)
        fcntl.ioctl(descriptor, _QUERYCAP, answer)
    finally:
        os.close(descriptor)
    return bool(struct.unpack_from("I", answer, 88)[0] & _CAPTURE)


def set_camera(controls: str) -> None:
    """Change controls of the camera."""
    subprocess.run(["v4l2-ctl", "-d", str(CAMERA), "-c", controls], check=True)


def unplug() -> None:
    """Take the camera away: its node vanishes, even while it is open."""
    (_DRIVER / "unbind").write_text("vivid.0")


def replug() -> None:
    """Give it back, and its picture."""
    (_DRIVER / "bind").write_text("vivid.0")
    wait_until(CAMERA.exists, "the camera's node")
    set_camera(_GREEN_ROOM)


def hold(call: Call) -> None:
    """Everything that happens in the call, in order."""
    set_camera(_GREEN_ROOM)
    with ExitStack() as ended:
        ended.enter_context(call.viewer)
        program = call.start_program()
        ended.callback(lambda: program.kill())
        call.mark("begun")
        wait_until(is_listed, "the virtual camera is listed", program)
        call.mark("listed")
        second = call.start_program()
        ended.callback(second.kill)
        call.viewer.wait_for("loaded", _SLOW_S)
        call.mark("loaded")
        call.facts["label"] = call.viewer.choose(_SLOW_S)
        chosen_s = call.mark("chosen")
        call.wait_for_frames(20, "composite", chosen_s, "the first composites")
        call.facts["second"] = second.wait(_SLOW_S)
        call.mark("watched")

        unplugged_s = call.mark("unplugged")
        unplug()
        call.wait_for_frames(1, "slate", unplugged_s, "a slate without a camera")
        time.sleep(_AWAY_S)
        call.mark("replugging")
        replug()
        call.wait_for_frames(10, "composite", call.mark("replugged"), "composites after the camera is back")

        set_camera("percentage_of_dropped_buffers=50")
        call.wait_for_frames(10, "composite", call.mark("half"), "composites with every second picture lost")
        silent_s = call.mark("silent")
        set_camera("percentage_of_dropped_buffers=100")
        call.wait_for_frames(1, "slate", silent_s, "a slate without pictures")
        time.sleep(_AWAY_S)
        set_camera("percentage_of_dropped_buffers=0")
        call.wait_for_frames(10, "composite", call.mark("loud"), "composites after pictures come again")

        killed_s = call.mark("killed")
        program.kill()
        program.wait()
        program = call.start_program()
        call.wait_for_frames(10, "composite", killed_s + 1, "composites after the program was killed and started again")
        call.mark("resumed")

        call.viewer.connect(_SLOW_S)
        call.wait_for_frames(10, "composite", call.mark("connected"), "frames through WebRTC", "received")
        call.mark("stopping")
        program.send_signal(signal.SIGTERM)
        call.facts["stopped"] = program.wait(_SLOW_S)
        call.mark("stopped")


def main() -> None:
    """Hold the call, and leave the facts."""
    call = Call(Path(sys.argv[1]))
    try:
        hold(call)
    finally:
        call.write()


if __name__ == "__main__":
    main()
