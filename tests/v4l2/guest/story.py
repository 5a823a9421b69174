"""What scripts of calls in the guest have in common: programs, waiting, and notes of what happened when."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from livecomp.control.client import ask
from livecomp.errors import InputError
from tests.v4l2.guest import programs
from tests.v4l2.guest.programs import Program

__all__ = ["CONFIG", "CONFIG_TEXT", "FACTS", "FPS", "SIZE_WH", "SLOW_S", "Story", "StoryError"]

SIZE_WH = (320, 180)
FPS = 5
CONFIG, FACTS = "call.toml", "facts.json"
CONFIG_TEXT = f"""
[segment]
model = "chroma"
key_color = "#00ff00"
[harmonize]
model = "reinhard"
[live]
width = {SIZE_WH[0]}
height = {SIZE_WH[1]}
# emulated, a frame takes longer than any budget: everything is to be done all the same
adapt = false
harmonize_every = 10
# and come later than the usual 250 ms, which would show a slate between any two frames
stall_ms = 1000
"""
SLOW_S = 90.0
"""Nothing takes longer, even emulated."""


class StoryError(Exception):
    """Something that was waited for did not happen."""


class Story:
    """Programs that run, and what is known of them.

    Args:
        share: Folder with the configuration, where logs and facts go.
    """

    def __init__(self, share: Path) -> None:
        self.facts: dict[str, Any] = {"marks": {}, "ended": {}}
        self.share = share
        self._begun = time.time()

    def mark(self, name: str) -> float:
        """Note that something happens now; returns the time."""
        now = self.facts["marks"][name] = time.time()
        sys.stdout.write(f"{now - self._begun:7.2f} {name}\n")
        sys.stdout.flush()
        return float(now)

    def run(self, name: str, *options: str | Path | float) -> Program:
        """`livecomp run`, begun, with a log of its own."""
        return programs.start(self.share / f"{name}.log", "-v", "run", "-c", self.share / CONFIG, *options)

    def end(self, name: str, program: Program) -> None:
        """Wait for the end of a program, and note its exit code."""
        program.join(SLOW_S)
        self.facts["ended"][name] = program.exitcode
        self.mark(f"{name} ended")

    def wait_until(self, holds: Callable[[], object], what: str, program: Program | None = None) -> float:
        """Wait for something, and note when it is so; returns the time.

        Raises:
            StoryError: The program ended, or it takes too long.
        """
        deadline = time.monotonic() + SLOW_S
        while not holds():
            if program is not None and program.exitcode is not None:
                raise StoryError(f"livecomp run ended with {program.exitcode} while it was waited for: {what}")
            if time.monotonic() > deadline:
                raise StoryError(f"{what}: not within {SLOW_S} s")
            time.sleep(0.05)
        return self.mark(what)

    def status(self) -> dict[str, Any]:
        """Of the call that runs; empty when none does."""
        try:
            found: dict[str, Any] = ask({"do": "status"}, timeout_s=SLOW_S)["status"]
        except InputError:
            return {}
        return found

    def is_in(self, state: str) -> bool:
        """Whether a call runs and says so."""
        return self.status().get("state") == state

    def write(self, **more: object) -> None:
        """Leave what is known, whether or not all went well."""
        (self.share / FACTS).write_text(json.dumps({**self.facts, **more}))
