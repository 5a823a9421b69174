"""Debian's packages, for tests that need more programs than a checkout and Python have."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

__all__ = ["MissingError", "check_debian", "install_programs", "run", "run_apt"]

_APT = ("-q", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=60", "-o", "Acquire::Retries=3")


class MissingError(Exception):
    """What a test needs cannot be had here; says why."""


def check_debian() -> None:
    """Whether packages can be installed.

    Raises:
        MissingError: This is not Debian, or the user is not root.
    """
    release = platform.freedesktop_os_release()
    if release.get("ID") != "debian" or shutil.which("apt-get") is None:
        raise MissingError(f"what is needed comes from Debian's packages, this is {release.get('PRETTY_NAME')}")
    if os.geteuid() != 0:
        raise MissingError("packages are installed, and QEMU is run, as root: run as root")


def install_programs(programs: Mapping[str, str], *more: str) -> None:
    """Install what is missing.

    Args:
        programs: By name, the package each comes from.
        more: Packages to have in any case.

    Raises:
        MissingError: apt fails.
    """
    packages = [package for program, package in programs.items() if shutil.which(program) is None]
    if packages or more:
        run_apt("install", *packages, *more)


def run_apt(command: str, *packages: str, cwd: Path | None = None) -> None:
    """Run apt-get; when it fails, once more with fresh lists."""
    arguments = ["apt-get", command, *_APT, "-o", "APT::Sandbox::User=root", *packages]
    try:
        run(*arguments, cwd=cwd)
    except MissingError:
        run("apt-get", "update", "-q")
        run(*arguments, cwd=cwd)


def run(*arguments: str, cwd: Path | None = None) -> str:
    """Run a program, and give what it prints.

    Raises:
        MissingError: It failed.
    """
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    result = subprocess.run(arguments, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip()[-2000:]
        raise MissingError(f"{' '.join(arguments[:2])} failed with {result.returncode}: {said}")
    return result.stdout
