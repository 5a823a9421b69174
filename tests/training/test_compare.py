"""The comparison trains what it says, and its table holds what came out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.compare import VARIANTS, main, markdown, variant
from training.config import load_config


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_a_configuration(name: str) -> None:
    base = load_config("live_supervised")
    config = variant(base, name, 1000)
    crops = {"size": 64, "sharpness": 1.45, "crops": 4, "far_crops": 2, "scene_crops": 8}
    assert config.data == base.data.model_copy(update=crops)
    assert config.optimizer.batch == (32 if name == "phnet_10m" else 128)
    assert [stage.samples for stage in config.stages] == [1000]


def test_variants_differ_in_what_their_name_says() -> None:
    base = load_config("live_supervised")
    assert variant(base, "live without gain", 10).live == base.live | {"gain": False}
    assert base.live["pretrained"]
    assert not variant(base, "live without ImageNet", 10).live["pretrained"]
    assert variant(base, "live without surfaces", 10).live == base.live | {"surfaces": 0}
    assert variant(base, "live without parameter targets", 10).loss.targets == 0
    assert variant(base, "live", 10).loss.targets > 0
    assert variant(base, "phnet_10m", 10).model == "phnet_10m"
    assert variant(base, "phnet_10m", 10).live == {}


def test_two_networks_are_trained_and_compared(data_folder: Path, tmp_path: Path) -> None:
    settings = tmp_path / "tiny.toml"
    settings.write_text(
        'model = "live"\n[data]\nscenes = ["backgrounds/rooms"]\n'
        '[data.tasks]\njitter = { share = 1.0 }\n[[stages]]\nname = "s"\nsamples = 8\n'
    )
    out = tmp_path / "runs"
    only = ["live", "live without PFE"]
    common = ["--data", str(data_folder), "--out", str(out), "--samples", "128", "--config", str(settings)]
    assert main([*common, "--cache", str(tmp_path / "cache"), "--only", *only]) == 0
    rows = json.loads((out / "compare.json").read_text())
    assert [row["name"] for row in rows] == only
    assert all(row["samples"] == 128 and row["ms"] > 0 for row in rows)
    assert rows[1]["parameters"] < rows[0]["parameters"]
    table = (out / "compare.md").read_text()
    assert table == markdown(rows)
    assert "| live without PFE | 128 |" in table


def test_an_unknown_configuration_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "runs"), "--config", "nothing"]) == 2
    assert "nothing: no such configuration" in capsys.readouterr().err


def test_a_run_that_fails_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    only = ["--only", "live without gain"]
    assert main(["--data", str(tmp_path / "missing"), "--out", str(tmp_path / "runs"), "--samples", "8", *only]) == 3
    assert "live without gain: the run ended with" in capsys.readouterr().err
