"""Contact sheets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.parameters import Parameters
from training.sheets import MARGIN, main, save_sheet, weakened


def test_strength_goes_from_nothing_to_all() -> None:
    full = Parameters(np.diag([0.5, 1.0, 1.5]), np.tile(np.linspace(0, 1, 32) ** 2, (3, 1)), np.full((16, 16), 0.4))
    half = weakened(full, 0.5)
    np.testing.assert_allclose(np.diag(half.matrix), [0.75, 1, 1.25])
    np.testing.assert_allclose(half.log_gain, 0.2)
    np.testing.assert_allclose(weakened(full, 0).curves, Parameters.identity().curves)
    np.testing.assert_allclose(weakened(full, 1).curves, full.curves)


def test_sheet_holds_all_pictures(tmp_path: Path) -> None:
    rows = [[(f"{r}{c}", np.full((40, 60, 3), (r + c) / 4, np.float32)) for c in range(3)] for r in range(2)]
    save_sheet(tmp_path / "sheet.png", rows)
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape == (2 * (40 + MARGIN), 180, 3)
    assert sheet[MARGIN + 20, 150, 0] == round(255 * 2 / 4)


def test_unwritable_sheet_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "sheet.png").mkdir()
    with pytest.raises(OSError, match="cannot be written"):
        save_sheet(tmp_path / "sheet.png", [[("x", np.zeros((8, 8, 3), np.float32))]])


def test_command_shows_plain_ours_and_half(
    data_folder: Path, tmp_path: Path, live_onnx: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    model = live_onnx("dark", matrix=0.2 * np.eye(3)[None])
    size = ["--size", "96", "64", "--count", "3"]
    assert main([str(model), "--data", str(data_folder), "--out", str(tmp_path / "out"), *size]) == 0
    (path,) = capsys.readouterr().out.split()
    sheet = cv2.imread(path).astype(float)
    assert sheet.shape == (3 * (64 + MARGIN), 3 * 96, 3)
    plain, ours, half = (sheet[MARGIN : MARGIN + 64, 96 * i : 96 * (i + 1)] for i in range(3))
    np.testing.assert_array_equal(plain[:4], ours[:4])
    bottom = [float(p[-6:, 30:66].mean()) for p in (plain, half, ours)]
    assert bottom[0] > bottom[1] + 10 > bottom[2] + 20


@pytest.mark.parametrize("wrong", [["--count", "0"], ["--size", "0", "64"]])
def test_sheets_of_nothing_are_refused(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: list[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["live.onnx", "--data", str(data_folder), "--out", str(tmp_path), *wrong])
    assert f"{wrong[0]}: expected a whole number from 1 on" in capsys.readouterr().err


def test_missing_model_is_named(data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    assert main([str(tmp_path / "bad.onnx"), "--data", str(data_folder), "--out", str(tmp_path)]) == 3
    assert "bad.onnx" in capsys.readouterr().err
