"""Somebody in a call: a headless Chromium or Firefox that shows a camera, and tells what it sees in every frame.

No driver program is needed: the page fetches its commands from a small server here and posts its reports to it.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any, Self

__all__ = ["FIREFOX", "PROGRAM", "Seen", "Viewer", "ViewerError"]

PROGRAM = "chromium-headless-shell"
FIREFOX = "firefox-esr"
PAGE = Path(__file__).with_name("page.html")

_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-extensions",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
    "--no-first-run",
    "--use-fake-ui-for-media-stream",
    "--autoplay-policy=no-user-gesture-required",
)
_PREFERENCES = {
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "media.autoplay.default": 0,
    "media.navigator.permission.disabled": True,
    "media.peerconnection.ice.loopback": True,
    "media.peerconnection.ice.obfuscate_host_addresses": False,
}
_POLL_S = 1.0
_PATIENCE_S = 5.0


class ViewerError(Exception):
    """The browser ended, could not do what it was asked, or said nothing in time."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One frame as it was shown.

    Args:
        time_s: When, Unix time in seconds.
        kind: "composite" with numbers, "slate", or "other", which nothing should be.
        number: The one at the top; None without.
        is_torn: The one at the bottom is another.
        room: Pixels of the room's colour.
        size_wh: Width and height.
    """

    time_s: float
    kind: str
    number: int | None
    is_torn: bool
    room: int
    size_wh: tuple[int, int]


class Viewer:
    """A browser that shows one camera.

    Args:
        label: What the camera's label must hold.
        size_wh: Size to ask for, pixels.
        fake_camera: A .y4m file of one frame, which Chromium reads again and again as its only camera; the computer's
            cameras without it.
        program: PROGRAM or FIREFOX.
        by_pipewire: Whether it asks PipeWire for cameras, not the kernel.
        variables: Its environment; None for that of the tests.
    """

    def __init__(
        self,
        label: str,
        *,
        size_wh: tuple[int, int],
        fake_camera: Path | None = None,
        program: str = PROGRAM,
        by_pipewire: bool = False,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._label = label
        self._program = program
        self._by_pipewire = by_pipewire
        self._variables = variables
        self._size_wh = size_wh
        self._fake_camera = fake_camera
        self._commands: queue.Queue[str] = queue.Queue()
        self._changed = threading.Condition()
        self._reports: list[tuple[str, Any]] = []
        self._seen: dict[str, list[Seen]] = {"camera": [], "received": []}
        self._server: ThreadingHTTPServer | None = None
        self._serving: threading.Thread | None = None
        self._browser: subprocess.Popen[bytes] | None = None
        self._profile = Path()
        self._log: IO[bytes] | None = None

    def __enter__(self) -> Self:
        """Start serving, and the browser; `wait_for("loaded", ...)` says when the page is there."""
        program = shutil.which(self._program)
        if program is None:
            raise ViewerError(f"{self._program} is not installed")
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        self._serving = threading.Thread(target=self._server.serve_forever, name="viewer-server")
        self._serving.start()
        self._profile = Path(tempfile.mkdtemp(prefix="livecomp-viewer-"))
        self._log = self.log.open("wb")
        width, height = self._size_wh
        query = urllib.parse.urlencode({"label": self._label, "width": width, "height": height})
        address = f"http://127.0.0.1:{self._server.server_port}/?{query}"
        # a session of its own: the program is a script, and many processes
        self._browser = subprocess.Popen(
            [program, *self._flags(), address],
            env=self._variables,
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,
        )
        return self

    def _flags(self) -> list[str]:
        if self._program == FIREFOX:
            preferences = {**_PREFERENCES, "media.webrtc.camera.allow-pipewire": self._by_pipewire}
            lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in preferences.items()]
            (self._profile / "user.js").write_text("".join(lines))
            return ["--headless", "--no-remote", "--profile", str(self._profile)]
        flags = [*_FLAGS, f"--user-data-dir={self._profile}", "--remote-debugging-port=0"]
        if self._by_pipewire:
            flags.append("--enable-features=WebRtcPipeWireCamera")
        if self._fake_camera is not None:
            flags += ["--use-fake-device-for-media-stream", f"--use-file-for-fake-video-capture={self._fake_camera}"]
        return flags

    def __exit__(self, *_: object) -> None:
        """End the browser and the server."""
        if self._browser is not None:
            _end_group(self._browser)
        if self._server is not None and self._serving is not None:
            self._server.shutdown()
            self._serving.join()
            self._server.server_close()
        if self._log is not None:
            self._log.close()
            shutil.rmtree(self._profile, ignore_errors=True)

    def choose(self, timeout_s: float) -> str:
        """Pick the camera by its label, and watch it; returns the whole label.

        Raises:
            ViewerError: No camera has it, or it cannot be opened.
        """
        self._commands.put("choose")
        return str(self.wait_for("chosen", timeout_s))

    def connect(self, timeout_s: float) -> None:
        """Send the camera's picture through a WebRTC connection, and watch what arrives as the stream "received".

        Raises:
            ViewerError: It cannot be done.
        """
        self._commands.put("connect")
        self.wait_for("connected", timeout_s)

    @property
    def log(self) -> Path:
        """What the browser prints; it is gone when the browser is ended."""
        return self._profile / "log"

    def leave(self, timeout_s: float) -> None:
        """Let the camera go.

        Raises:
            ViewerError: It cannot be done.
        """
        self._commands.put("leave")
        self.wait_for("left", timeout_s)

    def picture(self, timeout_s: float) -> bytes:
        """What is seen now, as PNG.

        Raises:
            ViewerError: It cannot be done.
        """
        before = len(self.reports("picture"))
        self._commands.put("picture")
        self.wait_until(lambda: len(self.reports("picture")) > before, timeout_s, "a picture")
        return base64.b64decode(self.reports("picture")[-1])

    def reports(self, kind: str) -> list[Any]:
        """Everything of a kind that the page reported so far."""
        with self._changed:
            return [data for name, data in self._reports if name == kind]

    def seen(self, stream: str = "camera", *, since_s: float = 0) -> list[Seen]:
        """The frames shown so far, or those since a Unix time."""
        with self._changed:
            return [frame for frame in self._seen[stream] if frame.time_s >= since_s]

    def wait_for(self, kind: str, timeout_s: float) -> Any:
        """The first report of a kind.

        Raises:
            ViewerError: The page reports a failure, or nothing of that kind comes in time.
        """
        self.wait_until(lambda: self.reports(kind), timeout_s, f"the report {kind!r}")
        return self.reports(kind)[0]

    def wait_until(self, holds: Callable[[], object], timeout_s: float, what: str) -> None:
        """Wait for something that depends on what was reported.

        Args:
            holds: Whether it is so.
            timeout_s: How long to wait.
            what: What is waited for, for the message.

        Raises:
            ViewerError: The browser ended, the page reports a failure, or it is not so in time.
        """
        deadline = time.monotonic() + timeout_s
        while not holds():
            if failed := self.reports("failed"):
                raise ViewerError(f"{failed}; cameras: {self.reports('cameras')}")
            if self._browser is None or self._browser.poll() is not None:
                raise ViewerError(f"the browser ended while it was waited for {what}: {self._said()}")
            if time.monotonic() > deadline:
                counts = {stream: len(frames) for stream, frames in self._seen.items()}
                raise ViewerError(f"{what} did not come within {timeout_s} s; frames: {counts}; {self._said()}")
            with self._changed:
                self._changed.wait(0.1)

    def _said(self) -> str:
        return self.log.read_text(errors="replace")[-1500:]

    def next_command(self) -> str:
        """What the page shall do next, waited for a moment; empty when there is nothing. For the server."""
        try:
            return self._commands.get(timeout=_POLL_S)
        except queue.Empty:
            return ""

    def take(self, kind: str, data: Any) -> None:
        """Keep a report. For the server."""
        with self._changed:
            if kind in self._seen:
                self._seen[kind] += [_seen_from_report(frame) for frame in data]
            else:
                self._reports.append((kind, data))
            self._changed.notify_all()


def _seen_from_report(frame: dict[str, Any]) -> Seen:
    numbers = frame["numbers"] or (None, None)
    width, height = frame["size_wh"]
    is_torn = numbers[0] != numbers[1]
    return Seen(frame["time_s"], frame["kind"], numbers[0], is_torn, frame["room"], (width, height))


def _end_group(leader: subprocess.Popen[bytes]) -> None:
    """End a process and all it started: politely, and after some seconds not."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader.pid, signal.SIGTERM)
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline:
            leader.poll()
            os.killpg(leader.pid, 0)
            time.sleep(0.05)
        os.killpg(leader.pid, signal.SIGKILL)
    leader.wait()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that ends leaves connections behind."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def _handler(viewer: Viewer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            if self.path == "/command":
                self._answer(viewer.next_command().encode(), "text/plain")
            else:
                self._answer(PAGE.read_bytes(), "text/html")

        def do_POST(self) -> None:
            report = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            viewer.take(report["kind"], report["data"])
            self._answer(b"", "text/plain")

        def _answer(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
