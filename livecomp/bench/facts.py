"""What a measurement depends on and a reader must know: machine, versions, commit and load."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path

from engine.machine import cpu_features, cpu_name, gpu_fingerprint
from livecomp.packages import package_versions

__all__ = ["facts", "load_average", "machine_slug"]


def facts() -> dict[str, str]:
    """Facts by name; what cannot be known is left out."""
    found = {
        "commit": _commit(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": cpu_name(),
        "instructions": " ".join(cpu_features()),
        "gpu": gpu_fingerprint(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "load": load_average(),
    }
    found |= package_versions()
    return {name: value for name, value in found.items() if value}


def load_average() -> str:
    """Processes that wanted to run in the last 1, 5 and 15 minutes; empty where the system does not tell."""
    return " ".join(f"{value:.2f}" for value in os.getloadavg()) if hasattr(os, "getloadavg") else ""


def machine_slug() -> str:
    """The processor as part of a file name."""
    return re.sub(r"[^a-z0-9]+", "-", cpu_name().lower()).strip("-")


def _commit() -> str:
    """The commit of a checkout, with a plus sign when files differ from it; empty for an installed package."""
    folder = Path(__file__).parents[2]
    if not (folder / ".git").exists():
        return ""
    describe = ["git", "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+"]
    try:
        done = subprocess.run(describe, cwd=folder, capture_output=True, text=True, timeout=10, check=True)  # noqa: S603  fixed arguments
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
