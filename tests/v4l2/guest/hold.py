"""The test's side of a story: boot the guest, run the script of that name in it, bring back what it noted."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.v4l2.guest.machine import MODULES, SHARE, run_in_guest
from tests.v4l2.guest.parts import MissingError, default_folder, get_parts
from tests.v4l2.guest.story import CONFIG, CONFIG_TEXT, FACTS
from tests.v4l2.guest.warm import environment

__all__ = ["GUEST_S", "run_story"]

GUEST_S = 270.0
"""No story takes longer."""

_REPOSITORY = Path(__file__).parents[3]


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
