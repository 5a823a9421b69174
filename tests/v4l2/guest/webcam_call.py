"""A call with a USB webcam; runs in the guest, and leaves what was seen in a file.

    python -m tests.v4l2.guest.webcam_call SHARE

The webcam is `UsbWebcam`, driven by the kernel's uvcvideo: a green room with a white square as the person, before a red
scene. Every fourth JPEG is cut off in its middle, as cameras on bad cables give them. A reader takes what comes out of
v4l2loopback.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.v4l2.guest import programs
from tests.v4l2.guest.devices import DEVICE, LABEL, announces
from tests.v4l2.guest.story import FPS, SIZE_WH, SLOW_S, Story, StoryError
from tests.v4l2.guest.webcam import UsbWebcam, WebcamMode

__all__ = ["MODES", "PICTURES", "SCENE", "Read"]

SCENE = "#a03020"
PICTURES = ("room.jpg", "cut.jpg", "room.yuyv")
MODES: tuple[WebcamMode, ...] = (("YUYV", SIZE_WH, (2,)), ("MJPG", SIZE_WH, (10, FPS)), ("MJPG", (640, 360), (FPS,)))
"""YUYV is too slow for the call, as on USB 2 at 1280x720 and more."""

_AWAY_S = 3.0


@dataclass(frozen=True, slots=True)
class Read:
    """One picture as it was read.

    Args:
        time_s: When, Unix time in seconds.
        kind: "composite", "slate", or "other", which nothing should be.
        is_person: There is white in the middle.
        is_room: There is green somewhere.
    """

    time_s: float
    kind: str
    is_person: bool
    is_room: bool


class Reader(threading.Thread):
    """Reads the virtual camera from now on."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.pictures: list[Read] = []

    def run(self) -> None:
        """Look at each picture."""
        width, height = SIZE_WH
        luma, chroma = width * height, width * height // 4
        device = os.open(DEVICE, os.O_RDWR)
        while True:
            data = os.read(device, luma + 2 * chroma)
            corners = (data[5 * width + 5], data[luma - 5 * width - 5])  # a picture that was cut off is grey below
            reds = (data[luma + chroma + width // 2 + 2], data[-width // 2 - 2])
            kind = "other"
            if all(abs(value - 84) < 9 for value in corners) and min(reds) > 160:
                kind = "composite"
            elif all(abs(value - 48) < 9 for value in corners):
                kind = "slate"
            is_person = data[height // 2 * width + width // 2] > 170
            is_room = min(data[luma + chroma :]) < 90
            self.pictures.append(Read(time.time(), kind, is_person, is_room))


def wait_for_pictures(story: Story, reader: Reader, count: int, kind: str, since: str) -> None:
    """Wait until so many of a kind were read since a mark."""
    since_s, deadline = story.facts["marks"][since], time.monotonic() + SLOW_S
    while sum(read.kind == kind and read.time_s >= since_s for read in list(reader.pictures)) < count:
        if time.monotonic() > deadline:
            raise StoryError(f"{count} pictures of the kind {kind} after {since!r}: not within {SLOW_S} s")
        time.sleep(0.05)
    story.mark(f"{kind} after {since}")


def hold(story: Story, reader: Reader) -> None:
    """Everything that happens in the call, in order."""
    room, cut, raw = ((story.share / name).read_bytes() for name in PICTURES)
    webcam = UsbWebcam(MODES, [[raw], [room, room, room, cut], [room]])
    webcam.plug()
    with ExitStack() as ended:
        programs.start_importing()
        devices = programs.start(story.share / "devices.json", "devices", "--json")
        story.end("devices", devices)
        program = story.run(
            "call", "-b", SCENE, "-i", "Test Webcam", "-o", LABEL, "--fps", FPS, "--no-ondemand", "--model", "identity"
        )
        ended.callback(program.kill)
        story.wait_until(lambda: announces()[0], "listed", program)
        reader.start()
        story.mark("reading")
        wait_for_pictures(story, reader, 25, "composite", "reading")

        story.mark("unplugged")
        webcam.unplug()
        wait_for_pictures(story, reader, 1, "slate", "unplugged")
        time.sleep(_AWAY_S)
        story.mark("plugged")
        webcam.plug()
        wait_for_pictures(story, reader, 10, "composite", "plugged")

        story.mark("silent")
        webcam.silent = True
        wait_for_pictures(story, reader, 1, "slate", "silent")
        time.sleep(_AWAY_S)
        story.mark("loud")
        webcam.silent = False
        wait_for_pictures(story, reader, 10, "composite", "loud")

        story.facts["status"] = story.status()
        program.terminate()
        story.mark("terminated")
        story.end("call", program)


def main() -> None:
    """Hold the call, and leave the facts."""
    story, reader = Story(Path(sys.argv[1])), Reader()
    try:
        hold(story, reader)
    finally:
        story.write(pictures=[asdict(read) for read in reader.pictures])


if __name__ == "__main__":
    main()
