"""LiveComp's commands in the guest, each in a process of its own.

Starting an interpreter and importing everything takes 20 s there, and one on a computer that is not emulated. So one
process imports all of it once, and others are forked from it, when they are needed: what runs in them is the real
command, from its arguments to its exit code.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

__all__ = ["Program", "produce", "start", "start_importing"]

_IMPORTED = (
    "livecomp.cli",
    "livecomp.control.call",
    "livecomp.capture.devices",
    "livecomp.output.loopback",
    "pyvirtualcam",
)
_forking = multiprocessing.get_context("forkserver")

LOADED = "tests.v4l2.guest.loaded"
"""Loads, while it is imported, what is compiled."""

Program = multiprocessing.context.ForkServerProcess


def start_importing() -> None:
    """Begin to import, without waiting for it."""
    _forking.set_forkserver_preload([*_IMPORTED, __name__, LOADED])
    _forking.Process(target=int, daemon=True).start()


def start(log: Path, *arguments: str | Path | float) -> Program:
    """`livecomp` with these arguments, begun; both of its streams go to the log."""
    program = _forking.Process(target=_livecomp, args=(log, [str(argument) for argument in arguments]), daemon=True)
    program.start()
    return program


def produce(log: Path, device: Path, size_wh: tuple[int, int]) -> Program:
    """Another program with another picture for the virtual camera, as streaming programs do it, begun."""
    program = _forking.Process(target=_produce, args=(log, device, size_wh), daemon=True)
    program.start()
    return program


def _livecomp(log: Path, arguments: list[str]) -> None:
    from livecomp.cli import main

    _redirect(log)
    sys.argv = ["livecomp", *arguments]
    main()


def _produce(log: Path, device: Path, size_wh: tuple[int, int]) -> None:
    import numpy as np
    import pyvirtualcam

    _redirect(log)
    rgb = np.full((size_wh[1], size_wh[0], 3), (200, 0, 200), np.uint8)
    with pyvirtualcam.Camera(*size_wh, 5, device=str(device), backend="v4l2loopback") as camera:
        while True:
            camera.send(rgb)
            time.sleep(0.2)


def _redirect(log: Path) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the server of forks ignores it
    with log.open("ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
