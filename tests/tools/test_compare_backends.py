from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import tools.compare_backends
from engine import TensorMap
from tests.engine import models
from tests.engine.fakes import FakeProgram, fake_backend
from tools.compare_backends import Row, differences, main


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


def test_differences_are_those_worked_out_by_hand() -> None:
    row = Row("b", "fp32")
    differences(
        row, {"a": np.array([1.0, 2.0]), "b": np.array([[3.0]])}, {"a": np.array([1.0, 2.5]), "b": np.array([[4.0]])}
    )
    assert row.max_difference == 1
    assert row.mean_difference == pytest.approx(0.5)
    assert row.relative_difference == 0.25
    assert row.psnr_db == pytest.approx(10 * np.log10(16 / (1.25 / 3)))
    differences(row, {"a": np.array([2.0])}, {"a": np.array([2.0])})
    assert row.psnr_db is None


def test_every_backend_has_a_row_with_numbers_or_a_reason(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = models.conv_net(tmp_path / "net.onnx")
    assert main([str(path), "--rounds", "5", "--output", str(tmp_path / "results")]) == 0
    assert "| onnxruntime | fp32 |" in capfd.readouterr().out
    (found,) = (tmp_path / "results").glob("backends--net--*.json")
    result = json.loads(found.read_text())
    rows = {(row["backend"], row["precision"]): row for row in result["rows"]}
    mine = rows["onnxruntime", "fp32"]
    assert mine["max_difference"] == 0
    assert 0 < mine["fastest_ms"] <= mine["median_ms"] <= mine["p95_ms"]
    assert result["sha256"]
    assert result["machine"]["cpu"]
    for row in rows.values():
        assert row["median_ms"] is not None or row["engine_bytes"] is not None or row["note"]
    text = found.with_suffix(".md").read_text()
    assert all(f"| {backend} | {precision} |" in text for backend, precision in rows)
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len({line.count("|") for line in lines}) == 1


def test_one_backend_that_fails_while_running_leaves_the_others_their_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Lost(FakeProgram):
        def run(self, feed: TensorMap) -> TensorMap:
            return {"y": np.full_like(feed["x"], np.nan)}

    found = {"onnxruntime": fake_backend("onnxruntime", FakeProgram()), "lost": fake_backend("lost", Lost())}
    monkeypatch.setattr(tools.compare_backends, "BACKENDS", found)
    path = models.reciprocal(tmp_path / "net.onnx")
    assert main([str(path), "--rounds", "3", "--backend", "lost", "--backend", "onnxruntime",
                 "--output", str(tmp_path)]) == 0  # fmt: skip
    rows = capsys.readouterr().out.splitlines()
    assert any(row.startswith("| onnxruntime | fp32 | 0.0e+00") for row in rows)
    assert any(row.startswith("| lost | fp32 |") and "not finite" in row for row in rows)


def test_a_model_that_cannot_be_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none.onnx"), "--output", str(tmp_path)]) == 3
    assert "cannot be read" in capsys.readouterr().err
    assert list(tmp_path.glob("backends--*")) == []
