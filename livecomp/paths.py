"""Whether something is at a path that a user named, and where a user's own folders are.

What may not be looked at is not there: `Path.exists` and its like raise for a folder that is closed to this user, and
for names that are too long, and `Path.resolve` for links that lead to one another.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from livecomp.errors import ConfigError

__all__ = ["exists", "followed", "is_dir", "is_file", "user_folder"]


def exists(path: Path) -> bool:
    """Whether there is anything."""
    return os.path.exists(path)  # noqa: PTH110  see above


def is_dir(path: Path) -> bool:
    """Whether there is a folder."""
    return os.path.isdir(path)  # noqa: PTH112  see above


def is_file(path: Path) -> bool:
    """Whether there is a file."""
    return os.path.isfile(path)  # noqa: PTH113  see above


def followed(path: Path) -> Path:
    """The full path of what is there in the end, where links lead; there need not be anything."""
    return Path(os.path.realpath(path))


def user_folder(find: Callable[[], Path], what: str) -> Path:
    """A folder of the user's own.

    Args:
        find: Says where it is, as platformdirs does: for a user without a home it raises RuntimeError.
        what: What lies in it, for the message.

    Raises:
        ConfigError: The user has no home.
    """
    try:
        return find()
    except RuntimeError as error:
        raise ConfigError(f"this user has no place for {what}; set HOME to a folder: {error}") from error
