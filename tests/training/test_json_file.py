from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.json_file import write_json


def test_what_json_lacks_is_null(tmp_path: Path) -> None:
    value = {"mean": 1.5, "count": 3, "se": float("nan"), "rows": [(float("inf"), -1.0), {"name": "é", "ok": True}]}
    write_json(tmp_path / "scores.json", value)
    read = json.loads((tmp_path / "scores.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert read == {"mean": 1.5, "count": 3, "se": None, "rows": [[None, -1.0], {"name": "é", "ok": True}]}
