"""The commands of the README run as they are printed, on small files of the names they use."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import zipfile
from fractions import Fraction
from pathlib import Path

import click
import numpy as np
import pytest
import typer

from livecomp.capture.demo import DemoSource
from livecomp.cli import app
from livecomp.frame import Composite
from livecomp.media.image import write_image
from livecomp.output.video import VideoSink

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


LASTING = ("run", "preview", "ctl", "setup", "bench")
"""Commands that do not end, want a call, ask questions or take long; tests/v4l2/test_call.py runs them."""


TRAINING = "## Train your own network"


def lines(text: str) -> list[str]:
    """The lines of all blocks of commands, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]


def commands(*, lasting: bool) -> list[str]:
    before, _, after = README.partition(TRAINING)
    found = lines(before) + lines(after.partition("\n## ")[2])
    return [line for line in found if line.startswith("livecomp ") and (line.split()[1] in LASTING) == lasting]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every file that the README names, small."""
    root = tmp_path_factory.mktemp("readme")
    source = DemoSource((160, 90), seconds=0.2)
    source.open()
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    source.close()
    for name in ("talk.mp4", "clouds.mp4"):
        sink = VideoSink(root / name, size_wh=(160, 90), fps=Fraction(30), time_base=Fraction(1, 30))
        sink.open()
        for frame in frames:
            sink.write(Composite(frame.rgb, frame.pts_ns))
        sink.close()
    mask = np.zeros((90, 160, 3), np.uint8)
    mask[20:, 50:110] = 255
    for place in ("portraits", "in", "masks"):
        (root / place).mkdir()
    for name in ("beach.jpg", "portrait.jpg", "composite.png", "portraits/a.jpg", "in/a.png"):
        write_image(root / name, frames[0].rgb)
    for name in ("mask.png", "masks/a.png"):
        write_image(root / name, mask)
    return root


@pytest.mark.parametrize("command", commands(lasting=True))
def test_a_lasting_command_of_the_readme_is_understood(command: str) -> None:
    group = typer.main.get_command(app)
    arguments = shlex.split(command)[1:]
    while True:
        context = group.make_context("livecomp", arguments)
        if not isinstance(group, click.Group):
            break
        _, found, arguments = group.resolve_command(context, [*context.protected_args, *context.args])
        assert found is not None
        group = found


@pytest.mark.parametrize("command", commands(lasting=False))
def test_a_command_of_the_readme_runs(folder: Path, command: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    arguments = [sys.executable, "-m", *shlex.split(command)]
    result = subprocess.run(arguments, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_the_training_commands_of_the_readme_run_one_after_another(folder: Path) -> None:
    pytest.importorskip("torch", reason="torch is not installed")
    for part in ("train", "val"):
        photographs = folder / "data" / "portraits" / part
        photographs.mkdir(parents=True)
        for name in ("a.jpg", "b.jpg"):
            shutil.copy(ROOT / "livecomp" / "assets" / "astronaut.jpg", photographs / name)
    shutil.copytree(folder / "in", folder / "data" / "backgrounds" / "scenes")
    with zipfile.ZipFile(folder / "polynomial_matching_coefficients.zip", "w") as archive:
        for number, suffix in itertools.product("12", ("", "_reverse")):
            with archive.open(f"coefficients/{number}{suffix}.npy", "w") as file:
                np.save(file, np.eye(3, 11) * (0.9 if suffix else 1 / 0.9))
    (folder / "train_list.txt").write_text("1_a\n2_a\n")
    (folder / "training").symlink_to(ROOT / "training")
    settings = (ROOT / "training" / "configs" / "live_supervised.toml").read_text()
    for key, value in {"batch": "batch = 4", "samples": "samples = 8", r"\[data\]": "[data]\nlimit = 2"}.items():
        settings = re.sub(rf"(?m)^{key}.*", value, settings)
    (folder / "short.toml").write_text(settings)
    programs = {
        "python": [sys.executable],
        "torchrun": [sys.executable, "-m", "torch.distributed.run", "--master-port", "29618"],
        "livecomp": [sys.executable, "-m", "livecomp"],
    }
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder)}
    install, *rest = lines(README.partition(TRAINING)[2].partition("\n## ")[0])
    assert install == "python -m pip install -e '.[train]'"
    mattes = next(line for line in rest if "make_mattes" in line)
    for line in [mattes.replace("/train", "/val"), *rest]:
        program, *arguments = shlex.split(line.replace(" live_supervised ", " short.toml "))
        command = [*programs[program], *arguments]
        result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert result.returncode == 0, f"{line}: {result.stderr}"
    assert (folder / "mine.mp4").exists()


def test_the_configuration_file_of_the_readme_is_written_in_a_home_without_one(tmp_path: Path) -> None:
    command = re.search(r"`([^`]*livecomp config > [^`]+)`", README)
    assert command
    script = f'livecomp() {{ {shlex.quote(sys.executable)} -m livecomp "$@"; }}; {command[1]}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)}
    subprocess.run(["/bin/sh", "-c", script], env=environment, check=True)
    assert "[background]" in (tmp_path / ".config/livecomp/config.toml").read_text()


def test_the_readme_speaks_of_every_extra() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    rows = [line for line in README.splitlines() if line.startswith("| `")]
    assert [extra for extra in extras if not any(f"`{extra}`" in row.split(" | ")[0] for row in rows)] == []


def test_the_readme_names_both_commands_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in ("demo", "test"):
        assert f"make {target} " in README
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def make_environment(folder: Path, python: str) -> subprocess.CompletedProcess[str]:
    """Run what the Makefile does for an environment, with a made-up Python."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\n{python}\n")
    program.chmod(0o755)
    recipe = re.search(r"^\$\(bin\)/python:\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert recipe
    script = "set -e\n" + re.sub(r"^\t@?", "", recipe[1], flags=re.MULTILINE)
    for name, value in {"$(PYTHON)": str(program), "$(VENV)": "env", "$@": "env/bin/python"}.items():
        script = script.replace(name, value)
    return subprocess.run(["/bin/sh", "-c", script], cwd=folder, capture_output=True, text=True, check=False)


def test_an_environment_that_is_not_finished_is_made_again(tmp_path: Path) -> None:
    leaves_one_without_pip = 'test "$1" = -c || { mkdir -p env/bin; touch env/bin/python; exit 1; }'
    assert make_environment(tmp_path, leaves_one_without_pip).returncode == 1
    assert not (tmp_path / "env/bin/python").exists()


def test_no_environment_is_made_with_a_python_that_is_too_old(tmp_path: Path) -> None:
    old = "import sys; sys.version_info = (3, 10, 12)"
    faked = f'-c) exec {sys.executable} -c "{old}; $2";; --version) echo Python 3.10.12;;'
    program = f"case $1 in {faked} *) mkdir env;; esac"
    ran = make_environment(tmp_path, program)
    assert ran.returncode == 1
    assert "PYTHON=python3.12; received:\nPython 3.10.12\n" in ran.stdout
    assert not (tmp_path / "env").exists()


def test_the_readme_speaks_of_every_command() -> None:
    help_text = subprocess.run(
        [sys.executable, "-m", "livecomp", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    listed = re.findall(r"^│ ([a-z]+)  ", help_text, re.MULTILINE)
    assert listed, help_text
    for command in listed:
        assert f"livecomp {command}" in README
