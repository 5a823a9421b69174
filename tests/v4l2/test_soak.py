"""The long call finds out what it was told wrongly before it begins."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.v4l2 import soak


@pytest.mark.parametrize("missing", ["clip", "background"])
def test_a_missing_file_is_named_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    paths = {name: tmp_path / f"{name}.bin" for name in ("clip", "background")}
    for name, path in paths.items():
        if name != missing:
            path.touch()
    output = tmp_path / "soak.json"
    arguments = [str(paths["clip"]), "-b", str(paths["background"]), "-o", str(output)]
    monkeypatch.setattr(sys, "argv", ["soak", *arguments])
    with pytest.raises(SystemExit) as ended:
        soak.main()
    assert ended.value.code == 2
    assert f"{missing}.bin: no such file" in capsys.readouterr().err
    assert not output.exists()
