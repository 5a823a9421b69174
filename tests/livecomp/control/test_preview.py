from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest.mock import Mock
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from livecomp.control import preview as preview_module
from livecomp.control.options import check_key
from livecomp.control.preview import PreviewServer, PreviewSink
from livecomp.errors import OutputError
from livecomp.frame import Composite, freeze
from tests.livecomp.live.fakes import eventually
from tests.v4l2.browser.viewer import PROGRAM

RED = (200, 40, 30)


def test_every_control_of_the_page_is_an_option() -> None:
    page = preview_module.files("livecomp").joinpath("assets/preview.html").read_text("utf-8")
    keys = re.findall(r'data-key="([^"]+)"', page)
    assert {"composite.color_strength", "person.size", "background.source"} <= set(keys)
    for key in keys:
        check_key(key)


def picture(rgb: tuple[int, int, int] = RED) -> Composite:
    return Composite(freeze(np.full((48, 64, 3), rgb, np.uint8)), time.monotonic_ns())


@dataclass
class Page:
    sink: PreviewSink
    server: PreviewServer
    asked: list[object]

    @property
    def port(self) -> int:
        return urlsplit(self.server.address).port or 0

    @property
    def folder(self) -> str:
        return urlsplit(self.server.address).path

    def request(
        self, method: str, path: str, body: str | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            return reply.status, {key.lower(): value for key, value in reply.getheaders()}, reply.read()
        finally:
            connection.close()


@pytest.fixture
def page() -> Iterator[Page]:
    asked: list[object] = []

    def answer(request: object) -> dict[str, Any]:
        asked.append(request)
        if request == {"do": "break"}:
            raise ValueError("broken on purpose")
        return {"ok": True, "status": {"state": "live"}}

    sink = PreviewSink()
    sink.open()
    server = PreviewServer(sink, answer)
    server.start()
    yield Page(sink, server, asked)
    server.stop()


def parts(page: Page, count: int) -> list[np.ndarray[Any, Any]]:
    """The first pictures of a stream."""
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=5)
    connection.request("GET", f"{page.folder}stream")
    reply = connection.getresponse()
    assert reply.getheader("Content-Type", "").startswith("multipart/x-mixed-replace")
    pictures = []
    for _ in range(count):
        length = 0
        while (line := reply.fp.readline()) != b"\r\n":
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        pictures.append(np.asarray(cv2.imdecode(np.frombuffer(reply.fp.read(length), np.uint8), cv2.IMREAD_COLOR)))
        assert reply.fp.read(2) == b"\r\n"
    connection.close()
    return pictures


def test_the_page_allows_nothing_but_itself(page: Page) -> None:
    status, headers, body = page.request("GET", page.folder)
    assert status == 200
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    nonce = policy.split("'nonce-")[1].split("'")[0]
    assert f'<script nonce="{nonce}">' in body.decode()
    assert b"http://" not in body
    assert b"https://" not in body
    assert headers["cache-control"] == "no-store"


def test_pictures_are_shown_as_they_come(page: Page) -> None:
    stop = threading.Event()

    def write() -> None:
        while not stop.wait(0.02):
            page.sink.write(picture())

    writing = threading.Thread(target=write)
    writing.start()
    shown = parts(page, 3)
    stop.set()
    writing.join()
    for bgr in shown:
        assert np.abs(bgr[..., ::-1].astype(int) - RED).max() < 8
    assert eventually(lambda: page.sink.viewers == 0)


def test_the_page_asks_the_call(page: Page) -> None:
    request = {"do": "set", "values": {"composite.light_wrap": 0.5}}
    kind = {"Content-Type": "application/json"}
    status, _, body = page.request("POST", f"{page.folder}ask", json.dumps(request), **kind)
    assert status == 200
    assert json.loads(body)["ok"]
    assert page.asked == [request]
    assert json.loads(page.request("GET", f"{page.folder}status")[2])["status"]["state"] == "live"


def test_without_the_secret_there_is_nothing(page: Page) -> None:
    for path in ("/", "/status", "/x/status", "/x/", page.folder.upper().swapcase() + "nowhere", "/%00/"):
        assert page.request("GET", path)[0] == 404, path
    assert page.asked == []


def test_other_sites_cannot_reach_it(page: Page) -> None:
    """By a name that resolves to this machine, or from a page of theirs."""
    assert page.request("GET", f"{page.folder}status", Host="evil.example")[0] == 403
    body, kind = '{"do": "stop"}', {"Content-Type": "application/json"}
    assert page.request("POST", f"{page.folder}ask", body, Origin="http://evil.example", **kind)[0] == 403
    assert page.request("POST", f"{page.folder}ask", body, **{"Content-Type": "text/plain"})[0] == 400
    assert page.asked == []


@pytest.mark.parametrize("body", ["no json", "", "x" * 70_000, "[" * 60_000])
def test_nonsense_is_refused(page: Page, body: str) -> None:
    status, _, _ = page.request("POST", f"{page.folder}ask", body, **{"Content-Type": "application/json"})
    assert status == 400
    assert page.asked == []


def test_a_taken_port_is_an_error(page: Page) -> None:
    with pytest.raises(OutputError, match="name another"):
        PreviewServer(PreviewSink(), lambda request: {}, port=page.port).start()


