"""Whether something is at a path that a user named. Nothing here raises: what may not be looked at is not there.

`Path.exists` and its like raise for a folder that is closed to this user, and for names that are too long.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["exists", "is_dir", "is_file"]


def exists(path: Path) -> bool:
    """Whether there is anything."""
    return os.path.exists(path)  # noqa: PTH110  see above


def is_dir(path: Path) -> bool:
    """Whether there is a folder."""
    return os.path.isdir(path)  # noqa: PTH112  see above


def is_file(path: Path) -> bool:
    """Whether there is a file."""
    return os.path.isfile(path)  # noqa: PTH113  see above
