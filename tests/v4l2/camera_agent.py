"""A process with a CameraSource that does what the test tells it: one command a line, one answer of JSON a line.

Arguments: what names the camera, wanted width, height, rate, and the root of the file tree.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from livecomp.capture.camera import CameraSource
from livecomp.capture.devices import list_cameras
from livecomp.errors import LiveCompError


def _open(source: CameraSource) -> dict[str, Any]:
    source.open()
    return {"name": source.info.name, "size": source.info.size_wh, "fps": float(source.info.fps)}


def _read(source: CameraSource) -> dict[str, Any]:
    frame = source.read()
    height, width = frame.rgb.shape[:2]
    age_ms = (time.monotonic_ns() - frame.pts_ns) / 1e6
    middle = frame.rgb[height // 2, width // 2].tolist()
    return {"size": [width, height], "rgb": middle, "pts_ns": frame.pts_ns, "age_ms": age_ms}


def _many(source: CameraSource, count: int = 30) -> dict[str, Any]:
    times = [source.read().pts_ns for _ in range(count)]
    rises = all(later > earlier for earlier, later in itertools.pairwise(times))
    return {"fps": (count - 1) / (times[-1] - times[0]) * 1e9, "rises": rises}


def _close_while_reading(source: CameraSource) -> dict[str, Any]:
    ends: list[str] = []

    def read() -> None:
        try:
            while True:
                source.read()
        except LiveCompError as error:
            ends.append(str(error))

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.3)
    start = time.monotonic()
    source.close()
    reader.join(5)
    return {"took_s": time.monotonic() - start, "ends": ends, "alive": reader.is_alive()}


def _threads() -> dict[str, Any]:
    return {"threads": [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]}


def _list(root: Path) -> dict[str, Any]:
    return {
        "cameras": [
            {
                "path": camera.path,
                "name": camera.name,
                "stable_id": camera.stable_id,
                "driver": camera.driver,
                "modes": [[mode.fourcc, *mode.size_wh, *map(float, mode.fps)] for mode in camera.modes],
                "trouble": camera.trouble,
            }
            for camera in list_cameras(root)
        ]
    }


def main() -> None:
    """Answer until the input ends."""
    spec, width, height, fps, root = sys.argv[1:6]
    source = CameraSource(spec, size_wh=(int(width), int(height)), fps=Fraction(fps), root=Path(root))
    commands = {
        "open": lambda: _open(source),
        "read": lambda: _read(source),
        "many": lambda: _many(source),
        "close": lambda: source.close() or {},
        "close while reading": lambda: _close_while_reading(source),
        "threads": _threads,
        "list": lambda: _list(Path(root)),
    }
    for command in sys.stdin:
        start = time.monotonic()
        try:
            answer = commands[command.strip()]()
        except LiveCompError as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps({**answer, "seconds": time.monotonic() - start}) + "\n")
        sys.stdout.flush()
    source.close()


if __name__ == "__main__":
    main()