def test_stopping_ends_streams(page: Page) -> None:
    page.sink.write(picture())
    connection = http.client.HTTPConnection("127.0.0.1", page.port, timeout=5)
    connection.request("GET", f"{page.folder}stream")
    reply = connection.getresponse()
    assert reply.fp.readline().startswith(b"--")
    assert page.sink.viewers == 1
    start = time.monotonic()
    page.server.stop()
    page.server.stop()
    while reply.read1(1 << 16):
        assert time.monotonic() - start < 1
    assert time.monotonic() - start < 1
    connection.close()
    assert eventually(lambda: page.sink.viewers == 0)
    with pytest.raises(OutputError, match="does not run"):
        _ = page.server.address


def test_a_request_that_fails_is_answered(page: Page, caplog: pytest.LogCaptureFixture) -> None:
    kind = {"Content-Type": "application/json"}
    status, headers, body = page.request("POST", f"{page.folder}ask", '{"do": "break"}', **kind)
    assert (status, headers["content-type"]) == (500, "application/json")
    assert json.loads(body) == {"ok": False, "error": "broken on purpose"}
    assert "broken on purpose" in caplog.text


def test_a_page_that_is_closed_says_nothing_on_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    asked, closed = threading.Event(), threading.Event()

    def answer(request: object) -> dict[str, Any]:
        asked.set()
        closed.wait(5)
        return {"ok": True}

    sink = PreviewSink()
    sink.open()
    server = PreviewServer(sink, answer)
    server.start()
    url = urlsplit(server.address)
    with socket.create_connection((url.hostname, url.port)) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closed by a reset
        connection.sendall(f"GET {url.path}status HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode())
        assert asked.wait(5)
    closed.set()
    assert eventually(lambda: not any("process_request" in thread.name for thread in threading.enumerate()))
    server.stop()
    assert capfd.readouterr().err == ""


STEERED = """
  <script nonce="@NONCE@">
    const after = (ms) => new Promise((done) => setTimeout(done, ms));
    const error = () => document.getElementById("error").textContent;
    const report = () => ask({ do: "report", error: error() });
    const choose = (background) => {
      const input = document.querySelector("[data-key='background.source']");
      input.value = background;
      input.dispatchEvent(new Event("change"));
    };
    (async () => {
      choose("nowhere.jpg");
      while (!error()) await after(5);
      await after(1500);
      await report();
      choose("white");
      while (error()) await after(5);
      await report();
    })();
  </script>
"""
HASTY = """
  <script nonce="@NONCE@">
    const usual = setInterval;
    window.setInterval = (what, after_ms) => usual(what, after_ms / 20);
  </script>
"""


def test_what_is_wrong_stays_on_the_page_until_the_user_asks_for_something_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = shutil.which(PROGRAM)
    if program is None:
        pytest.skip(f"{PROGRAM} is not installed: apt-get install {PROGRAM}")
    asked: list[str] = []
    errors: list[str] = []

    def answer(request: Any) -> dict[str, Any]:
        asked.append(request["do"])
        if request["do"] == "report":
            errors.append(request["error"])
        if request["do"] == "set" and request["values"] == {"background.source": "nowhere.jpg"}:
            return {"ok": False, "error": "no background"}
        return {"ok": True, "config": {}}

    page = preview_module.files("livecomp").joinpath("assets/preview.html").read_text("utf-8")
    page = page.replace("<script", f"{HASTY}<script", 1).replace("</body>", f"{STEERED}</body>")
    monkeypatch.setattr(
        preview_module, "files", lambda _: Mock(**{"joinpath.return_value.read_text.return_value": page})
    )
    sink = PreviewSink()
    sink.open()
    server = PreviewServer(sink, answer)
    server.start()
    flags = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--remote-debugging-port=0")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [program, *flags, f"--user-data-dir={profile}", server.address]
        browser = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            assert eventually(lambda: len(errors) == 2, 60)
        finally:
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()
            server.stop()
    assert errors == ["no background", ""]
    assert asked[asked.index("set") : asked.index("report")].count("config") > 3


def test_nothing_is_encoded_while_nobody_looks(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("encoded for nobody")

    monkeypatch.setattr("livecomp.control.preview._jpeg", fail)
    for _ in range(5):
        page.sink.write(picture())
    assert page.sink.viewers == 0


def test_idle_connections_take_neither_threads_nor_descriptors_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody on this machine can connect, with the secret or without."""
    monkeypatch.setattr("livecomp.control.preview._MOST_CONNECTIONS", 4)
    server = PreviewServer(PreviewSink(), lambda request: {"ok": True})
    server.start()
    try:
        port = urlsplit(server.address).port or 0
        idle = [socket.create_connection(("127.0.0.1", port), timeout=5) for _ in range(6)]
        for connection in idle[4:]:
            assert connection.recv(1) == b""
        for connection in idle:
            connection.close()

        def is_served() -> bool:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            try:
                connection.request("GET", urlsplit(server.address).path)
                return connection.getresponse().status == 200
            except (OSError, http.client.HTTPException):
                return False
            finally:
                connection.close()

        assert eventually(is_served)
    finally:
        server.stop()
