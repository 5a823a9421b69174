"""`livecomp bench`: what it prints and writes, and that it is a gate."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
from typer.testing import CliRunner

from livecomp.bench import Case, Measurement
from livecomp.bench import pipeline as bench_pipeline
from livecomp.bench.report import read_report
from livecomp.cli import app
from livecomp.cli import bench as bench_command
from livecomp.cli.bench import SLOWER, Preset, _cases, _Wanted
from livecomp.composite.fused import FusedCompositor
from livecomp.config import Config
from livecomp.errors import ConfigError, DependencyError, InputError, OutputError

runner = CliRunner()
SMALL = ["bench", "-s", "160x90", "--segmenter", "landscape", "--harmonizer", "identity", "--seconds", "0.4"]


def wanted(**changed: Any) -> _Wanted:
    options = {"sizes": None, "segmenters": None, "harmonizers": None, "backends": None, "computes": None, "every": 3}
    return _Wanted(**{**options, "live": False, "peers": False, **changed})


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Cases are measured here, so that a test can make a stage slow."""

    def measure_here(
        cases: Sequence[Case], *rest: Any, measurer: Callable[..., Measurement], **_: Any
    ) -> list[Measurement]:
        return [measurer(case, *rest) for case in cases]

    monkeypatch.setattr(bench_pipeline, "measure_apart", measure_here)
    return None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--harmonizer", "magic"], "no harmonizer 'magic'"),
        (["--segmenter", "magic"], "no segmentation model 'magic'"),
        (["--backend", "auto", "--backend", "magic"], "--backend magic: expected auto, tensorrt"),
        (["--background", "magic.png"], "no background 'magic.png'"),
        (["--device", "/dev/video10"], "without --live"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, options: list[str], words: str
) -> None:
    def never(*_: object) -> NoReturn:
        raise AssertionError("it was measured")

    monkeypatch.setattr(bench_command, "_measure", never)
    result = runner.invoke(app, [*SMALL, *options])
    assert isinstance(result.exception, ConfigError), result.exception
    assert words in str(result.exception)


def test_it_prints_a_table_and_writes_files_named_after_the_machine(tmp_path: Path) -> None:
    result = runner.invoke(app, [*SMALL, "-o", str(tmp_path), "--no-plots"])
    assert result.exit_code == 0, result.output
    as_in_a_call = Config().live.harmonize_every
    assert f"| 160x90 landscape + identity, every {as_in_a_call}, auto |" in result.output
    path, table = sorted(tmp_path.iterdir())
    assert path.name.startswith("pipeline--")
    assert path.name.endswith("--auto.json")
    assert table == path.with_suffix(".md")
    row = read_report(path).measurements[0]
    assert row.copies is not None
    assert row.copies > 0
    assert row.harmonizing is not None
    assert 0 <= row.harmonizing < 1
    assert json.loads(path.read_text())["machine"]["load after"]


@pytest.mark.usefixtures("in_this_process")
def test_files_of_the_gpu_and_the_cpu_do_not_replace_one_another(tmp_path: Path) -> None:
    for options in ([], ["--compute", "cpu"]):
        assert runner.invoke(app, [*SMALL, *options, "-o", str(tmp_path), "--no-plots"]).exit_code == 0
    assert {path.name.rpartition("--")[2] for path in tmp_path.glob("*.json")} == {"auto.json", "auto-cpu.json"}


@pytest.mark.usefixtures("in_this_process")
def test_a_slowdown_fails_the_gate_and_names_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert runner.invoke(app, [*SMALL, "-o", str(tmp_path), "--no-plots"]).exit_code == 0
    old = str(next(tmp_path.glob("*.json")))
    same = runner.invoke(app, [*SMALL, "--compare", old, "--tolerance", "3"])
    assert same.exit_code == 0, same.output
    assert "ok: 160x90" in same.output
    compose = FusedCompositor.compose

    def slow(*arguments: Any) -> Any:
        time.sleep(0.1)
        return compose(*arguments)

    monkeypatch.setattr(FusedCompositor, "compose", slow)
    slower = runner.invoke(app, [*SMALL, "--compare", old, "--tolerance", "3"])
    assert slower.exit_code == SLOWER, slower.output
    assert "SLOWER: 160x90" in slower.output
    assert "; composite x" in slower.output


