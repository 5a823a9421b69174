"""Results as JSON that every reader takes."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

__all__ = ["write_json"]


def write_json(path: Path, value: object) -> None:
    """Write numbers, texts, lists and dicts; null stands for NaN and infinity, which JSON lacks.

    Raises:
        OSError: The file cannot be written.
    """
    path.write_text(json.dumps(_plain(value), indent=1, allow_nan=False) + "\n", "utf-8")


def _plain(value: Any) -> Any:  # noqa: ANN401  of JSON
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
