"""The long call finds out what it was told wrongly before it begins."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.v4l2 import shim, soak


def processes_with(text: str) -> list[int]:
    """Those whose command line, arguments between zeros, has it."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text in file.read_bytes().decode(errors="replace"):
                found.append(int(file.parent.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


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


@pytest.mark.v4l2
@pytest.mark.skipif(bool(shim.why_not()), reason=shim.why_not())
def test_whoever_ends_it_ends_the_call_too(tmp_path: Path) -> None:
    picture = np.full((180, 320, 3), 128, np.uint8)
    clip, background = tmp_path / "clip.png", tmp_path / "scene.png"
    for path in (clip, background):
        cv2.imwrite(str(path), picture)
    command = [sys.executable, "-m", "tests.v4l2.soak", str(clip), "-b", str(background), "-o", str(tmp_path / "o")]
    call = f"tests.v4l2.stamped\0run\0-b\0{background}"
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            until = time.monotonic() + 60
            while not processes_with(call):
                assert process.poll() is None, process.communicate()[0]
                assert time.monotonic() < until
                time.sleep(0.05)
            time.sleep(0.2)  # it is known to whoever began it by then
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 128 + signal.SIGTERM
        finally:
            process.kill()
    assert not processes_with(call)
