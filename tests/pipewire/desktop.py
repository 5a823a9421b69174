"""What a desktop runs for its user so that programs see cameras: D-Bus, PipeWire, WirePlumber, and the portal.

All of it is started here, in folders of the test's own, and without a display.

    python -m tests.pipewire.desktop

installs by apt what is missing, Firefox too.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.packages import MissingError, check_debian, install_programs
from tests.v4l2.browser.viewer import FIREFOX, PROGRAM

__all__ = ["PORTAL", "PROGRAMS", "Desktop", "why_not"]

PROGRAMS = {
    "dbus-daemon": "dbus-daemon",
    "gdbus": "libglib2.0-bin",
    "pipewire": "pipewire",
    "pw-cli": "pipewire-bin",
    "wireplumber": "wireplumber",
    "gst-launch-1.0": "gstreamer1.0-tools",
}
"""What must be in the path, and Debian's package that it comes from."""

_MORE = ("gstreamer1.0-pipewire", "gstreamer1.0-plugins-base", "xdg-desktop-portal")
_BROWSERS = {PROGRAM: PROGRAM, FIREFOX: FIREFOX}

PORTAL = Path("/usr/libexec/xdg-desktop-portal")

REPOSITORY = Path(__file__).parents[2]
_START_S = 20.0


def why_not() -> str:
    """Why there can be no such desktop here; "" when there can."""
    if not sys.platform.startswith("linux"):
        return f"PipeWire is a part of Linux, this is {sys.platform}"
    missing = sorted(package for program, package in PROGRAMS.items() if shutil.which(program) is None)
    if not PORTAL.exists():
        missing.append("xdg-desktop-portal")
    if not missing and not _has_plugin():
        missing.append("gstreamer1.0-pipewire")
    return f"not installed: {', '.join(missing)}; `make test-v4l2` gets them" if missing else ""


