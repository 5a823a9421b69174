"""Measurements of the pipeline, their files, and the verdict between two of them."""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from livecomp.bench import Case, Measurement, Report
from livecomp.bench.compare import compare, different_scenes
from livecomp.bench.facts import facts, machine_slug
from livecomp.bench.pipeline import load_frames, measure, measure_apart
from livecomp.bench.report import draw, markdown, read_report, write_report
from livecomp.config import Config
from livecomp.errors import InputError, MatteError, OutputError
from livecomp.stats import StageSummary

SIZE_WH = (160, 90)
KEYED = Config.from_options({"segment": {"key_color": "#ff00ff"}})
PLAIN = Case(SIZE_WH, "chroma", "mkl", harmonize_every=2)


def summary(stage: str, ms: float, count: int = 10) -> StageSummary:
    return StageSummary(stage, count, ms, ms, ms * 1.2, ms * 1.5)


def measurement(case: Case = PLAIN, frame_ms: float = 20.0, segment_ms: float = 12.0) -> Measurement:
    stages = [summary("segment", segment_ms), summary("harmonize", 3.0, 5)]
    return Measurement(case, 10, 0.2, 50.0, 1.1, 300.0, summary("frame", frame_ms), stages, [frame_ms] * 10, 0.4)


def report(*rows: Measurement) -> Report:
    return Report({"processor": "test"}, list(rows or [measurement()]))


def test_a_case_is_measured_stage_by_stage() -> None:
    found = measure(PLAIN, KEYED, "synthetic", "#204060", 0.3)
    assert found.frames > 3
    assert found.fps == pytest.approx(found.frames / found.seconds)
    stages = {stage.stage: stage for stage in found.stages}
    assert set(stages) == {"segment", "background", "light", "harmonize", "smooth", "composite"}
    assert stages["segment"].count == found.frames
    assert abs(stages["harmonize"].count - found.frames / 2) <= 1
    inside = sum(stage.mean_ms * stage.count for stage in found.stages) / found.frames
    assert inside <= found.frame.mean_ms * 1.05
    assert len(found.frame_ms) == found.frames
    assert 0 < found.cores < 16
    assert found.peak_mib > 20


def test_cases_are_measured_in_processes_of_their_own_and_errors_come_through() -> None:
    seen: list[int] = []
    small = Case((64, 36), "chroma", "identity")
    rows = measure_apart([small], KEYED, "synthetic", "#204060", 0.1, progress=lambda done, total: seen.append(done))
    assert [row.case for row in rows] == [small]
    assert seen == [0, 1]
    with pytest.raises(InputError, match="no file"):
        measure_apart([small], Config(), "nowhere.mp4", "#204060", 0.1)


def measure_for_ever(*arguments: object) -> Measurement:
    os.write(1, f"{os.getpid()}\n".encode())
    time.sleep(600)
    raise AssertionError


ENDLESS = """
from tests.livecomp.bench.test_bench import *
if __name__ == "__main__":
    measure_apart([PLAIN], KEYED, "synthetic", "#204060", 1, measurer=measure_for_ever)
"""


@pytest.mark.skipif(os.name != "posix", reason="asks for a process as POSIX does")
def test_a_process_that_measures_ends_with_the_one_that_was_killed(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True, env=environment) as owner:
        assert owner.stdout is not None
        measuring = int(owner.stdout.readline())
        owner.kill()
        owner.wait()
        try:
            # the pipe has its end when the last process that could write to it is gone
            ended = select.select([owner.stdout], [], [], 20)[0]
            assert ended, "it goes on without anybody to tell"
        finally:
            with suppress(ProcessLookupError):
                os.kill(measuring, signal.SIGKILL)


def test_a_frame_that_would_not_be_shown_ends_the_measurement() -> None:
    with pytest.raises(MatteError):
        measure(PLAIN, Config(), "demo", "#204060", 0.1)


def test_frames_have_the_size_asked_for_and_fit_into_memory() -> None:
    frames = load_frames("synthetic", (100, 80))
    assert {frame.size_wh for frame in frames} == {(100, 80)}
    assert len(frames) == 48
    assert len(load_frames("demo", (3840, 2160))) == 10