@pytest.mark.usefixtures("in_this_process")
def test_nothing_to_compare_is_no_success(tmp_path: Path) -> None:
    assert runner.invoke(app, [*SMALL, "-o", str(tmp_path), "--no-plots"]).exit_code == 0
    old = next(tmp_path.glob("*.json"))
    result = runner.invoke(app, [*SMALL, "--every", "2", "--seconds", "600", "--compare", str(old)])
    assert isinstance(result.exception, InputError)
    assert "no case in common" in str(result.exception)


@pytest.mark.usefixtures("in_this_process")
def test_a_comparison_with_another_scene_says_so(tmp_path: Path) -> None:
    assert runner.invoke(app, [*SMALL, "-o", str(tmp_path), "--no-plots"]).exit_code == 0
    old = str(next(tmp_path.glob("*.json")))
    result = runner.invoke(app, [*SMALL, "-b", "red", "--compare", old, "--tolerance", "9"])
    assert result.exit_code == 0, result.output
    assert "background demo before, red now" in result.output


def test_a_call_too_small_for_its_time_of_capture_is_refused() -> None:
    result = runner.invoke(app, ["bench", "-s", "16x16", "--live", "--seconds", "60"])
    assert isinstance(result.exception, ConfigError)
    assert "expected at least 56x16" in str(result.exception)


def test_an_old_run_that_cannot_be_read_is_told_before_measuring(tmp_path: Path) -> None:
    start = time.monotonic()
    result = runner.invoke(app, ["bench", "--seconds", "60", "--compare", str(tmp_path / "none.json")])
    assert isinstance(result.exception, InputError)
    assert time.monotonic() - start < 20


def test_what_cannot_be_written_is_told_before_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_pipeline, "measure_apart", lambda *_, **__: pytest.fail("it was measured"))
    (tmp_path / "file").touch()
    for place in ("file", "file/folder"):
        result = runner.invoke(app, [*SMALL, "-o", str(tmp_path / place)])
        assert isinstance(result.exception, OutputError), result.exception
    monkeypatch.setattr("livecomp.cli.bench.find_spec", lambda name: None, raising=False)
    result = runner.invoke(app, [*SMALL, "-o", str(tmp_path / "results"), "--plots"])
    assert isinstance(result.exception, DependencyError)
    assert "livecomp[plots]" in str(result.exception)


@pytest.mark.parametrize("text", ["big", "12x", "x12", "13x13", "8x8", "99999x100", "-2x64"])
def test_a_size_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ConfigError, match="expected"):
        wanted(sizes=[text])


def test_sizes_have_names() -> None:
    assert wanted(sizes=["4K", "360p", "100x80"]).sizes == [(3840, 2160), (640, 360), (100, 80)]


def test_every_combination_is_a_case() -> None:
    cases = _cases(Preset.quick, wanted(sizes=["360p"], segmenters=["both", "landscape"], harmonizers=["live", "mkl"]))
    assert len({case.name for case in cases}) == 4
    assert {case.what for case in cases} == {"pipeline"}
    assert {case.what for case in _cases(Preset.quick, wanted(live=True))} == {"live"}


def test_the_readme_has_sizes_up_to_4k_calls_and_recipes() -> None:
    cases = _cases(Preset.readme, wanted())
    assert {"pipeline", "live"} < {case.what for case in cases}
    assert {case.size_wh[1] for case in cases if case.what == "pipeline"} == {360, 720, 1080, 2160}
    assert len([case for case in cases if case.what not in ("pipeline", "live")]) == 6
