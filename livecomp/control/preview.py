"""The composite in a browser: a page of this machine alone, behind a secret in its address.

The page shows the picture, what the call says of itself, and sliders. Nothing is encoded while nobody looks.
"""

from __future__ import annotations

import json
import logging
import secrets
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any

import cv2

from livecomp.errors import OutputError, reason
from livecomp.frame import Composite
from livecomp.output.check import check_composite

__all__ = ["PreviewServer", "PreviewSink"]

log = logging.getLogger(__name__)

_QUALITY = 82
_LONGEST_INTERVAL_S = 1.0
_LONGEST_REQUEST = 1 << 16
_BOUNDARY = "livecomp-frame"
_MOST_CONNECTIONS = 32
"""A browser takes six for a page. Other users of this machine, who can connect too, must not use up the call's
descriptors."""


class PreviewSink:
    """Holds the newest composite for whoever looks."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._newest: Composite | None = None
        self._number = 0
        self._viewers = 0
        self._is_open = False

    @property
    def viewers(self) -> int:
        """How many look now."""
        return self._viewers

    def open(self) -> None:
        """See `Sink.open`."""
        self._is_open = True

    def write(self, composite: Composite) -> None:
        """See `Sink.write`."""
        check_composite(composite, None)
        with self._condition:
            self._newest = composite
            self._number += 1
            self._condition.notify_all()

    def close(self) -> None:
        """See `Sink.close`; ends all streams."""
        with self._condition:
            self._is_open = False
            self._newest = None
            self._condition.notify_all()

    def abort(self) -> None:
        """See `Sink.abort`."""
        self.close()

    def watch(self, send: Callable[[bytes], None]) -> None:
        """Send JPEG pictures, the newest each time, until the sink closes or `send` raises.

        Args:
            send: Takes one picture; how long it takes decides how many are encoded.
        """
        seen = -1
        with self._condition:
            self._viewers += 1
        try:
            while True:
                with self._condition:
                    # a slate that is written seldom is sent again, so that a closed page is noticed
                    if self._number == seen and self._is_open:
                        self._condition.wait(_LONGEST_INTERVAL_S)
                    newest, seen = self._newest, self._number
                    if not self._is_open:
                        return
                if newest is not None:
                    send(_jpeg(newest))
        finally:
            with self._condition:
                self._viewers -= 1


def _jpeg(composite: Composite) -> bytes:
    bgr = cv2.cvtColor(composite.rgb, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
    if not done:
        raise OutputError("the preview cannot be encoded")
    return data.tobytes()


class PreviewServer:
    """Serves the page.

    Args:
        sink: Gives the pictures.
        answer: Answers the page's requests, as `Steering.answer` does.
        port: 0 takes a free one.
    """

    def __init__(self, sink: PreviewSink, answer: Callable[[object], dict[str, Any]], *, port: int = 0) -> None:
        self._sink = sink
        self._answer = answer
        self._port = port
        self._token = secrets.token_urlsafe(16)
        self._server: _Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def address(self) -> str:
        """Of the page, with its secret.

        Raises:
            OutputError: The server does not run.
        """
        if self._server is None:
            raise OutputError("the preview does not run")
        return f"http://127.0.0.1:{self._server.server_port}/{self._token}/"

    def start(self) -> None:
        """Begin to serve.

        Raises:
            OutputError: The port is taken.
        """
        try:
            self._server = _Server(("127.0.0.1", self._port), _Handler)
        except OSError as error:
            raise OutputError(f"the preview cannot have port {self._port}: {error.strerror}; name another") from error
        self._server.sink, self._server.answer, self._server.token = self._sink, self._answer, self._token
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="livecomp-preview", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """End all connections; harmless when repeated."""
        if self._server is None or self._thread is None:
            return
        self._sink.close()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server = None


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    sink: PreviewSink
    answer: Callable[[object], dict[str, Any]]
    token: str

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._free = threading.Semaphore(_MOST_CONNECTIONS)
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  as the base class has it
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401  likewise
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A page that was closed in the middle of something is no news for the terminal."""
        log.debug("a connection of the preview failed", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "LiveComp"
    sys_version = ""
    timeout = 10

    def do_GET(self) -> None:
        match self._place():
            case "":
                self._page()
            case "stream":
                self._stream()
            case "status":
                self._reply({"do": "status"})
            case None:
                return
            case _:
                self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        place = self._place()
        if place is None:
            return
        origin = self.headers.get("Origin")
        if origin not in (None, f"http://{self.headers.get('Host')}"):
            self.send_error(HTTPStatus.FORBIDDEN, "asked by another page")
            return
        length = self.headers.get("Content-Length", "")
        is_json = self.headers.get_content_type() == "application/json"
        if place != "ask" or not is_json or not length.isdecimal() or int(length) > _LONGEST_REQUEST:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        try:
            request = json.loads(self.rfile.read(int(length)))
        except (ValueError, RecursionError):
            self.send_error(HTTPStatus.BAD_REQUEST, "no JSON")
            return
        self._reply(request)

    def _place(self) -> str | None:
        """What is asked for, below the secret; None when the request was refused."""
        host = self.headers.get("Host", "")
        if host not in (f"127.0.0.1:{self.server.server_port}", f"localhost:{self.server.server_port}"):
            self.send_error(HTTPStatus.FORBIDDEN, "another host name")
            return None
        _, token, *rest = [*self.path.split("?")[0].split("/", 2), "", ""]
        if not secrets.compare_digest(token.encode(), self.server.token.encode()):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return rest[0]

    def _page(self) -> None:
        nonce = secrets.token_urlsafe(12)
        page = files("livecomp").joinpath("assets/preview.html").read_text("utf-8").replace("@NONCE@", nonce)
        self._head("text/html; charset=utf-8", len(page.encode()), nonce)
        self.wfile.write(page.encode())

    def _reply(self, request: object) -> None:
        status = HTTPStatus.OK
        try:
            answer = self.server.answer(request)
        except Exception as error:  # a thread's boundary: a page must not take the call down
            log.warning("a request failed: %s: %s", type(error).__name__, error)
            answer, status = {"ok": False, "error": reason(error)}, HTTPStatus.INTERNAL_SERVER_ERROR
        data = json.dumps(answer).encode()
        self._head("application/json", len(data), status=status)
        self.wfile.write(data)

    def _stream(self) -> None:
        self.close_connection = True
        self._head(f"multipart/x-mixed-replace; boundary={_BOUNDARY}", None)

        def send(jpeg: bytes) -> None:
            head = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
            self.wfile.write(head.encode() + jpeg + b"\r\n")

        try:
            self.server.sink.watch(send)
        except OSError:
            log.debug("a preview was closed")

    def _head(self, kind: str, length: int | None, nonce: str = "", status: HTTPStatus = HTTPStatus.OK) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Cache-Control", "no-store")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        inline = f"'nonce-{nonce}'" if nonce else "'none'"
        policy = f"default-src 'none'; img-src 'self'; connect-src 'self'; script-src {inline}; style-src {inline}"
        self.send_header("Content-Security-Policy", f"{policy}; frame-ancestors 'none'; base-uri 'none'")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's name
        log.debug(format, *args)