def test_files_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "bench.json"
    write_report(path, report())
    assert read_report(path) == report()
    assert "160x90 chroma + mkl, every 2" in path.with_suffix(".md").read_text()


def test_a_report_that_cannot_be_finished_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bench.json"
    write_report(path, report())
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    write_text = Path.write_text

    def full(self: Path, data: str, *rest: Any) -> int:
        write_text(self, data[:10], *rest)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OutputError, match="No space left"):
        write_report(path, Report({}, []))
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_files_are_utf8_whatever_the_system_says(tmp_path: Path) -> None:
    path = tmp_path / "bench.json"
    program = (
        "from livecomp.bench.report import *; from livecomp.bench.report import Path, Report;"
        f"write_report(Path({str(path)!r}), Report({{'input': '\\u65e5.mp4'}}, []))"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "PYTHONUTF8": "0", "LC_ALL": "C"}
    environment["PYTHONCOERCECLOCALE"] = "0"
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)
    assert read_report(path).machine == {"input": "日.mp4"}
    assert "- input: 日.mp4\n" in path.with_suffix(".md").read_text("utf-8")


def test_the_table_says_how_often_a_stage_ran() -> None:
    table = markdown(report())
    assert "| 3.00 / 3.60 (x0.50) |" in table
    assert "| 12.00 / 14.40 |" in table


@pytest.mark.parametrize("text", ["{}", "not json", '{"schema": 99, "machine": {}, "measurements": []}', "[]"])
def test_a_file_that_is_no_measurement_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"other\.json"):
        read_report(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read"):
        read_report(tmp_path / "nowhere.json")


def test_slower_frames_and_stages_are_found() -> None:
    rows = compare(report(), report(measurement(frame_ms=26.0, segment_ms=18.0)))
    assert [row.is_slower for row in rows] == [True]
    assert rows[0].slower_stages == {"segment": pytest.approx(1.5)}
    assert rows[0].ratio == pytest.approx(1.3)


def test_noise_and_faster_runs_pass() -> None:
    for frame_ms in (22.0, 11.0):
        assert not compare(report(), report(measurement(frame_ms=frame_ms)))[0].is_slower


def test_only_common_cases_are_compared() -> None:
    other = measurement(replace(PLAIN, backend="openvino"))
    assert compare(report(), report(other)) == []


def test_plots_are_written(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    for path in draw(tmp_path / "plots", report(measurement(), measurement(replace(PLAIN, segmenter="both")))):
        assert path.stat().st_size > 5000


def test_no_two_cases_look_alike(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("matplotlib")
    from matplotlib import pyplot as plt

    close = plt.close
    monkeypatch.setattr(plt, "close", lambda figure: None)
    draw(tmp_path, report(*(measurement(replace(PLAIN, harmonize_every=every)) for every in range(1, 24))))
    try:
        _, spread, order = (plt.figure(number) for number in plt.get_fignums())
        looks = {(line.get_color(), line.get_linestyle()) for line in order.axes[0].lines}
        outlines = {(patch.get_edgecolor(), patch.get_linestyle()) for patch in spread.axes[0].patches}
    finally:
        close("all")
    assert len(looks) == len(outlines) == 23


def test_facts_name_machine_versions_and_load() -> None:
    found = facts()
    assert {"livecomp", "processor", "python", "numpy", "when"} <= set(found)
    assert json.loads(json.dumps(found)) == found
    assert machine_slug().replace("-", "").isalnum()


def test_facts_are_known_of_a_source_tree_that_was_never_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    version = metadata.version

    def of_others(package: str) -> str:
        if package == "livecomp":
            raise metadata.PackageNotFoundError(package)
        return version(package)

    monkeypatch.setattr(metadata, "version", of_others)
    assert "livecomp" not in facts()


def test_runs_of_other_scenes_are_told_apart() -> None:
    runs = [
        Report({"input": "demo", "background": "demo"}, []),
        Report({"input": "talk.mp4", "background": "demo"}, []),
        Report({"cpu": "some"}, []),
    ]
    assert different_scenes(runs[0], runs[1]) == ["input demo before, talk.mp4 now"]
    assert different_scenes(runs[0], runs[0]) == []
    assert different_scenes(runs[2], runs[0]) == []
