"""Whole frames from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.machine import gpu_fingerprint
from livecomp.media.image import read_image
from tests.livecomp.clips import write_clip
from tests.livecomp.gpu.test_whole import demo_frames
from tests.livecomp.test_cli import run

WITHOUT_A_GPU = pytest.mark.skipif(bool(gpu_fingerprint()), reason="there is an NVIDIA GPU here")


def test_process_writes_what_the_stages_would(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", [frame.rgb for frame in demo_frames((320, 180), 8)])
    options = ["-b", "#204060", "-o", "whole.mp4", "--compute", "gpu", "--backend", "onnxruntime"]
    result = run("process", clip, *options, "--timings", "timings.json", "--before-after", "pair.png", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    stages = {row["stage"] for row in json.loads((tmp_path / "timings.json").read_text())["stages"]}
    assert {"gpu", "look ahead"} <= stages
    assert "segment" not in stages
    assert read_image(tmp_path / "pair.png").std() > 10


@WITHOUT_A_GPU
@pytest.mark.parametrize("command", [("process", "demo", "-o", "x.mp4", "-b", "#204060"), ("bench", "-s", "160x96")])
def test_a_gpu_that_is_not_there_is_one_clear_line(command: tuple[str, ...], tmp_path: Path) -> None:
    result = run(*command, "--compute", "gpu", cwd=tmp_path)
    assert result.returncode == 7
    assert "no NVIDIA GPU" in result.stderr
    assert "pip install 'livecomp[tensorrt]'" in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_a_bench_names_where_frames_were_processed() -> None:
    result = run("bench", "-s", "160x96", "--compute", "gpu", "--backend", "onnxruntime", "--seconds", "0.2")
    assert result.returncode == 0, result.stderr
    assert "whole frames on onnxruntime" in result.stdout
    assert "gpu" in result.stdout
