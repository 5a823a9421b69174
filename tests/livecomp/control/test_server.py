from __future__ import annotations

import json
import os
import socket
import stat
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from livecomp.control import place as place_module
from livecomp.control import server as server_module
from livecomp.control.client import ask, command
from livecomp.control.place import LONGEST_PATH, default_socket
from livecomp.control.server import ControlServer
from livecomp.errors import ConfigError, DependencyError, InputError, LiveCompError, ModelError, OutputError
from tests.livecomp.live.fakes import eventually

pytestmark = pytest.mark.skipif(not hasattr(socket, "AF_UNIX"), reason="no Unix sockets here")


def echo(request: object) -> dict[str, Any]:
    if request == {"do": "break"}:
        raise ValueError("broken on purpose")
    if request == {"do": "refuse"}:
        return {"ok": False, "error": "no"}
    if request == {"do": "take long"}:
        time.sleep(0.7)
    return {"ok": True, "request": request}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "ctl.sock"


@pytest.fixture
def server(path: Path) -> Iterator[ControlServer]:
    running = ControlServer(path, echo)
    running.start()
    yield running
    running.stop()


def connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(5)
    connection.connect(str(path))
    return connection


def test_it_answers_and_is_private(server: ControlServer, path: Path) -> None:
    assert ask({"do": "status"}, path) == {"ok": True, "request": {"do": "status"}}
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", [InputError, OutputError, ModelError, DependencyError, ConfigError])
def test_a_refusal_is_raised_for_a_command_as_it_was_in_the_call(path: Path, kind: type[LiveCompError]) -> None:
    running = ControlServer(path, lambda request: {"ok": False, "error": "no", "exit_code": kind.exit_code})
    running.start()
    with pytest.raises(kind, match="no"):
        command({"do": "set"}, path)
    running.stop()


def test_a_refusal_of_no_kind_is_raised_as_unexpected(server: ControlServer, path: Path) -> None:
    for request in ({"do": "refuse"}, {"do": "break"}):
        with pytest.raises(LiveCompError) as error:
            command(request, path)
        assert error.value.exit_code == 1


def test_a_change_that_takes_long_is_waited_for_while_the_call_answers(server: ControlServer, path: Path) -> None:
    assert ask({"do": "take long"}, path, timeout_s=0.2)["ok"]


def test_a_change_is_not_waited_for_when_the_call_answers_nothing(path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as suspended:
        suspended.bind(str(path))
        suspended.listen()
        start = time.monotonic()
        with pytest.raises(InputError, match="does not answer"):
            ask({"do": "set"}, path, timeout_s=0.2)
        assert time.monotonic() - start < 2


def test_a_failing_answer_is_told_and_the_server_goes_on(server: ControlServer, path: Path) -> None:
    answer = ask({"do": "break"}, path)
    assert not answer["ok"]
    assert "broken on purpose" in answer["error"]
    assert ask({"do": "status"}, path)["ok"]


def test_several_requests_on_one_connection(server: ControlServer, path: Path) -> None:
    with connected(path) as connection, connection.makefile("rb") as lines:
        for number in range(3):
            connection.sendall(json.dumps({"n": number}).encode() + b"\n")
            assert json.loads(lines.readline())["request"] == {"n": number}


@pytest.mark.parametrize("data", [b"no json\n", b"\xff\xfe\n", b"[" * 5000 + b"\n", b'{"a": ' + b"1" * 70_000 + b"}\n"])
def test_nonsense_is_answered_and_harms_nobody(server: ControlServer, path: Path, data: bytes) -> None:
    with connected(path) as connection, connection.makefile("rb") as lines:
        connection.sendall(data)
        assert not json.loads(lines.readline())["ok"]
    assert ask({"do": "status"}, path)["ok"]


def test_idle_clients_do_not_keep_others_out_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "_PATIENCE_S", 0.2)
    running = ControlServer(path, echo)
    running.start()
    with ExitStack() as idle:
        for _ in range(16):
            idle.enter_context(connected(path))
            time.sleep(0.005)
        idle.callback(running.stop)

        assert eventually(lambda: _is_answered(path), 5)


def _is_answered(path: Path) -> bool:
    try:
        return bool(ask({"do": "status"}, path)["ok"])
    except InputError:
        return False


def test_stopping_ends_connections_and_removes_the_socket(path: Path) -> None:
    running = ControlServer(path, echo)
    running.start()
    with connected(path) as connection:
        start = time.monotonic()
        running.stop()
        running.stop()
        assert time.monotonic() - start < 2
        assert connection.recv(1) == b""
    assert not path.exists()
    with pytest.raises(InputError, match="no call is running"):
        ask({"do": "status"}, path)


def test_a_request_may_stop_the_server_from_within(path: Path) -> None:
    stopped = threading.Event()

    def stop(request: object) -> dict[str, Any]:
        stopped.set()
        return {"ok": True}

    running = ControlServer(path, stop)
    running.start()
    assert ask({"do": "stop"}, path)["ok"]
    assert stopped.wait(1)
    running.stop()


