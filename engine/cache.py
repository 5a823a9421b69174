"""Built engines on disk, in a folder and in files that only their owner can touch.

An engine is machine code in all but name, so a file is loaded only if this user owns it, nobody else can write it, and
its contents have the SHA-256 written in front of them. Anything else is built again, with a warning.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import platformdirs

from engine.lock import file_lock

__all__ = ["EngineCache", "cache_key"]

_LOGGER = logging.getLogger(__name__)

MAGIC = b"LCENG1\n\0"
HEADER = len(MAGIC) + 2 * hashlib.sha256().digest_size

UNUSED_S = 90 * 86400.0
"""Engines that nobody has loaded for this long, in seconds, are removed when another one is kept."""

LOCK_WAIT_S = 900.0
"""How long to wait for another process that builds the same engine, before building it once more, uncached."""


def cache_key(parts: Mapping[str, str]) -> str:
    """The name of an engine: SHA-256, in hexadecimal, of everything that it depends on."""
    return hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class EngineCache:
    """A folder of engines.

    Args:
        folder: Where; made when first needed, mode 0700.
    """

    folder: Path

    @classmethod
    def default(cls) -> EngineCache:
        """The user's own: ``$XDG_CACHE_HOME/livecomp/engines``, or what takes its place on other systems.

        For a user without a home it is a private one that goes when the process ends.
        """
        try:
            folder = Path(platformdirs.user_cache_dir("livecomp", appauthor=False))
        except RuntimeError as error:
            folder = _passing_folder(str(error))
        return cls(folder / "engines")

    def get_or_build(self, key: str, build: Callable[[], bytes]) -> bytes:
        """The engine from disk, or a new one, which is then kept. Of several processes one builds, the others wait.

        Args:
            key: From `cache_key`.
            build: Makes the engine; what it raises is passed on.
        """
        found = self.load(key)
        if found is not None:
            return found
        with self._lock(key) as locked:
            found = self.load(key) if locked else None
            if found is not None:
                return found
            built = build()
            if locked:
                self.store(key, built)
            return built

    def load(self, key: str) -> bytes | None:
        """What is kept under a key; None if there is nothing, or nothing that can be trusted."""
        path = self.folder / key
        try:
            distrust = _distrust(self.folder.lstat(), directory=True)
            if distrust is None:
                descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0))
                with os.fdopen(descriptor, "rb") as file:
                    distrust = _distrust(os.fstat(descriptor), directory=False)
                    data = file.read() if distrust is None else b""
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            distrust = str(error.strerror or error)
        if distrust is None:
            payload = data[HEADER:]
            if data[:HEADER] == _header(key, payload):
                with suppress(OSError):
                    os.utime(path)  # it is in use
                return payload
            distrust = "it is truncated or was altered"
        _LOGGER.warning("the cached engine %s is not used and will be built again: %s", path, distrust)
        return None

    def store(self, key: str, payload: bytes) -> bool:
        """Keep something; atomic. False, with a warning, if the folder cannot be written or is full."""
        temporary: str | None = None
        try:
            self._make_folder()
            descriptor, temporary = tempfile.mkstemp(dir=self.folder, prefix=f".{key[:16]}-")
            with os.fdopen(descriptor, "wb") as file:  # mkstemp made it with mode 0600
                file.write(_header(key, payload))
                file.write(payload)
                file.flush()
                os.fsync(descriptor)
            Path(temporary).replace(self.folder / key)
        except OSError as error:
            if temporary is not None:
                with suppress(OSError):
                    Path(temporary).unlink()
            _tell(self.folder, str(error.strerror or error))
            return False
        self._remove_unused()
        return True

    def discard(self, key: str) -> None:
        """Forget what is kept under a key."""
        with suppress(OSError):
            (self.folder / key).unlink()

    def _remove_unused(self) -> None:
        """Engines of drivers, versions and sizes that are gone, and what a process left that died while it wrote."""
        oldest = time.time() - UNUSED_S
        with suppress(OSError):
            for path in self.folder.iterdir():
                with suppress(OSError):
                    if path.lstat().st_mtime < oldest:
                        path.unlink()

    def _make_folder(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        problem = _distrust(self.folder.lstat(), directory=True)
        if problem is None:
            return
        if os.name == "posix" and self.folder.lstat().st_uid == os.getuid() and not self.folder.is_symlink():
            _LOGGER.warning("the engine folder %s is made private: %s", self.folder, problem)
            for entry in self.folder.iterdir():  # nobody knows who wrote them
                with suppress(OSError):
                    entry.unlink()
            self.folder.chmod(0o700)
            return
        raise PermissionError(problem)

    @contextmanager
    def _lock(self, key: str) -> Iterator[bool]:
        """Hold the key's lock; yields False where it cannot be had, because of the folder or of a very slow builder."""
        with ExitStack() as stack:
            try:
                self._make_folder()
                locked = stack.enter_context(file_lock(self.folder / f".{key}.lock", LOCK_WAIT_S))
            except OSError as error:  # network file systems may have no locks
                _tell(self.folder, str(error.strerror or error))
                locked = False
            else:
                if not locked:
                    _LOGGER.warning(
                        "another process has been building the same engine for %.0f s; it is built twice", LOCK_WAIT_S
                    )
            yield locked


@cache
def _tell(folder: Path, reason: str) -> None:
    """Warn of a folder, once for many engines."""
    _LOGGER.warning("engines cannot be kept in %s (%s); they are built at each start", folder, reason)


@cache
def _passing_folder(reason: str) -> Path:
    """A folder with the mode 0700 that is removed when the process ends; the reason is logged once."""
    _LOGGER.warning("engines are built at each start: %s", reason)
    folder = tempfile.TemporaryDirectory(prefix="livecomp-")
    atexit.register(folder.cleanup)
    return Path(folder.name)


def _header(key: str, payload: bytes) -> bytes:
    return MAGIC + hashlib.sha256(key.encode()).digest() + hashlib.sha256(payload).digest()


def _distrust(status: os.stat_result, *, directory: bool) -> str | None:
    """Why a folder or file must not be trusted; None if nothing speaks against it."""
    if not (stat.S_ISDIR if directory else stat.S_ISREG)(status.st_mode):
        return "it is a link or something else than a plain file or folder"
    if os.name != "posix":
        return None
    if status.st_uid != os.getuid():
        return f"it belongs to user {status.st_uid}, not to {os.getuid()}"
    if stat.S_IMODE(status.st_mode) & 0o077:
        return f"its mode is {stat.S_IMODE(status.st_mode):04o}, expected {0o700 if directory else 0o600:04o}"
    return None
