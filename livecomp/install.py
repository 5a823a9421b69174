"""Setting the system up: the exact commands for v4l2loopback on this distribution, and a systemd user unit.

For a command line: `loopback_plan()` gives the steps and what to know before them, to be printed; after the user's
consent `run_plan(plan.steps, report=print)` runs them and raises at the first that fails. `write_user_unit()` returns
the file it wrote and the commands that enable it.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import platformdirs

from livecomp.errors import DependencyError, OutputError, reason
from livecomp.media.text import write_text
from livecomp.paths import user_folder

__all__ = ["LOOPBACK_OPTIONS", "Plan", "Step", "loopback_plan", "run_plan", "write_user_unit"]

LOOPBACK_OPTIONS = "video_nr=10 exclusive_caps=1 card_label=LiveComp max_buffers=2"
"""Of the module, as a user is told to load it."""

_TIMEOUT_S = 1800

# By the names in ID and ID_LIKE of /etc/os-release. The module is built for each kernel, which needs its headers.
_PACKAGES: dict[str, tuple[str, ...]] = {
    "debian": (
        "apt-get update",
        "apt-get install -y v4l2loopback-dkms v4l2loopback-utils linux-headers-{kernel}",
    ),
    "fedora": (
        "dnf install -y https://mirrors.rpmfusion.org/free/fedora/rpmfusion-free-release-{version}.noarch.rpm",
        "dnf install -y akmod-v4l2loopback kernel-devel-{kernel}",
        "akmods --force --kernels {kernel}",
    ),
    "arch": ("pacman -S --needed --noconfirm v4l2loopback-dkms {headers}",),
    "suse": ("zypper --non-interactive install v4l2loopback-kmp-default",),
}
_ALIASES = {"ubuntu": "debian", "opensuse": "suse", "sles": "suse"}

CommandRunner = Callable[[Sequence[str]], "subprocess.CompletedProcess[str]"]


@dataclass(frozen=True, slots=True)
class Step:
    """One command, which asks for administrator rights by sudo.

    Args:
        purpose: What it is for.
        command: As typed in a shell.
    """

    purpose: str
    command: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, in this order.

    Args:
        system: The distribution, by its own name.
        steps: Commands.
        notes: What to know before, a sentence or two each.
    """

    system: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...]


def loopback_plan(root: Path = Path("/"), *, kernel: str | None = None, user: str | None = None) -> Plan:
    """How to install v4l2loopback on this system, load it now and at each start.

    Args:
        root: Where etc and sys are.
        kernel: Release of the kernel; None for the one that runs.
        user: Who is to use the camera; None for the user of this process.

    Raises:
        DependencyError: This is not Linux.
    """
    if not sys.platform.startswith("linux"):
        raise DependencyError(
            f"v4l2loopback is a driver of Linux, this is {sys.platform}: install OBS, start its virtual camera once, "
            "and run: pip install 'livecomp[virtualcam]'"
        )
    kernel = os.uname().release if kernel is None else kernel
    user = os.environ.get("SUDO_USER") or os.environ.get("USER") or "" if user is None else user
    release = _os_release(root)
    family = _family(release)
    steps: list[Step] = []
    notes: list[str] = []
    values = {"kernel": kernel, "version": release.get("VERSION_ID", "$(rpm -E %fedora)"), "headers": _headers(kernel)}
    packages = _PACKAGES.get(family, ())
    steps += [Step("install the driver", f"sudo {command.format(**values)}") for command in packages]
    if not family:
        notes.append(
            "This distribution is not known: install its package of v4l2loopback (usually v4l2loopback-dkms, with the "
            "headers of the kernel), or build it from https://github.com/v4l2loopback/v4l2loopback, then go on."
        )
    steps += [
        Step(
            "keep the options",
            _write_command(f"options v4l2loopback {LOOPBACK_OPTIONS}", "/etc/modprobe.d/livecomp.conf"),
        ),
        Step("load it at each start", _write_command("v4l2loopback", "/etc/modules-load.d/livecomp.conf")),
    ]
    if (root / "sys/module/v4l2loopback").is_dir():
        steps.append(
            Step("unload it, to take the options; close programs that use it", "sudo modprobe -r v4l2loopback")
        )
    steps.append(Step("load it now", f"sudo modprobe v4l2loopback {LOOPBACK_OPTIONS}"))
    if user and user != "root" and user not in _group_members(root, "video"):
        steps.append(Step("allow its use", f"sudo usermod -aG video {shlex.quote(user)}"))
        notes.append("The group 'video' counts from the next login on: log out and in again.")
    if _has_secure_boot(root):
        notes.append(
            "Secure Boot is on (mokutil --sb-state tells): the kernel refuses modules that are not signed by a key it "
            "knows ('Key was rejected by service'). While the driver is installed a key of this machine is made and "
            "you are asked for a password; at the next start a blue screen, 'Perform MOK management', asks whether to "
            "enrol it: choose 'Enroll MOK' and type that password. It lets this machine load what it has built itself. "
            + _enrolment(family)
        )
    return Plan(release.get("PRETTY_NAME", "Linux"), tuple(steps), tuple(notes))


def _write_command(line: str, path: str) -> str:
    return f"echo {shlex.quote(line)} | sudo tee {path}"


