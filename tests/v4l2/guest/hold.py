"""The test's side of a story: boot the guest, run the script of that name in it, bring back what it noted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any, Generic, Protocol, TypeVar

import pytest

from tests.packages import MissingError
from tests.v4l2.guest.machine import MODULES, SHARE, run_in_guest
from tests.v4l2.guest.parts import default_folder, get_parts
from tests.v4l2.guest.story import CONFIG, CONFIG_TEXT, FACTS, FPS
from tests.v4l2.guest.warm import environment

__all__ = ["FIRST_PICTURE_S", "GUEST_S", "RECONNECT_S", "STALL_S", "Told", "run_story"]

GUEST_S = 270.0
"""No story takes longer."""

RECONNECT_S = 2.0
STALL_S = 1.0
FIRST_PICTURE_S = 3.0
"""A silent camera is given this long for its first picture, each time it is opened again."""

_REPOSITORY = Path(__file__).parents[3]


class Picture(Protocol):
    """What was seen at a time, and of which kind it was."""

    @property
    def time_s(self) -> float: ...

    @property
    def kind(self) -> str: ...


P = TypeVar("P", bound=Picture)


@dataclass(frozen=True)
class Told(Generic[P]):
    """What a story left.

    Args:
        share: Folder with the logs.
        facts: As the script wrote them.
        pictures: What came out of the virtual camera, as it was seen.
        driver_version: Of v4l2loopback; empty for 0.12.7, which does not tell.
    """

    share: Path
    facts: dict[str, Any]
    pictures: list[P]
    driver_version: str

    def mark(self, name: str) -> float:
        """When something happened, Unix time in seconds."""
        return float(self.facts["marks"][name])

    def log(self, name: str) -> str:
        """What a program printed."""
        return (self.share / f"{name}.log").read_text()

    def between(self, start: str, end: str, kind: str = "composite") -> list[P]:
        """The pictures of a kind between two marks."""
        start_s, end_s = self.mark(start), self.mark(end)
        return [seen for seen in self.pictures if seen.kind == kind and start_s <= seen.time_s < end_s]

    def delay_s(self, mark: str, kind: str) -> float:
        """Seconds from a mark to the first picture of a kind."""
        since_s = self.mark(mark)
        return min(seen.time_s for seen in self.pictures if seen.kind == kind and seen.time_s > since_s) - since_s

    def stretch(self, *quiet: tuple[str, str]) -> float:
        """How many times slower than meant the product is here, at least 1: by its rate between marks, at the worst."""
        times = [[seen.time_s for seen in self.between(*marks)] for marks in quiet]
        return max(1.0, *(FPS * median(later - earlier for earlier, later in pairwise(row)) for row in times))


def run_story(name: str, share: Path, modules: Mapping[str, Sequence[str]] = MODULES) -> tuple[dict[str, Any], str]:
    """Run `tests.v4l2.guest.NAME`; the test is skipped where there is no guest.

    Args:
        name: Of the script.
        share: Folder that the guest shares; logs are left there.
        modules: As for `run_in_guest`.

    Returns:
        What the script noted, and the version of v4l2loopback, empty for 0.12.7, which does not tell.
    """
    if not os.environ.get("LIVECOMP_GUEST"):
        pytest.skip("run make test-v4l2: a guest with real drivers takes minutes")
    try:
        parts = get_parts()
    except MissingError as error:
        pytest.skip(str(error))
    (share / CONFIG).write_text(CONFIG_TEXT)
    compiled = default_folder() / "compiled"
    subprocess.run(
        [sys.executable, "-m", "tests.v4l2.guest.warm", str(share / CONFIG)],
        env={**os.environ, **environment(compiled)},
        cwd=_REPOSITORY,
        check=True,
    )
    shutil.copytree(compiled, share / "compiled")
    report = run_in_guest(
        parts,
        [sys.executable, "-m", f"tests.v4l2.guest.{name}", str(SHARE)],
        share=share,
        cwd=_REPOSITORY,
        environment=environment(SHARE / "compiled"),
        modules=modules,
        timeout_s=GUEST_S,
    )
    assert report.status == 0, str(report)
    return json.loads((share / FACTS).read_text()), parts.driver_version
