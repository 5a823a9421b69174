"""Notice when a file changes, however an editor writes it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path

__all__ = ["FileWatcher"]

_LOOK_S = 0.03


class FileWatcher:
    """Looks at a file some thirty times a second, and calls when its content has changed and is at rest.

    A file that is replaced, deleted or comes back counts; one that is touched without a change does not. A look costs
    one `stat`.

    Args:
        path: Of the file, which need not exist.
        changed: Called in the watcher's thread; says whether it has followed, and is called again until it has.
    """

    def __init__(self, path: Path, changed: Callable[[Path], bool]) -> None:
        self._path = path
        self._changed = changed
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to look; what the file holds now is the beginning."""
        self._stopping.clear()
        now = self._look(), self._content()
        self._thread = threading.Thread(target=self._run, args=now, name="livecomp-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End; harmless when repeated."""
        self._stopping.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        self._thread = None

    def _run(self, seen: tuple[int, int, int] | None, known: str) -> None:
        moving, followed = False, True
        while not self._stopping.wait(_LOOK_S):
            now = self._look()
            if now != seen:
                # still being written, perhaps: wait for a look that finds it as the one before
                seen, moving = now, True
            elif moving or not followed:
                moving = False
                content = self._content()
                if content != known or not followed:
                    known = content
                    followed = self._changed(self._path)

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_ino, found.st_size, found.st_mtime_ns

    def _content(self) -> str:
        try:
            return hashlib.sha256(self._path.read_bytes()).hexdigest()
        except OSError:
            return ""
