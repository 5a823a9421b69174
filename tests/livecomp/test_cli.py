from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from rich.console import Console

from livecomp.api import ProcessReport
from livecomp.cli import common, files, live
from livecomp.media.image import read_image, write_image

RUNTIME_FOLDER = tempfile.mkdtemp(prefix="livecomp-tests-")


def run(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "livecomp", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"}
    # not the configuration of who runs the tests, nor their calls
    environment |= {"XDG_CONFIG_HOME": "/nonexistent", "XDG_RUNTIME_DIR": RUNTIME_FOLDER}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


COMMANDS = ["", "process", "harmonize", "demo", "models", "devices", "doctor", "run", "preview", "config", "bench"]
COMMANDS += ["ctl", "ctl status", "ctl set", "setup", "setup rvm", "setup v4l2loopback", "setup systemd"]


@pytest.mark.parametrize("command", [command.split() for command in COMMANDS])
def test_help_reads_well(command: list[str]) -> None:
    result = run(*command, "--help")
    assert result.returncode == 0
    assert "Usage: " in result.stdout
    assert "Traceback" not in result.stderr


def test_version() -> None:
    assert run("--version").stdout.startswith("livecomp 0.")


def test_models_lists_hashes_and_licences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    table = run("models").stdout
    assert "Apache-2.0" in table
    entries = {entry["name"]: entry for entry in json.loads(run("models", "--json").stdout)}
    assert len(entries["selfie_general"]["sha256"]) == 64
    assert Path(entries["selfie_general"]["path"]).is_file()
    assert entries["rvm"]["install"] == "livecomp setup rvm"
    assert entries["rvm"]["path"] is None


def test_devices_are_listed_for_people_and_for_programs() -> None:
    assert "virtual camera" in run("devices").stdout
    found = json.loads(run("devices", "--json").stdout)
    assert set(found) == {"cameras", "virtual_cameras", "pipewire"}


def test_the_configuration_file_is_printed_and_accepted(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text(run("config").stdout)
    result = run("run", "-i", "demo", "-o", "/dev/video999", "--config", tmp_path / "config.toml")
    assert "config" not in result.stderr
    assert result.returncode == 4
    assert run("config", "--path").stdout.strip() == "/nonexistent/livecomp/config.toml"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="v4l2loopback is Linux's")
def test_setup_prints_commands_and_runs_none_unasked() -> None:
    result = run("setup", "v4l2loopback")
    assert result.returncode == 0
    assert "sudo modprobe v4l2loopback" in result.stdout


WHITE = ["process", "demo", "-b", "white", "-o", "out.mp4"]
ERRORS = {
    "no input": (["process", "missing.mp4", "-b", "white", "-o", "out.mp4"], 3, "no file missing.mp4"),
    "no background": (["process", "demo", "-b", "missing.jpg", "-o", "out.mp4"], 8, "no background"),
    "no name of an input": (["process", "", "-b", "white", "-o", "out"], 3, "the input has no name"),
    "no name of a background": (["process", "demo", "-b", "", "-o", "out.mp4"], 8, "no background ''"),
    "no name of an output": (["process", "demo", "-b", "white", "-o", ""], 4, "expected a video's suffix"),
    "no such folder": (["process", "demo", "-b", "white", "-o", "nowhere/out.mp4"], 4, "nowhere"),
    "unknown model": (["process", "demo", "-b", "white", "-o", "out.mp4", "--model", "magic"], 8, "known are"),
    "no folder for timings": ([*WHITE, "--timings", "nowhere/t.json"], 4, "nowhere"),
    "half a command": (["harmonize", "a.png"], 8, "COMPOSITE MASK -o OUT"),
    "out of range": (["process", "demo", "-b", "white", "-o", "out.mp4", "--strength", "2"], 2, "strength"),
    "no config": (["run", "--config", "missing.toml"], 8, "livecomp config > missing.toml"),
    "bad option": (["run", "--fps", "1000"], 8, "live.fps"),
    "no virtual camera": (["run", "-i", "demo", "-o", "/dev/video999"], 4, "setup v4l2loopback"),
    "no scene": (["preview", "-i", "demo", "-b", "missing.jpg"], 8, "no background"),
    "no call": (["ctl", "freeze"], 3, "no call is running"),
    "no such user": (["ctl", "background", "~nobody-of-this-name/a.jpg"], 3, "no call is running"),
    "too long a name": (["process", "x" * 300, "-b", "white", "-o", "out.mp4"], 3, "no file"),
    "no place": (["ctl", "place"], 8, "--size 0.7 --right 0.2"),
    "too small": (["run", "--size", "0"], 2, "--size"),
    "no value": (["ctl", "set", "fps"], 8, "KEY=VALUE"),
    "licence": (["setup", "rvm"], 1, ""),
}


@pytest.mark.parametrize(("arguments", "code", "words"), ERRORS.values(), ids=ERRORS.keys())
def test_errors_are_one_line_and_have_a_code(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    result = run(*arguments, cwd=tmp_path)
    assert result.returncode == code
    assert words in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.iterdir())


def test_what_nobody_expected_is_one_line_too_and_says_more_when_asked() -> None:
    program = "from livecomp.cli import app, main; app.command('break')(lambda: {}['no such key']); main()"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"}
    for words in ([], ["-vv"]):
        command = [sys.executable, "-c", program, *words, "break"]
        result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        assert result.returncode == 1
        *before, last = result.stderr.splitlines()
        assert last.startswith("livecomp: unexpected KeyError: 'no such key'; ")
        assert any("Traceback" in line for line in before) == bool(before) == bool(words)


def test_what_a_library_says_in_many_lines_is_put_into_one() -> None:
    words = "raise InputError('a  b.mp4 is refused:\\n  Check failed\\n\\nat core.cpp')"
    program = (
        "from livecomp.cli import app, main; from livecomp.errors import InputError\n"
        f"@app.command('break')\ndef fail() -> None:\n    {words}\nmain()"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", program, "break"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 3
    assert result.stderr == "livecomp: a  b.mp4 is refused: Check failed at core.cpp\n"


def test_harmonize_one_picture(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(40, 200, (70, 91, 3), np.uint8)
    mask = np.zeros((70, 91, 3), np.uint8)
    mask[20:60, 30:70] = 255
    write_image(tmp_path / "c.png", np.where(mask > 0, rgb // 3, rgb))
    write_image(tmp_path / "m.png", mask)
    result = run("harmonize", "c.png", "m.png", "-o", "out.png", "--model", "reinhard", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    shown = read_image(tmp_path / "out.png")
    np.testing.assert_array_equal(shown[mask[..., 0] == 0], rgb[mask[..., 0] == 0])
    again = run("harmonize", "c.png", "m.png", "-o", "out.png", "--model", "reinhard", cwd=tmp_path)
    assert again.returncode == 8
    assert "exists" in again.stderr


@pytest.mark.parametrize("is_piped", [False, True])
def test_the_address_of_the_page_has_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch, is_piped: bool) -> None:
    terminal, pipe = io.StringIO(), io.StringIO()
    consoles = {"stderr": terminal, "stdout": pipe if is_piped else terminal}
    for name, file in consoles.items():
        console = Console(file=file, force_terminal=file is terminal, stderr=name == "stderr")
        monkeypatch.setattr(live, name, console)
        monkeypatch.setattr(common, name, console)

    def call(options: object, *, started: Callable[[object, str], None], tick: object) -> None:
        status = {"device": "preview", "shown": 0, "slates": 0, "dropped": 0}
        started(SimpleNamespace(status=lambda: status), "http://me/")

    monkeypatch.setattr("livecomp.control.call.run_call", call)
    live._run({}, preview=True)
    assert re.search(r"(^|[\n\x1bK])http://me/\n", consoles["stdout"].getvalue())
    assert pipe.getvalue() == ("http://me/\n" if is_piped else "")


def test_names_of_files_are_shown_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as on a terminal, with a bar
    write_image(tmp_path / "in.png", np.full((48, 64, 3), (0, 177, 64), np.uint8))
    (tmp_path / "[").mkdir()
    name = "[/b] [final] :smile:.png"
    options = ["--segmenter", "chroma", "--model", "identity", "--on-miss", "slate"]
    result = run("process", "in.png", "-b", "white", "-o", name, *options, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for output in (result.stdout, result.stderr):
        assert name in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)


@pytest.mark.parametrize(("encoding", "name"), [("latin-1", "日本.png"), ("utf-8:strict", "caf\udce9.png")])
def test_a_name_that_cannot_be_printed_is_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, name: str
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    for picture in ("in.png", "mask.png"):
        write_image(tmp_path / picture, np.full((48, 64, 3), 255, np.uint8))
    result = run("harmonize", "in.png", "mask.png", "-o", name, "--model", "identity", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == name.encode("ascii", "backslashreplace").decode() + "\n"
    assert (tmp_path / name).is_file()


def test_timings_name_every_stage_and_the_memory(tmp_path: Path) -> None:
    picture = np.full((240, 320, 3), (0, 177, 64), np.uint8)
    picture[80:, 100:220] = (190, 140, 110)
    write_image(tmp_path / "person.png", picture)
    common = ["process", "person.png", "-b", "#204060", "--segmenter", "chroma", "--key-color", "#00b140"]
    table = run(*common, "-o", "a.png", "--timings", "-", cwd=tmp_path)
    assert table.returncode == 0, table.stderr
    assert "most memory" in table.stdout
    assert run(*common, "-o", "b.png", "--timings", "times.json", cwd=tmp_path).returncode == 0
    refused = run(*common, "-o", "c.png", "--timings", ".", cwd=tmp_path)
    assert (refused.returncode, (tmp_path / "c.png").exists()) == (4, False)
    assert refused.stderr == "livecomp: cannot write .: it is a folder\n"
    times = json.loads((tmp_path / "times.json").read_text())
    assert times["frames"] == 1
    assert 50 < times["peak_mib"] < 4000
    assert {"read", "segment", "harmonize", "composite"} <= {row["stage"] for row in times["stages"]}


def test_timings_are_json_where_the_system_does_not_tell_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(files, "peak_mib", lambda: float("nan"))  # as on Windows
    for timings in (tmp_path / "times.json", Path("-")):
        files._summarise(ProcessReport(1, 0, 1.0), Path("out.png"), timings)
    assert json.loads((tmp_path / "times.json").read_text(), parse_constant=pytest.fail)["peak_mib"] is None
    assert "nan" not in capsys.readouterr().out


def test_timings_replace_no_file_unasked_and_never_an_input(tmp_path: Path) -> None:
    picture = np.full((240, 320, 3), (0, 177, 64), np.uint8)
    picture[80:, 100:220] = (190, 140, 110)
    write_image(tmp_path / "person.png", picture)
    before = (tmp_path / "person.png").read_bytes()
    (tmp_path / "notes.txt").write_text("kept")
    common = ["process", "person.png", "-b", "#204060", "--segmenter", "chroma", "-o", "out.png"]
    for name, words in {"notes.txt": "exists", "person.png": "is an input"}.items():
        refused = run(*common, "--timings", name, *["-y"] * (words != "exists"), cwd=tmp_path)
        assert (refused.returncode, refused.stderr.count("\n")) == (8, 1), refused.stderr
        assert words in refused.stderr
    assert run(*common, "--timings", "out.png", cwd=tmp_path).returncode == 8
    assert (tmp_path / "person.png").read_bytes() == before
    assert (tmp_path / "notes.txt").read_text() == "kept"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "person.png"]
    assert run(*common, "--timings", "notes.txt", "-y", cwd=tmp_path).returncode == 0
    assert json.loads((tmp_path / "notes.txt").read_text())["frames"] == 1
    assert run(*common, "--timings", "/dev/null", "-y", cwd=tmp_path).returncode == 0
    assert Path("/dev/null").is_char_device()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "out.png", "person.png"]


def _mind_signals() -> None:
    """In the child, before Python starts: shells start what runs in the background with SIGINT ignored."""
    for number in ENDS:
        signal.signal(number, signal.SIG_DFL)


def _ignore_hangups() -> None:
    """In the child, before Python starts: what nohup does."""
    _mind_signals()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)


ENDS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def _start_to_write(folder: Path, preexec: Callable[[], None] = _mind_signals) -> subprocess.Popen[bytes]:
    """A run that has begun to write its video."""
    command = [sys.executable, "-m", "livecomp", "-v", "process", "demo", "-b", "demo", "-o", "out.mp4"]
    command += ["--model", "mkl"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=preexec
    )
    deadline = time.monotonic() + 60
    while not list(folder.glob(".*partial*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "the run never started to write"
        time.sleep(0.02)
    return process


@pytest.mark.parametrize(("number", "code"), ENDS.items(), ids=[number.name for number in ENDS])
def test_a_run_that_is_ended_leaves_no_half_file(tmp_path: Path, number: signal.Signals, code: int) -> None:
    process = _start_to_write(tmp_path)
    process.send_signal(number)
    if number != signal.SIGINT:  # a terminal that is closed sends more than one
        process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code, errors
    assert not list(tmp_path.iterdir())
    assert b"Traceback" not in errors


def test_a_run_under_nohup_survives_the_terminal(tmp_path: Path) -> None:
    process = _start_to_write(tmp_path, _ignore_hangups)
    process.send_signal(signal.SIGHUP)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_the_demo_is_the_built_in_one_whatever_the_folder_holds(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    result = run("demo", "-o", "out", "--model", "mkl", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "150 frames" in result.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["before-after.png", "demo.mp4"]


def _write_green_screen(path: Path, frames: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=30)
        stream.width, stream.height = 192, 128
        for index in range(frames):
            picture = np.full((128, 192, 3), (0, 177, 64), np.uint8)
            left = 60 + int(20 * np.sin(index / 9))
            picture[40:, left : left + 70] = (190, 140, 110)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_a_long_video_needs_no_more_memory_than_a_short_one(tmp_path: Path) -> None:
    peaks = {}
    for frames in (300, 4000):
        _write_green_screen(tmp_path / "in.mp4", frames)
        options = ["--segmenter", "chroma", "--key-color", "#00b140", "--model", "mkl", "--timings", "t.json", "-y"]
        result = run("process", "in.mp4", "-b", "#204060", "-o", "out.mp4", *options, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
        times = json.loads((tmp_path / "t.json").read_text())
        assert times["frames"] == frames
        peaks[frames] = times["peak_mib"]
    assert peaks[4000] < peaks[300] + 8
