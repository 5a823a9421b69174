"""A made-up system with a camera and a virtual camera, and `livecomp run` in it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from tests.v4l2.shim import FakeCamera, FakeLoopback, Mode, environment

__all__ = ["Call", "System"]

REPOSITORY = Path(__file__).parents[2]
DEFAULT_MODES: tuple[Mode, ...] = (("YUYV", (640, 360), (30,)),)


class System:
    """/dev/video0 is a camera, /dev/video10 the virtual camera "LiveComp" of v4l2loopback.

    Args:
        root: An empty folder.
        library: From `shim.build`.
        modes: Of the camera.
        loopback: Options of `FakeLoopback`.
    """

    def __init__(self, root: Path, library: Path, modes: Sequence[Mode] = DEFAULT_MODES, **loopback: Any) -> None:
        self.root = root
        self._library = library
        for number, name in ((0, "Fake Camera"), (10, "LiveComp")):
            node = root / f"sys/class/video4linux/video{number}"
            node.mkdir(parents=True)
            (node / "name").write_text(f"{name}\n")
        (root / "sys/class/video4linux/video10/max_openers").write_text("10\n")
        for folder in ("dev/v4l/by-id", "proc", "run", "config", "sys/module/v4l2loopback/parameters"):
            (root / folder).mkdir(parents=True)
        (root / "run").chmod(0o700)
        version = "0.15.0\n" if loopback.get("has_tokens") else "0.13.2\n"
        (root / "sys/module/v4l2loopback/version").write_text(version)
        (root / "sys/module/v4l2loopback/parameters/exclusive_caps").write_text("Y,N,N\n")
        self.stable_id = root / "dev/v4l/by-id/usb-Fake_Camera-index0"
        self.camera = FakeCamera(root / "camera", modes)
        self.loopback = FakeLoopback(root / "LiveComp.y4m", **loopback)
        self._plug()
        (root / "dev/video10").touch()

    def _plug(self) -> None:
        (self.root / "dev/video0").touch()
        self.stable_id.symlink_to("../../video0")

    @property
    def variables(self) -> dict[str, str]:
        """The environment of programs that run in it."""
        devices = {self.root / "dev/video0": self.camera, self.root / "dev/video10": self.loopback}
        folders = {"XDG_RUNTIME_DIR": str(self.root / "run"), "XDG_CONFIG_HOME": str(self.root / "config")}
        return {**environment(self._library, devices), **folders, "PYTHONPATH": str(REPOSITORY), "COLUMNS": "200"}

    @property
    def devices_root(self) -> Path:
        """Where a call looks for devices."""
        return self.root

    @property
    def config_file(self) -> Path:
        """Where `livecomp run` looks for its configuration."""
        return self.root / "config/livecomp/config.toml"

    def call(self, *options: str | Path, program: str = "livecomp") -> Call:
        """`livecomp run` with options, to be used as a context; `program` is the module that is run."""
        return Call(self, program, options)

    def livecomp(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Another command of LiveComp, run to its end."""
        command = [sys.executable, "-m", "livecomp", *map(str, arguments)]
        return subprocess.run(command, env=self.variables, capture_output=True, text=True, timeout=60, check=False)

    def ask(self, **request: Any) -> dict[str, Any]:
        """What `livecomp ctl` would ask, without the time that a new process takes.

        Raises:
            LiveCompError: As `livecomp.control.client.ask`.
        """
        from livecomp.control.client import ask

        return ask(request, self.root / "run/livecomp/ctl.sock")

    def status(self) -> dict[str, Any]:
        """Of the call that runs."""
        found: dict[str, Any] = self.ask(do="status")["status"]
        return found


class Call:
    """`livecomp run`, from its start to its end."""

    def __init__(self, system: System, program: str, options: Sequence[str | Path]) -> None:
        self._system = system
        self._program = program
        self._options = options
        self._process: subprocess.Popen[str] | None = None
        self._log = system.root / "call.log"

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    @property
    def said(self) -> str:
        """What it printed so far, both streams."""
        return self._log.read_text()

    def __enter__(self) -> Self:
        command = [
            sys.executable,
            "-X",
            "faulthandler",
            "-W",
            "default",
            "-m",
            self._program,
            "run",
            *map(str, self._options),
        ]
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                [*command, "--root", str(self._system.devices_root)],
                env=self._system.variables,
                stdout=log,
                stderr=log,
                text=True,
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def wait_until(self, holds: Callable[[], bool], within_s: float = 10.0, what: str = "it") -> float:
        """Wait for something; returns how many seconds it took.

        Raises:
            AssertionError: It did not happen, or the call ended; with what the call printed.
        """
        assert self._process is not None
        start = time.monotonic()
        while not holds():
            assert self._process.poll() is None, f"the call ended: {self.said}"
            assert time.monotonic() - start < within_s, f"{what} did not happen in {within_s} s: {self.said}"
            time.sleep(0.005)
        return time.monotonic() - start

    def wait_until_live(self, within_s: float = 60.0) -> None:
        """Wait until composites are shown."""
        self.wait_until(lambda: "the call runs" in self.said, within_s, "starting")
        self.wait_until(lambda: self._system.status()["state"] == "live", within_s, "a composite")

    def wait_until_ended(self, within_s: float = 15.0) -> None:
        """Wait for its end, which has to be a good one."""
        assert self._process is not None
        code = self._process.wait(within_s)
        assert code == 0, f"exit status {code}: {self.said}"

    def end(self, by: signal.Signals = signal.SIGINT, within_s: float = 15.0) -> str:
        """Send a signal and wait for the end, which has to be a good one; returns all it printed."""
        assert self._process is not None
        self._process.send_signal(by)
        self.wait_until_ended(within_s)
        return self.said
