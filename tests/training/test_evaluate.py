"""The evaluation from folder to tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from training import evaluate as ev
from training.benchmarks import BENCHMARKS, BenchmarkPair
from training.data import ffhqh
from training.data.illuminants import Lights
from training.models.phnet import PHNet, PHNetConfig
from training.predictors import Baseline, Oracle, PHNetDense, PHNetFitted
from training.scoreboard import markdown


class Cheat:
    """Gives the truth back."""

    name = "cheat"

    def predict(self, pair: BenchmarkPair) -> np.ndarray:
        return pair.truth


def test_scores_of_composite_oracle_and_truth(data_folder: Path, lights: Lights) -> None:
    photos = ev.load_photos(data_folder / "portraits" / "val", 64, limit=4)
    tables = ev.evaluate([Baseline("composite"), Cheat(), Oracle()], photos, lights, masks=["dilated"])
    assert [(t.benchmark, t.predictor) for t in tables] == [
        (benchmark, name) for benchmark in BENCHMARKS for name in ("composite", "cheat", "oracle")
    ]
    for benchmark in ("ffhqh", "person_cast", "scene_cast"):
        composite, cheat, oracle = (t for t in tables if t.benchmark == benchmark)
        assert composite.gain == pytest.approx(1)
        assert composite.improved == 0
        assert cheat.overall["fmse"] == 0
        assert cheat.improved == 1
        assert 0 < oracle.overall["fmse"] < 0.2 * composite.overall["fmse"]
        assert sum(s["count"] for s in composite.by_skin.values()) == 4
        assert sum(s["count"] for s in composite.by_ratio.values()) == 4
    same = next(t for t in tables if t.benchmark == "same")
    assert same.overall["fmse"] == 0


def test_shift_of_chroma_is_reported_for_cast_scenes_only(data_folder: Path, lights: Lights) -> None:
    photos = ev.load_photos(data_folder / "portraits" / "val", 64)
    tables = ev.evaluate(
        [Baseline("composite"), Cheat()], photos, lights, benchmarks=["ffhqh", "scene_cast"], masks=["plain"]
    )
    plain, _, composite, cheat = tables
    assert plain.shift == {}
    assert composite.shift["count"] >= 3
    assert composite.shift["agree"] == 0
    assert cheat.shift["agree"] == 1
    assert cheat.shift["ratio_median"] == pytest.approx(1)


def test_what_the_fit_of_a_dense_picture_loses_is_told(data_folder: Path, lights: Lights) -> None:
    torch.manual_seed(0)
    dense = PHNetDense(PHNet(PHNetConfig("small", (8, 8, 8, 8, 8, 16))).eval(), "dense")
    photos = ev.load_photos(data_folder / "portraits" / "val", 64, limit=2)
    predictors = [Baseline("composite"), dense, PHNetFitted(dense)]
    tables = ev.evaluate(predictors, photos, lights, benchmarks=["ffhqh"], masks=["plain"])
    assert np.isnan([t.fit_psnr for t in tables[:2]]).all()
    assert 10 < tables[2].fit_psnr < 60
    assert f"own picture by {tables[2].fit_psnr:.1f} dB" in markdown(tables, 64, 0)


def test_the_first_must_be_the_composite(data_folder: Path, lights: Lights) -> None:
    photos = ev.load_photos(data_folder / "portraits" / "val", 64, limit=1)
    with pytest.raises(ValueError, match="'composite'"):
        ev.evaluate([Oracle()], photos, lights)


def test_command_writes_json_markdown_and_sheets(
    data_folder: Path, tmp_path: Path, live_onnx: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["--data", str(data_folder), "--out", str(out), "--size", "64", "--limit", "3", "--sheets", "2"]
    assert ev.main([str(live_onnx("mine")), *arguments]) == 0
    scores = json.loads((out / "scores.json").read_text(), parse_constant=pytest.fail)
    assert [t["fit_psnr"] for t in scores["tables"]] == [None] * len(scores["tables"])
    assert {t["overall"]["count"] for t in scores["tables"]} == {3}
    assert len(scores["tables"]) == len(BENCHMARKS) * 3 * 6
    mine = [t for t in scores["tables"] if t["predictor"] == "mine"]
    composite = [t for t in scores["tables"] if t["predictor"] == "composite"]
    for a, b in zip(mine, composite, strict=True):
        assert a["overall"]["fmse"] == pytest.approx(b["overall"]["fmse"], abs=0.01), "the model is the identity"
    text = (out / "scores.md").read_text()
    assert "## scene_cast, dilated masks" in text
    assert "| oracle |" in text
    assert text.strip() in capsys.readouterr().out
    assert sorted(p.name for p in out.glob("*.png")) == sorted(f"sheet-{name}.png" for name in BENCHMARKS)


def test_folder_like_iharmony4_is_scored(data_folder: Path, tmp_path: Path) -> None:
    """What the FFHQH builder writes goes straight into the evaluation, with scores by foreground share."""
    folder, out = tmp_path / "FFHQH", tmp_path / "out"
    arguments = ["--portraits", str(data_folder / "portraits" / "val"), "--out", str(folder), "--size", "64"]
    assert ffhqh.main(arguments) == 0
    split = max(("train", "val", "test"), key=lambda s: len((folder / f"FFHQH_{s}.txt").read_text()))
    assert ev.main(["--harmony4", str(folder), "--split", split, "--size", "64", "--out", str(out)]) == 0
    tables = json.loads((out / "scores.json").read_text())["tables"]
    assert {t["benchmark"] for t in tables} == {f"FFHQH {split}"}
    fmse = {t["predictor"]: t["overall"]["fmse"] for t in tables}
    assert 0 < fmse["oracle"] < 0.3 * fmse["composite"]
    assert ev.main(["--harmony4", str(folder), "--split", "nowhere", "--out", str(out)]) == 3


def test_nothing_to_score_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ev.main(["--out", str(tmp_path)]) == 3
    assert "give --data, --harmony4 or both" in capsys.readouterr().err


def test_missing_data_and_models_are_named(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert ev.main(["--data", str(tmp_path / "nowhere"), *out]) == 3
    assert "ccharmony_train.npz" in capsys.readouterr().err
    assert ev.main([str(tmp_path / "none.onnx"), "--data", str(data_folder), *out]) == 3
    assert "none.onnx" in capsys.readouterr().err


def test_what_cannot_be_is_told_before_the_work(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ev, "evaluate", lambda *_, **__: pytest.fail("the work has begun"))
    arguments = ["--data", str(data_folder), "--out", str(tmp_path / "out")]
    assert ev.main([*arguments, "--harmony4", str(tmp_path / "nowhere")]) == 3
    assert "nowhere: no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        ev.main([*arguments, "--sheets", "-1"])
    assert "--sheets: expected a whole number from 1 on" in capsys.readouterr().err


def test_scores_that_cannot_be_written_are_shown_all_the_same(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(ev, "write_json", full)
    arguments = ["--data", str(data_folder), "--out", str(tmp_path), "--size", "32", "--limit", "1", "--no-oracle"]
    assert ev.main([*arguments, "--no-baselines", "--benchmarks", "same", "--masks", "plain"]) == 3
    told = capsys.readouterr()
    assert "## same, plain masks" in told.out
    assert told.err.startswith("[Errno 28] No space left on device")


def test_sheets_that_cannot_be_written_cost_no_scores(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sheet-ffhqh.png").mkdir()
    arguments = ["--data", str(data_folder), "--out", str(tmp_path), "--size", "32", "--limit", "1", "--no-oracle"]
    arguments += ["--no-baselines", "--benchmarks", "same", "--masks", "plain", "--sheets", "1"]
    assert ev.main(arguments) == 3
    assert "sheet-ffhqh.png: cannot be written" in capsys.readouterr().err
    assert json.loads((tmp_path / "scores.json").read_text())["tables"]


def test_a_size_that_phnet_cannot_take_is_named(data_folder: Path, lights: Lights) -> None:
    dense = PHNetDense(PHNet(PHNetConfig("small", (8, 8, 8, 8, 8, 16))).eval(), "dense")
    photos = ev.load_photos(data_folder / "portraits" / "val", 60, limit=1)
    with pytest.raises(ValueError, match="dense: PHNet needs sides that are multiples of 8 pixels, received 60x60"):
        ev.evaluate([Baseline("composite"), dense], photos, lights, benchmarks=["same"], masks=["plain"])


def test_damaged_portraits_are_left_out(data_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = data_folder / "portraits" / "val"
    (folder / "p3.jpg").write_bytes(b"broken")
    assert len(ev.load_photos(folder, 64)) == 7
    assert "p3.jpg" in caplog.text
