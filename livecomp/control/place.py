"""Where the socket of a running call is."""

from __future__ import annotations

import os
import socket
import stat
import struct
import tempfile
from pathlib import Path

from livecomp.errors import OutputError

__all__ = ["LONGEST_PATH", "default_socket", "is_ours", "make_private"]

LONGEST_PATH = 100
"""Bytes; the system allows 108 with the closing zero, some systems 104."""


def default_socket() -> Path:
    """``$XDG_RUNTIME_DIR/livecomp/ctl.sock``; without that folder one in the temporary folder, by user."""
    base = os.environ.get("XDG_RUNTIME_DIR")
    if base:
        return Path(base) / "livecomp" / "ctl.sock"
    return Path(tempfile.gettempdir()) / f"livecomp-{os.getuid() if hasattr(os, 'getuid') else 'user'}" / "ctl.sock"


def make_private(folder: Path) -> None:
    """Make a folder that nobody else may look into.

    Raises:
        OutputError: It cannot be made, is somebody else's, a link, or open to others.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        raise OutputError(f"cannot make the folder {folder}: {error.strerror}") from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        raise OutputError(f"{folder} is not a folder of yours; remove it, or set XDG_RUNTIME_DIR")
    if found.st_mode & 0o077:
        raise OutputError(f"{folder} is open to others; run: chmod 700 {folder}")


def is_ours(connection: socket.socket) -> bool:
    """Whether the program at the other end belongs to this user; True where the system cannot tell."""
    option = getattr(socket, "SO_PEERCRED", None)
    if option is None:
        return True
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, option, struct.calcsize("3i")))
    return user in (os.getuid(), 0)
