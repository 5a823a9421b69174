"""The socket of a running call: one line of JSON asks, one line answers."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from livecomp.control.place import LONGEST_PATH, is_ours, make_private
from livecomp.errors import DependencyError, OutputError

if sys.platform != "win32":  # where there are no such sockets either
    import fcntl

__all__ = ["ControlServer"]

log = logging.getLogger(__name__)

_LONGEST_REQUEST = 1 << 16
_MOST_CLIENTS = 16
_PATIENCE_S = 10.0
_LONGEST_CONNECT_S = 2.0


class ControlServer:
    """Answers requests of this user's programs, each connection in a thread of its own.

    Args:
        path: Of the socket; its folder is made private.
        answer: Gives the answer to a request; called from several threads.
    """

    def __init__(self, path: Path, answer: Callable[[object], dict[str, Any]]) -> None:
        self._path = path
        self._answer = answer
        self._socket: socket.socket | None = None
        self._inode = (0, 0)
        self._accepting: threading.Thread | None = None
        self._clients: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()
        self._stopping = False

    def start(self) -> None:
        """Take the socket's place and begin to answer.

        Raises:
            OutputError: The place cannot be had: another call runs, a file is in the way, or the path is too long.
            DependencyError: The system has no Unix sockets.
        """
        if not hasattr(socket, "AF_UNIX"):
            raise DependencyError("this Python has no Unix sockets, so a running call cannot be steered from outside")
        if len(os.fsencode(self._path)) > LONGEST_PATH:
            raise OutputError(f"the path of the socket is longer than {LONGEST_PATH} bytes: {self._path}")
        make_private(self._path.parent)
        with _alone_in(self._path.parent):
            self._clear_place()
            self._socket = self._listen()
        self._accepting = threading.Thread(target=self._accept, name="livecomp-control", daemon=True)
        self._accepting.start()

    def _listen(self) -> socket.socket:
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # the umask is the process's: a folder of mode 700 keeps others out until the socket itself is closed to them
        try:
            listening.bind(str(self._path))
            self._inode = _inode(self._path)
            self._path.chmod(0o600)
            listening.listen(_MOST_CLIENTS)
        except OSError as error:
            listening.close()
            raise OutputError(f"cannot listen at {self._path}: {error.strerror}") from error
        return listening

    def stop(self) -> None:
        """Close all connections and remove the socket, unless its place is another's by now; harmless when repeated."""
        if self._socket is None or self._accepting is None:
            return
        self._stopping = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._accepting.join()
        # until it is closed nothing else can have its inode
        with contextlib.suppress(FileNotFoundError), _alone_in(self._path.parent):
            if _inode(self._path) == self._inode:
                self._path.unlink()
        self._socket.close()
        self._socket = None
        with self._lock:
            clients = dict(self._clients)
        for client, thread in clients.items():
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            if thread is not threading.current_thread():
                thread.join()

    def _clear_place(self) -> None:
        """Remove the socket of a call that is no more, which nobody can connect to.

        Raises:
            OutputError: Something else is there, or a call that runs, though it may not answer now.
        """
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise OutputError(f"{self._path} is in the way and is no socket; remove it")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_LONGEST_CONNECT_S)
            try:
                connection.connect(str(self._path))
            except FileNotFoundError:
                return
            except ConnectionRefusedError:
                self._path.unlink(missing_ok=True)
                return
            except OSError as error:
                log.debug("the call that runs does not answer: %s", error)
        raise OutputError(
            "another LiveComp runs already; end it with `livecomp ctl stop`, or its process if it does not answer"
        )

    def _accept(self) -> None:
        assert self._socket is not None
        while not self._stopping:
            try:
                client, _ = self._socket.accept()
            except OSError:
                # the socket was shut down; anything else would come again at once
                return
            if not is_ours(client) or len(self._clients) >= _MOST_CLIENTS:
                client.close()
                continue
            thread = threading.Thread(target=self._serve, args=(client,), name="livecomp-control-client", daemon=True)
            with self._lock:
                self._clients[client] = thread
            thread.start()

    def _serve(self, client: socket.socket) -> None:
        try:
            client.settimeout(_PATIENCE_S)
            with client.makefile("rb") as lines:
                while line := lines.readline(_LONGEST_REQUEST + 1):
                    reply = self._reply(line)
                    client.sendall(json.dumps(reply).encode() + b"\n")
                    if len(line) > _LONGEST_REQUEST:
                        break
        except (OSError, ValueError) as error:
            log.debug("a client has gone: %s", error)
        finally:
            with self._lock:
                self._clients.pop(client, None)
            client.close()

    def _reply(self, line: bytes) -> dict[str, Any]:
        if len(line) > _LONGEST_REQUEST:
            return {"ok": False, "error": f"a request has at most {_LONGEST_REQUEST} bytes"}
        try:
            request = json.loads(line)
        except (ValueError, RecursionError) as error:
            return {"ok": False, "error": f"expected a line of JSON: {error}"}
        try:
            return self._answer(request)
        except Exception as error:  # a thread's boundary: a client must not take the call down
            log.warning("a request failed: %s: %s", type(error).__name__, error)
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Within, no other call takes or leaves a place in this folder.

    A socket that is bound but does not listen yet refuses connections, as that of a call that is no more does.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # file systems without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _inode(path: Path) -> tuple[int, int]:
    """What tells a file from another that took its place."""
    found = path.lstat()
    return found.st_dev, found.st_ino
