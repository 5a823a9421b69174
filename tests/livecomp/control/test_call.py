"""A call in this process, with what plays in place of a camera, and the page in place of a virtual camera."""

from __future__ import annotations

import http.client
import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from livecomp.control import call as call_module
from livecomp.control.call import CallOptions, run_call
from livecomp.control.client import ask
from livecomp.control.steering import Steering
from livecomp.errors import ConfigError, InputError
from livecomp.live.session import LiveSession
from tests.livecomp.live.fakes import eventually

GIVEN = {
    "live.camera": "synthetic",
    "live.width": 160,
    "live.height": 120,
    "background.source": "#203040",
    "segment.model": "chroma",
    "segment.key_color": "#ff00ff",  # the wall of the synthetic room
    "harmonize.model": "identity",
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(call_module, "default_config_file", lambda: tmp_path / "config.toml")
    return tmp_path / "run" / "ctl.sock"


def hold(options: CallOptions) -> list[str]:
    """Hold a call until it is live; returns the states it went through, and the page's address first."""
    seen: list[str] = []

    def started(steering: Steering, address: str) -> None:
        seen.append(address)

    def tick(steering: Steering) -> None:
        state = steering.status()["state"]
        seen.append(state)
        if state == "live" or len(seen) > 40:
            steering.answer({"do": "stop"})

    run_call(options, started=started, tick=tick)
    return seen


def test_a_call_goes_live_and_ends_when_it_is_asked(place: Path) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    seen = hold(CallOptions(GIVEN, virtual_camera=False, preview=True, socket=place))
    assert seen[0].startswith("http://127.0.0.1:")
    assert seen[-1] == "live"
    assert not place.exists()
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_a_page_steers_and_a_signal_ends(place: Path) -> None:
    def use(address: str) -> None:
        url = urlsplit(address)
        connection = http.client.HTTPConnection(url.netloc, timeout=5)
        body = json.dumps({"do": "set", "values": {"composite.light_wrap": 0.75}})
        connection.request("POST", f"{url.path}ask", body, {"Content-Type": "application/json"})
        answers.append(json.loads(connection.getresponse().read()))
        connection.close()
        answers.append(ask({"do": "config"}, place)["config"]["composite.light_wrap"])
        signal.raise_signal(signal.SIGTERM)

    answers: list[object] = []
    using: list[threading.Thread] = []

    def started(steering: Steering, address: str) -> None:
        using.append(threading.Thread(target=use, args=(address,)))
        using[0].start()

    run_call(CallOptions(GIVEN, virtual_camera=False, preview=True, socket=place), started=started)
    using[0].join()
    assert answers == [{"ok": True}, 0.75]


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer of the system here")
def test_a_signal_ends_a_call_whatever_it_interrupts(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lock that the main thread holds while it waits is none that ending needs."""
    wait, running, interrupted = threading.Condition.wait, threading.Event(), threading.Event()

    def interrupted_wait(self: threading.Condition, timeout: float | None = None) -> bool:
        if threading.current_thread() is threading.main_thread() and running.is_set() and not interrupted.is_set():
            interrupted.set()
            signal.raise_signal(signal.SIGTERM)
        return wait(self, timeout)

    def give_up(number: int, frame: object) -> None:
        raise TimeoutError("the signal waits for what it has interrupted")

    def tick(steering: Steering) -> None:
        interrupted.set()  # a second signal would end the tests
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(threading.Condition, "wait", interrupted_wait)
    usual = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, 20)
    try:
        run_call(
            CallOptions(GIVEN, virtual_camera=False, preview=True, socket=place),
            started=lambda steering, address: running.set(),
            tick=tick,
        )
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, usual)


@pytest.mark.parametrize("nohup", [False, True])
def test_a_call_ends_with_its_terminal_unless_it_ignores_that(tmp_path: Path, nohup: bool) -> None:
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))  # none on Windows

    def take_terminal() -> None:
        """In the child, before Python starts."""
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if nohup else signal.SIG_DFL)

    def is_live() -> bool:
        os.read(terminal, 65536)  # who does not read would hold the call up
        with suppress(InputError):
            return bool(ask({"do": "status"}, tmp_path / "livecomp" / "ctl.sock")["status"]["state"] == "live")
        return False

    settings = [f"{key} = {json.dumps(value)}" for key, value in GIVEN.items()]
    (tmp_path / "config.toml").write_text("\n".join(settings))
    command = [sys.executable, "-m", "livecomp", "preview", "--config", str(tmp_path / "config.toml")]
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path), "TERM": "xterm"}
    try:
        terminal, inside = pty.openpty()
    except OSError as error:  # as in containers without /dev/pts
        pytest.skip(f"no terminal can be made here: {error}")
    process = subprocess.Popen(
        command,
        stdin=inside,
        stdout=inside,
        stderr=inside,
        env=environment,
        start_new_session=True,
        preexec_fn=take_terminal,
    )
    os.close(inside)
    try:
        assert eventually(is_live, within_s=60)
        os.close(terminal)
        if nohup:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(3)
        else:
            assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


def test_without_unix_sockets_a_call_runs_and_says_so(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delattr(socket, "AF_UNIX")
    with caplog.at_level(logging.WARNING):
        assert hold(CallOptions(GIVEN, virtual_camera=False, preview=True, socket=place))[-1] == "live"
    assert "no Unix sockets" in caplog.text


def test_the_file_counts_and_the_command_line_more(place: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("background.source = '#ffffff'\ncomposite.light_wrap = 0.5\n")
    found: list[dict[str, object]] = []

    def started(steering: Steering, address: str) -> None:
        found.append(steering.answer({"do": "config"})["config"])
        file.write_text("composite.light_wrap = 0.6\n")

        def follows() -> bool:
            return bool(steering.answer({"do": "config"})["config"]["composite.light_wrap"] == 0.6)

        found.append({"follows": eventually(follows, 5)})
        steering.answer({"do": "stop"})

    run_call(CallOptions(GIVEN, file=file, virtual_camera=False, preview=True, socket=place), started=started)
    assert found[0]["background.source"] == "#203040"
    assert found[0]["composite.light_wrap"] == 0.5
    assert found[1]["follows"]


def test_an_edit_of_the_file_while_the_call_loads_is_followed(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "config.toml"
    file.write_text("composite.light_wrap = 0.5\n")
    follows: list[bool] = []

    class Slow(LiveSession):
        def start(self) -> None:
            file.write_text("composite.light_wrap = 0.6\n")
            time.sleep(0.3)
            super().start()

    def started(steering: Steering, address: str) -> None:
        follows.append(eventually(lambda: steering.answer({"do": "config"})["config"]["composite.light_wrap"] == 0.6))
        steering.answer({"do": "stop"})

    monkeypatch.setattr(call_module, "LiveSession", Slow)
    run_call(CallOptions(GIVEN, virtual_camera=False, preview=True, socket=place), started=started)
    assert follows == [True]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"live.fps": 1000}, "live.fps"),
        ({"background.source": "nowhere.jpg"}, "no background"),
        ({"segment.model": "magic"}, "known are"),
    ],
)
def test_what_cannot_begin_is_told_and_leaves_nothing(place: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        hold(CallOptions(GIVEN | options, virtual_camera=False, preview=True, socket=place))
    assert not place.exists()
    with pytest.raises(ConfigError, match="there is no configuration file"):
        hold(CallOptions(GIVEN, file=place.with_name("missing.toml"), socket=place))
    with pytest.raises(InputError):
        ask({"do": "status"}, place)