def _has_plugin() -> bool:
    command = ["gst-inspect-1.0", "pipewiresrc"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Desktop:
    """A user's session, to be used as a context.

    Args:
        root: A folder for all it leaves, with a short name: there are sockets in it.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._running = ExitStack()
        self._media = ExitStack()
        self._pipewire: subprocess.Popen[bytes] | None = None
        for folder in ("run", "config", "state", "cache", "home", "portals"):
            (root / folder).mkdir(mode=0o700, exist_ok=True)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of programs that run in it."""
        return {
            **{name: value for name, value in os.environ.items() if name not in ("DISPLAY", "WAYLAND_DISPLAY")},
            "XDG_RUNTIME_DIR": str(self.root / "run"),
            "XDG_CONFIG_HOME": str(self.root / "config"),
            "XDG_STATE_HOME": str(self.root / "state"),
            "XDG_DATA_HOME": str(self.root / "state"),
            "HOME": str(self.root / "home"),
            "DBUS_SESSION_BUS_ADDRESS": f"unix:path={self.root / 'run/bus'}",
            "XDG_DESKTOP_PORTAL_DIR": str(self.root / "portals"),
            "PYTHONPATH": str(REPOSITORY),
            "COLUMNS": "200",
        }

    def __enter__(self) -> Self:
        address = self.variables["DBUS_SESSION_BUS_ADDRESS"]
        self._start(self._running, "dbus-daemon", "--session", "--nofork", f"--address={address}")
        self.wait_until((self.root / "run/bus").exists, "D-Bus")
        self.start_pipewire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_pipewire()
        self._running.close()

    def start_pipewire(self) -> None:
        """PipeWire and its session manager."""
        self._pipewire = self._start(self._media, "pipewire")
        self.wait_until(self._has_pipewire, "PipeWire")
        self._start(self._media, "wireplumber")
        self.wait_until(lambda: "WirePlumber" in self.run("pw-cli", "ls", "Client"), "WirePlumber")

    def _has_pipewire(self) -> bool:
        """Whether it answers; its socket is there earlier."""
        result = subprocess.run(["pw-cli", "info", "0"], env=self.variables, capture_output=True, check=False)
        return result.returncode == 0 and b"pipewire" in result.stdout

    def stop_pipewire(self) -> None:
        """As when it is restarted: every program loses its connection."""
        self._media.close()

    def signal_pipewire(self, number: signal.Signals) -> None:
        """Stop it, let it go on."""
        assert self._pipewire is not None
        self._pipewire.send_signal(number)

    def start_portal(self) -> None:
        """Through which browsers ask for cameras; it says yes to everybody."""
        # one that asks people has to be named, though it is never called
        (self.root / "portals/nobody.portal").write_text(
            "[portal]\nDBusName=org.example.Nobody\nInterfaces=org.freedesktop.impl.portal.Access;\nUseIn=none\n"
        )
        (self.root / "portals/portals.conf").write_text("[preferred]\ndefault=nobody\n")  # from 1.17 on
        store = "org.freedesktop.impl.portal.PermissionStore"
        self.run(
            *("gdbus", "call", "--session", "--dest", store, "--object-path", "/" + store.replace(".", "/")),
            *("--method", f"{store}.SetPermission", "devices", "true", "camera", "", "['yes']"),
        )
        self._start(self._running, str(PORTAL))
        portal = "org.freedesktop.portal.Desktop"
        self.run("gdbus", "wait", "--session", "--timeout", "20", portal)

    def run(self, *command: str) -> str:
        """A program of it, to its end; returns what it printed.

        Raises:
            AssertionError: It failed.
        """
        result = subprocess.run(
            command, env=self.variables, capture_output=True, text=True, timeout=_START_S * 2, check=False
        )
        assert result.returncode == 0, f"{' '.join(command)}: {result.stdout}{result.stderr}{self.said()}"
        return result.stdout

    def said(self) -> str:
        """The last that its programs printed."""
        return "".join(f"\n{log.name}: {log.read_text('utf-8', 'replace')[-800:]}" for log in self.root.glob("*.log"))

    def wait_until(self, holds: Callable[[], bool], what: str, within_s: float = _START_S) -> None:
        """Wait for something.

        Raises:
            AssertionError: It did not happen.
        """
        deadline = time.monotonic() + within_s
        while not holds():
            assert time.monotonic() < deadline, f"{what} did not come in {within_s} s:{self.said()}"
            time.sleep(0.02)

    def _start(self, running: ExitStack, *command: str) -> subprocess.Popen[bytes]:
        log = (self.root / f"{Path(command[0]).name}.log").open("ab")
        process = subprocess.Popen(command, env=self.variables, stdout=log, stderr=log)

        def end() -> None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            log.close()

        running.callback(end)
        return process

    def livecomp(self, *arguments: str) -> str:
        """A command of LiveComp, run to its end; returns what it printed."""
        return self.run(sys.executable, "-m", "livecomp", *arguments)

    @contextmanager
    def gstreamer_camera(self, raw: str, *options: str) -> Iterator[None]:
        """A camera of one colour by GStreamer.

        Args:
            raw: Of its format.
            options: Of videotestsrc.
        """
        properties = "props,media.class=Video/Source,media.role=Camera,node.name=gstreamer,device.api=libcamera"
        with ExitStack() as running:
            self._start(
                running,
                *("gst-launch-1.0", "-q", "videotestsrc", "is-live=true", "pattern=solid-color", *options, "!"),
                *(f"video/x-raw,{raw}", "!", "pipewiresink", "mode=provide", f"stream-properties={properties}"),
            )
            self.wait_until(lambda: "gstreamer" in self.run("pw-cli", "ls", "Node"), "the camera")
            yield

    def pictures(self, count: int, size_wh: tuple[int, int], *more: str) -> Sequence[bytes]:
        """What a program that watches LiveComp gets, by GStreamer: frames of YUY2.

        Args:
            count: How many to wait for.
            size_wh: Of one.
            more: Options of pipewiresrc.
        """
        with tempfile.NamedTemporaryFile(dir=self.root) as target:
            self.run(
                *("gst-launch-1.0", "-q", "pipewiresrc", "target-object=livecomp", f"num-buffers={count}", *more),
                *("!", "video/x-raw,format=YUY2", "!", "filesink", f"location={target.name}"),
            )
            found = Path(target.name).read_bytes()
        size = size_wh[0] * size_wh[1] * 2
        return [found[start : start + size] for start in range(0, len(found), size)]


def main() -> None:
    """Install what is missing."""
    try:
        check_debian()
        install_programs(PROGRAMS | _BROWSERS, *(_MORE if why_not() else ()))
    except MissingError as error:
        sys.exit(str(error))
    sys.stdout.write("PipeWire, its session manager, the portal and browsers are installed\n")


if __name__ == "__main__":
    main()
