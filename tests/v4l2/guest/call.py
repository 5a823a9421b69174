"""A call in the guest, from beginning to end; runs there, and leaves what was seen in a file.

    python -m tests.v4l2.guest.call SHARE

The camera is vivid: a green room with a white square as the person. `livecomp run` keys out the green and puts a
numbered video behind the square; Chromium watches what comes out of v4l2loopback, as it would in a call. The video runs
by the time at which the camera took its pictures, so that a picture's number is that time in 1/60 s. Nothing is judged
here but what is needed to go on: the tests that read the file do that.
"""

from __future__ import annotations

import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from tests.v4l2.browser.viewer import Viewer
from tests.v4l2.guest import programs
from tests.v4l2.guest.devices import CAMERA_ID, DEVICE, LABEL, announces, plug, set_camera, unplug, uses_camera
from tests.v4l2.guest.programs import Program
from tests.v4l2.guest.story import FPS, SIZE_WH, SLOW_S, Story

__all__ = ["PICTURE", "SCENE"]

SCENE, PICTURE = "scene.mp4", "picture.png"

_AWAY_S = 3.0


class Call(Story):
    """The programs, the viewer, and what happened when."""

    def __init__(self, share: Path) -> None:
        super().__init__(share)
        self.viewer = Viewer(LABEL, size_wh=SIZE_WH)

    def call(self, name: str, *more: str | Path) -> Program:
        """`livecomp run` of this camera and this scene, begun."""
        return self.run(name, "-b", self.share / SCENE, "-i", CAMERA_ID, "-o", LABEL, "--fps", FPS, *more)

    def wait_for_frames(self, count: int, kind: str, since: str, stream: str = "camera") -> None:
        """Wait until the viewer has seen so many frames of a kind since a mark."""
        since_s = self.facts["marks"][since]

        def holds() -> bool:
            return sum(frame.kind == kind for frame in self.viewer.seen(stream, since_s=since_s)) >= count

        self.viewer.wait_until(holds, SLOW_S, f"{count} frames of the kind {kind} after {since!r}")
        self.mark(f"{kind} after {since}")

    def leave_facts(self) -> None:
        """Leave what is known and was seen, whether or not all went well."""
        streams = ("camera", "received")
        self.write(
            frames={stream: [asdict(frame) for frame in self.viewer.seen(stream)] for stream in streams},
            cameras=self.viewer.reports("cameras"),
            track=self.viewer.reports("track"),
        )


def find_the_device_busy(call: Call) -> None:
    """Another program has the virtual camera, and leaves it as such programs do."""
    devices = programs.start(call.share / "devices.json", "devices", "--json")
    call.end("devices", devices)
    other = programs.produce(call.share / "other.log", DEVICE, SIZE_WH)
    call.wait_until(lambda: announces()[0], "another program shows pictures")
    call.facts["other"] = other.pid
    call.end("busy", call.call("busy"))
    other.kill()
    other.join()
    call.facts["left"] = announces()


def begin(call: Call) -> Program:
    """The program is started, sleeps, and wakes when somebody watches."""
    program = call.call("first")
    call.mark("started")
    call.wait_until(lambda: announces()[0], "listed", program)
    call.viewer.wait_for("loaded", SLOW_S)
    call.mark("loaded")
    call.wait_until(lambda: call.is_in("sleeping"), "sleeping", program)
    call.wait_until(lambda: not uses_camera(program.pid), "the camera is free", program)
    call.mark("choosing")
    call.facts["label"] = call.viewer.choose(SLOW_S)
    call.mark("chosen")
    call.wait_for_frames(12, "composite", "choosing")
    (call.share / PICTURE).write_bytes(call.viewer.picture(SLOW_S))
    return program


def meet_others(call: Call) -> None:
    """Others want the virtual camera while it is used."""
    call.mark("others")
    call.end("second", call.call("second"))
    call.end("elsewhere", call.call("elsewhere", "--socket", "/run/tmp/elsewhere/ctl.sock"))
    call.end("producer", programs.produce(call.share / "producer.log", DEVICE, SIZE_WH))
    call.mark("alone")
    call.wait_for_frames(6, "composite", "alone")


def lose_the_camera(call: Call) -> None:
    """The camera is unplugged and plugged in again; then it loses half of its pictures, and all."""
    call.mark("unplugged")
    unplug()
    call.wait_for_frames(1, "slate", "unplugged")
    time.sleep(_AWAY_S)
    plug()
    call.mark("plugged")
    call.wait_for_frames(6, "composite", "plugged")

    set_camera(percentage_of_dropped_buffers=50)
    call.mark("half")
    call.wait_for_frames(6, "composite", "half")
    set_camera(percentage_of_dropped_buffers=100)
    call.mark("silent")
    call.wait_for_frames(1, "slate", "silent")
    time.sleep(_AWAY_S)
    set_camera(percentage_of_dropped_buffers=0)
    call.mark("loud")
    call.wait_for_frames(6, "composite", "loud")


def be_killed(call: Call, program: Program) -> Program:
    """The program is killed while it is watched, and started again."""
    program.kill()
    call.mark("killed")
    program.join()
    program = call.call("again")
    # what it had written last may still arrive
    call.wait_until(lambda: call.is_in("live"), "restarted", program)
    call.wait_for_frames(10, "composite", "restarted")
    return program


def hold(call: Call) -> None:
    """Everything that happens in the call, in order."""
    plug()
    with ExitStack() as ended:
        programs.start_importing()
        ended.enter_context(call.viewer)
        ended.callback(lambda: shutil.copy(call.viewer.log, call.share / "browser.log"))
        find_the_device_busy(call)
        program = begin(call)
        ended.callback(program.kill)
        meet_others(call)
        lose_the_camera(call)
        call.facts["status"] = call.status()
        program = be_killed(call, program)
        ended.callback(program.kill)

        call.viewer.connect(SLOW_S)
        call.mark("connected")
        call.wait_for_frames(10, "composite", "connected", "received")

        call.viewer.leave(SLOW_S)
        call.mark("left")
        call.wait_until(lambda: call.is_in("sleeping"), "sleeping again", program)
        call.wait_until(lambda: not uses_camera(program.pid), "the camera is free again", program)
        program.terminate()
        call.mark("terminated")
        call.end("again", program)


def main() -> None:
    """Hold the call, and leave the facts."""
    call = Call(Path(sys.argv[1]))
    try:
        hold(call)
    finally:
        call.leave_facts()


if __name__ == "__main__":
    main()
