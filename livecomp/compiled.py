"""Loops compiled by numba, whose machine code is kept in a folder of the user's own."""

from __future__ import annotations

import hashlib
import inspect
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numba
from platformdirs import user_cache_path

from engine.lock import file_lock
from livecomp.errors import reason

__all__ = ["cache_folder", "compiled"]

log = logging.getLogger(__name__)

_config: Any = numba.config  # its attributes are set at run time

_UNUSED_S = 30 * 86400.0
"""Loops of another version of the modules are kept this long after their last use, in seconds."""

_LOCK_WAIT_S = 5.0
"""How long to wait for another process that keeps a loop, which takes it milliseconds."""


def cache_folder() -> Path | None:
    """The folder for compiled loops, made if need be; None where there can be none that only this user writes to.

    Machine code is loaded from it, so nobody else may put files there: it gets the mode 0700, and a folder of somebody
    else is not used. A user's own NUMBA_CACHE_DIR goes before it.
    """
    if _config.CACHE_DIR:
        return Path(_config.CACHE_DIR)
    try:
        folder = user_cache_path("livecomp") / "numba"
        folder.mkdir(parents=True, exist_ok=True)
        if os.name == "posix":
            if folder.stat().st_uid != os.getuid():
                return None
            if stat.S_IMODE(folder.stat().st_mode) != stat.S_IRWXU:
                folder.chmod(stat.S_IRWXU)
    except (OSError, RuntimeError):  # the latter says that there is no home
        return None
    return folder if os.access(folder, os.W_OK) else None


def compiled(
    *, fastmath: bool = False, nogil: bool = True, error_model: Literal["python", "numpy"] = "python"
) -> Callable[[Callable[..., object]], Any]:
    """A decorator: compile at the first call, or load what an earlier run compiled; without a folder, compile anew.

    What is loaded was compiled of the same sources: numba looks at the function's own file alone, though the code of
    what it calls, from modules beside it, is in there as well. What is damaged is compiled and kept anew, and what
    cannot be kept, as on a full disk, is compiled at each start.

    Args:
        fastmath: Allow the compiler to reorder sums, and to assume that no value is NaN or infinite.
        nogil: Let other Python threads run meanwhile.
        error_model: "python" raises on division by zero, "numpy" does not check.
    """

    def decorate(function: Callable[..., object]) -> object:
        folder, before = cache_folder(), _config.CACHE_DIR
        if folder:
            folder = folder / _digest(Path(inspect.getfile(function)).parent)
            if not before:
                _note_use(folder)
        _config.CACHE_DIR = str(folder) if folder else ""
        try:
            options: dict[str, Any] = {
                "cache": folder is not None,
                "fastmath": fastmath,
                "nogil": nogil,
                "error_model": error_model,
            }
            dispatcher: Any = numba.njit(**options)(function)
            if folder:
                _forgive(dispatcher._cache, folder)
            return dispatcher
        finally:
            _config.CACHE_DIR = before

    return decorate


def _forgive(kept: Any, folder: Path) -> None:  # noqa: ANN401  numba has no types
    """Have numba go on without a file of machine code that it cannot read or write; of itself it would raise.

    One process writes at a time: of two that numba lets write at once, the list of files, which each reads and writes
    again, may come from the one and a file of the same name from the other, machine code for other types.
    """
    load, save = kept.load_overload, kept.save_overload

    def load_or_none(*key: object) -> object:
        try:
            return load(*key)
        except Exception as error:  # the boundary to what reads a file, whatever is in there
            _tell(folder, "loops that are kept there cannot be read and are compiled again", reason(error))
            with suppress(OSError), _alone(folder):
                kept.flush()  # an index that cannot be read would not be written either
            return None

    def save_or_not(*entry: object) -> None:
        try:
            with _alone(folder):
                save(*entry)
        except Exception as error:  # likewise
            _tell(folder, "loops cannot be kept there and are compiled at each start", reason(error))

    kept.load_overload, kept.save_overload = load_or_none, save_or_not


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """No other process in here, if the folder has locks and nobody holds its one for ever."""
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(file_lock(folder / ".lock", _LOCK_WAIT_S))
        yield


@cache
def _tell(folder: Path, what: str, why: str) -> None:
    """Warn of a folder, once for many loops."""
    log.warning("%s: %s: %s", folder, what, why)


@cache
def _note_use(folder: Path) -> None:
    """Date a folder of loops, and remove those beside it that nobody has used for long: of versions that are gone.

    A program that runs longer than that has its loops in memory; numba makes the folder again where it is missing.
    """
    oldest = time.time() - _UNUSED_S
    try:
        folder.mkdir(exist_ok=True)
        os.utime(folder)
        with os.scandir(folder.parent) as entries:
            unused = [
                entry.path
                for entry in entries
                if re.fullmatch(r"[0-9a-f]{16}", entry.name)
                and entry.is_dir(follow_symlinks=False)
                and entry.stat(follow_symlinks=False).st_mtime < oldest
            ]
    except OSError:
        return  # a cache that cannot be tidied up is still one
    for path in unused:
        shutil.rmtree(path, ignore_errors=True)


@cache
def _digest(folder: Path) -> str:
    """Stands for what the modules of a folder say, and for who compiles them.

    Environments with two versions of numba would otherwise overwrite each other's loops, time and again.
    """
    seen = hashlib.sha256(numba.__version__.encode() + b"\0")
    for module in sorted(folder.glob("*.py")):
        seen.update(module.name.encode() + b"\0" + module.read_bytes())
    return seen.hexdigest()[:16]
