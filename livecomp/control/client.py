"""Ask a running call."""

from __future__ import annotations

import json
import select
import socket
from pathlib import Path
from typing import Any

from livecomp.control.place import default_socket, is_ours
from livecomp.errors import DependencyError, InputError, LiveCompError

__all__ = ["ask", "command"]

_LONGEST_ANSWER = 1 << 20
_STATUS = {"do": "status"}
_KINDS: dict[object, type[LiveCompError]] = {kind.exit_code: kind for kind in LiveCompError.__subclasses__()}


def ask(request: dict[str, Any], path: Path | None = None, *, timeout_s: float = 10.0) -> dict[str, Any]:
    """Send one request and wait for its answer: a change for as long as the call says its status meanwhile.

    Args:
        request: See `Steering.answer`.
        path: Of the socket; None for the usual one.
        timeout_s: How long to wait for a status.

    Raises:
        InputError: No call runs, it does not answer, or another user's program does at the usual place.
        DependencyError: The system has no Unix sockets.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise DependencyError("this Python has no Unix sockets, so a running call cannot be steered from outside")
    place = path or default_socket()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout_s)
        try:
            connection.connect(str(place))
            # the usual place may be in a folder that all can write to, where anybody could say that the slate is shown
            if path is None and not is_ours(connection):
                raise InputError(f"the socket {place} is another user's; set XDG_RUNTIME_DIR as it is for the call")
            connection.sendall(json.dumps(request).encode() + b"\n")
            while request != _STATUS and not select.select([connection], [], [], timeout_s)[0]:
                ask(_STATUS, place, timeout_s=timeout_s)
            with connection.makefile("rb") as lines:
                line = lines.readline(_LONGEST_ANSWER)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            raise InputError("no call is running; start one with `livecomp run -b SCENE`") from error
        except OSError as error:
            raise InputError(f"the call at {place} does not answer: {error}") from error
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise InputError(f"the call at {place} gave no valid answer: {line[:80]!r}") from error
    if not isinstance(answer, dict):
        raise InputError(f"the call at {place} gave no valid answer: {line[:80]!r}")
    return answer


def command(request: dict[str, Any], path: Path | None = None) -> dict[str, Any]:
    """As `ask`, but an answer that says no is raised.

    Raises:
        LiveCompError: As `ask`, or what the call raised, of the same kind.
    """
    answer = ask(request, path)
    if not answer.get("ok"):
        kind = _KINDS.get(answer.get("exit_code"), LiveCompError)
        raise kind(str(answer.get("error", "the call refused without a reason")))
    return answer