def test_the_place_of_a_dead_call_is_taken_and_that_of_a_living_one_is_not(server: ControlServer, path: Path) -> None:
    with pytest.raises(OutputError, match="another LiveComp runs"):
        ControlServer(path, echo).start()
    assert ask({"do": "status"}, path)["ok"]
    dead = path.with_name("dead.sock")
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(dead))
    left.close()
    second = ControlServer(dead, echo)
    second.start()
    assert ask({"do": "status"}, dead)["ok"]
    second.stop()


def test_of_two_calls_that_begin_at_once_one_is_told_of_the_other(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inode, met, started, told = server_module._inode, threading.Barrier(2), [], []

    def slowly(place: Path) -> tuple[int, int]:  # between the moment at which a call has the place and that it listens
        time.sleep(0.2)
        return inode(place)

    def start() -> None:
        server = ControlServer(path, echo)
        met.wait(5)
        try:
            server.start()
            started.append(server)
        except OutputError as error:
            told.append(str(error))

    monkeypatch.setattr(server_module, "_inode", slowly)
    starting = [threading.Thread(target=start) for _ in range(2)]
    for thread in starting:
        thread.start()
    for thread in starting:
        thread.join()
    for server in started:
        server.stop()
    assert len(started) == 1
    assert "another LiveComp runs" in told[0]


@pytest.mark.parametrize("waiting", [0, 1, 2])
def test_the_place_of_a_call_that_does_not_answer_is_not_taken(path: Path, waiting: int) -> None:
    """A suspended one, for which none or as many wait as there is room for."""
    path.parent.mkdir(mode=0o700)
    with ExitStack() as sockets:
        suspended = sockets.enter_context(socket.socket(socket.AF_UNIX))
        suspended.bind(str(path))
        suspended.listen(1)
        for _ in range(waiting):
            sockets.enter_context(connected(path))
        start = time.monotonic()
        with pytest.raises(OutputError, match="another LiveComp runs"):
            ControlServer(path, echo).start()
        assert time.monotonic() - start < 3
        assert path.exists()


def test_the_place_of_a_call_with_too_many_clients_is_not_taken(server: ControlServer, path: Path) -> None:
    with ExitStack() as clients:
        for _ in range(16):
            clients.enter_context(connected(path))
        with pytest.raises(OutputError, match="another LiveComp runs"):
            ControlServer(path, echo).start()
    assert eventually(lambda: _is_answered(path))


def test_stopping_leaves_the_socket_of_another_alone(path: Path) -> None:
    first, second = ControlServer(path, echo), ControlServer(path, echo)
    first.start()
    path.unlink()
    second.start()
    first.stop()
    assert ask({"do": "status"}, path)["ok"]
    second.stop()
    assert not path.exists()


def test_what_is_in_the_way_is_named(tmp_path: Path, path: Path) -> None:
    path.parent.mkdir(mode=0o700)
    path.write_text("not a socket")
    with pytest.raises(OutputError, match="is in the way"):
        ControlServer(path, echo).start()
    assert path.read_text() == "not a socket"
    opened = tmp_path / "open"
    opened.mkdir(mode=0o755)
    with pytest.raises(OutputError, match="chmod 700"):
        ControlServer(opened / "ctl.sock", echo).start()
    (tmp_path / "link").symlink_to(path.parent)
    with pytest.raises(OutputError, match="not a folder of yours"):
        ControlServer(tmp_path / "link" / "other.sock", echo).start()
    with pytest.raises(OutputError, match="longer than"):
        ControlServer(tmp_path / ("x" * LONGEST_PATH), echo).start()


@pytest.fixture
def strangers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is at the other end is another user."""
    if not hasattr(socket, "SO_PEERCRED"):
        pytest.skip("this system does not tell who connects")
    monkeypatch.setattr(place_module.os, "getuid", lambda: 4711)
    monkeypatch.setattr(place_module, "struct", Mock(unpack=lambda *_: (1, 4712, 1), calcsize=struct.calcsize))


def test_other_users_are_not_answered(server: ControlServer, path: Path, strangers: None) -> None:
    with connected(path) as client:
        assert client.recv(1) == b""


def test_other_users_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strangers: None) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    path = default_socket()
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        with pytest.raises(InputError, match="another user's"):
            ask({"do": "act", "action": "slate"}, timeout_s=0.5)
        client, _ = listening.accept()
        with client:
            assert client.recv(1) == b""


def test_a_call_that_says_nothing_sensible_is_told(tmp_path: Path) -> None:
    path = tmp_path / "odd.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def speak() -> None:
            client, _ = listening.accept()
            with client:
                client.recv(100)
                client.sendall(b"[1, 2]\n")

        speaking = threading.Thread(target=speak)
        speaking.start()
        with pytest.raises(InputError, match="no valid answer"):
            ask({"do": "status"}, path)
        speaking.join()


def test_the_usual_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/1")
    assert default_socket() == Path("/run/user/1/livecomp/ctl.sock")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert str(os.getuid()) in str(default_socket())
