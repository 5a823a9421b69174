"""Configuration files: the shipped ones load, wrong ones are refused with the key named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from training.config import CONFIG_DIR, TrainConfigError, load_config
from training.data.augment import TASKS

SMALL = """
model = "live"
[data.tasks]
jitter = { share = 1.0 }
[[stages]]
name = "only"
samples = 100
"""


def written(tmp_path: Path, text: str) -> str:
    path = tmp_path / "run.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", ["live_supervised", "live_dual", "phnet_40m_ffhqh", "smoke"])
def test_shipped_configurations_load(name: str) -> None:
    config = load_config(name)
    assert set(config.data.tasks) <= set(TASKS)
    assert (config.dual is not None) == (name == "live_dual")


def test_no_configuration_is_left_untested() -> None:
    assert {p.stem for p in CONFIG_DIR.glob("*.toml")} == {"live_supervised", "live_dual", "phnet_40m_ffhqh", "smoke"}


def test_the_papers_stages_are_configuration() -> None:
    stages = load_config("phnet_40m_ffhqh").stages
    assert [s.pfe for s in stages] == [False, True, True]
    assert stages[1].freeze == ("encoder",)
    assert [s.lr_scale for s in stages] == [1.0, 0.1, 1e-3]


def test_defaults_are_filled_in(tmp_path: Path) -> None:
    config = load_config(written(tmp_path, SMALL))
    assert config.data.size == 64
    assert config.dual is None


def with_data(line: str) -> str:
    return SMALL.replace("[data.tasks]", f"[data]\n{line}\n[data.tasks]")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("typo = 1\n" + SMALL, r"typo: Extra inputs are not permitted, received 1"),
        (SMALL + "colour = 3\n", r"stages\.0\.colour: Extra inputs are not permitted"),
        (SMALL.replace('"live"', '"huge"', 1), r"model: .*'live'.*received 'huge'"),
        (SMALL.replace("samples = 100", "samples = 0"), r"stages\.0\.samples: .*greater than or equal to 1"),
        (SMALL.replace("share = 1.0", "share = 1.0, swap = 3"), r"data\.tasks\.jitter\.swap"),
        (SMALL.replace('"live"', '"phnet_10m"', 1) + "[dual]\n", r"only the live model has a second stream"),
        (SMALL.replace('"live"', '"phnet_10m"', 1) + "[live]\npfe = false\n", r"expected model 'live' with it"),
        (SMALL + "[live]\nsurfaces = 2\n", r"live: surfaces: 2 need pretrained = true"),
        (SMALL + "[live]\nbloks = 2\n", r"live: unknown bloks; known: widths, pixel_width, .*blocks"),
        (SMALL + "[live]\ntrunk = 640.5\n", r"live: trunk: expected a whole number from 1 on, received 640\.5"),
        (SMALL + "[live]\nblocks = -1\n", r"live: blocks: expected a whole number from 0 on, received -1"),
        (SMALL + "[live]\npfe = 3\n", r"live: pfe: expected true or false, received 3"),
        (SMALL + "[live]\ndropout = 2\n", r"live: dropout: expected 0\.\.1, received 2"),
        (with_data("size = 48"), r"data\.size: .*multiple of 32, received 48"),
        (SMALL.replace("jitter", "jiter"), r"data\.tasks\.jiter.*'jitter', 'lights', 'tone', 'local' or 'same'"),
        (SMALL.replace("share = 1.0", "share = 0"), r"data: .*tasks: expected at least one with a share above 0"),
        (with_data("masks = [0, 0, 0, 0, 0, 0]"), r"data: .*masks: expected at least one weight above 0"),
        (with_data("masks = [1, 0, 0, 0, -1, 0]"), r"data\.masks\.4: .*equal to 0"),
        ("model = ", r"no valid TOML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(TrainConfigError, match=message):
        load_config(written(tmp_path, change))


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(TrainConfigError, match=r"live_supervise: no such configuration; known: live_dual, live_superv"):
        load_config("live_supervise")


def test_it_is_utf_8_whatever_the_system_writes(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text(with_data('portraits = "portraits/Zürich"'), "utf-8")
    program = (
        "import sys; from training.config import load_config; print(ascii(load_config(sys.argv[1]).data.portraits))"
    )
    other = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    found = subprocess.run([sys.executable, "-c", program, path], env=other, capture_output=True, text=True, check=True)
    assert found.stdout == "'portraits/Z\\xfcrich'\n"
    path.write_text(with_data('portraits = "portraits/Zürich"'), "latin-1")
    with pytest.raises(TrainConfigError, match=r"run\.toml: no valid TOML: 'utf-8' codec"):
        load_config(str(path))