def _os_release(root: Path) -> dict[str, str]:
    for name in ("etc/os-release", "usr/lib/os-release"):
        try:
            lines = (root / name).read_text("utf-8", "replace").splitlines()
        except OSError:
            continue
        pairs = (line.split("=", 1) for line in lines if "=" in line and not line.lstrip().startswith("#"))
        return {key.strip(): _first_word(value) for key, value in pairs}
    return {}


def _first_word(value: str) -> str:
    """A value as a shell reads it; as it is where the quotes of whoever wrote it have no end."""
    try:
        return "".join(shlex.split(value)[:1])
    except ValueError:
        return value.strip()


def _family(release: dict[str, str]) -> str:
    if not release.get("PLATFORM_ID", "platform:f").startswith("platform:f"):
        return ""  # RHEL and its like say that they are as Fedora is, and count their versions otherwise
    for name in (release.get("ID", ""), *release.get("ID_LIKE", "").split()):
        name = _ALIASES.get(name.split("-")[0], name.split("-")[0])
        if name in _PACKAGES:
            return name
    return ""


def _headers(kernel: str) -> str:
    """Arch's package of headers for a kernel: linux-headers, linux-lts-headers, linux-zen-headers, ..."""
    flavour = next((name for name in ("lts", "zen", "hardened", "rt") if name in kernel.split("-")), "")
    return f"linux-{flavour}-headers" if flavour else "linux-headers"


def _group_members(root: Path, group: str) -> list[str]:
    try:
        lines = (root / "etc/group").read_text("utf-8", "replace").splitlines()
    except OSError:
        return []
    entries = (line.split(":") for line in lines if line.startswith(f"{group}:"))
    return next((entry[3].split(",") for entry in entries if len(entry) > 3), [])


def _has_secure_boot(root: Path) -> bool:
    """What mokutil --sb-state reads: four bytes of attributes, then the value."""
    for variable in (root / "sys/firmware/efi/efivars").glob("SecureBoot-*"):
        try:
            return variable.read_bytes()[4:5] == b"\x01"
        except OSError:
            continue
    return False


def _enrolment(family: str) -> str:
    if family == "fedora":
        return "On Fedora: sudo kmodgenca -a && sudo mokutil --import /etc/pki/akmods/certs/public_key.der"
    if family == "debian":
        return "If you were not asked: sudo mokutil --import /var/lib/dkms/mok.pub (Ubuntu: update-secureboot-policy)"
    return "If you were not asked: sudo mokutil --import /var/lib/dkms/mok.pub"


def run_plan(steps: Sequence[Step], report: Callable[[str], None], *, run: CommandRunner | None = None) -> None:
    """Run the commands one by one, after the user has consented to them.

    Args:
        steps: From `loopback_plan`.
        report: Gets each command before it runs.
        run: Runs one; None for the shell, on this terminal: sudo asks for a password, and so does installing a driver
            where Secure Boot is on.

    Raises:
        DependencyError: A command failed. None of those after it was run.
    """
    for number, step in enumerate(steps, 1):
        report(f"[{number}/{len(steps)}] {step.command}")
        try:
            result = (_run if run is None else run)(("/bin/bash", "-o", "pipefail", "-c", step.command))
        except (OSError, subprocess.TimeoutExpired) as error:
            raise DependencyError(f"cannot {step.purpose}: {step.command}: {reason(error)}") from error
        if result.returncode:
            raise DependencyError(
                f"cannot {step.purpose}: {step.command} failed with exit status {result.returncode}, as told above; "
                f"the {len(steps) - number} steps after it were not run"
            )


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, text=True, timeout=_TIMEOUT_S, check=False)  # noqa: S603 (own words only)


def write_user_unit(home: Path | None = None, executable: str | None = None) -> tuple[Path, tuple[str, ...]]:
    """Write the systemd user unit that runs `livecomp run` while the user is logged in. It is not enabled.

    Args:
        home: The user's configuration folder; None for XDG_CONFIG_HOME, or ~/.config.
        executable: The command; None for the one that is found on PATH, or this Python.

    Returns:
        The file, and the commands that enable and watch it.

    Raises:
        DependencyError: This is not Linux.
        OutputError: It cannot be written; an older one is left as it was.
        ConfigError: The user has no home.
    """
    if not sys.platform.startswith("linux"):
        raise DependencyError(
            f"systemd starts programs on Linux, this is {sys.platform}: have its own list of login items start "
            "`livecomp run`"
        )
    # platformdirs, like systemd, passes over an XDG_CONFIG_HOME that is no full path
    folder = home or user_folder(platformdirs.user_config_path, "systemd's units")
    command = executable or shutil.which("livecomp")
    start = _quoted(str(Path(command).absolute())) if command else f"{_quoted(sys.executable)} -m livecomp"
    target = folder / "systemd/user/livecomp.service"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        unit = files("livecomp").joinpath("assets/livecomp.service").read_text("utf-8")
        write_text(target, unit.replace("@EXECUTABLE@", start))
    except OSError as error:
        raise OutputError(f"the systemd unit cannot be written to {target}: {error}") from error
    return target, (
        "systemctl --user daemon-reload",
        "systemctl --user enable --now livecomp.service",
        "journalctl --user -u livecomp.service -f",
    )


def _quoted(path: str) -> str:
    """One word of ExecStart, in which % and $ stand for other things."""
    return '"' + path.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$") + '"'
