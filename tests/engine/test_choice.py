from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import engine.choice
from engine import (
    BackendError,
    InferenceError,
    ModelFileError,
    ModelRunner,
    Options,
    Probe,
    TensorMap,
    choose,
    open_runner,
)
from engine.backend import Backend
from tests.engine import models
from tests.engine.fakes import FakeProgram, fake_backend


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return models.reciprocal(tmp_path / "model.onnx")


class Slow(FakeProgram):
    """Takes its time."""

    def run(self, feed: TensorMap) -> TensorMap:
        time.sleep(0.002)
        return super().run(feed)


class Wrong(FakeProgram):
    """Fast, and wrong."""

    def run(self, feed: TensorMap) -> TensorMap:
        return {"y": feed["x"] * np.float32(2.5)}


def use(monkeypatch: pytest.MonkeyPatch, *backends: Backend) -> None:
    monkeypatch.setattr(engine.choice, "BACKENDS", {backend.name: backend for backend in backends})


def test_the_fastest_right_one_wins_and_others_say_why_not(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(
        monkeypatch,
        fake_backend("slow", Slow()),
        fake_backend("fast", FakeProgram()),
        fake_backend("wrong", Wrong()),
        fake_backend("broken", BackendError("no driver")),
    )
    choice = choose(path, Options())
    assert [one.backend for one in choice.ranked] == ["fast", "slow"]
    assert choice.ranked[1].median_ms >= 2
    assert choice.skipped["broken fp32"] == "no driver"
    assert "differs by 2.5e-01 from slow's" in choice.skipped["wrong fp32"]


def test_measured_once_and_again_on_demand_or_for_other_options(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = FakeProgram()
    use(monkeypatch, fake_backend("one", program))
    first = choose(path, Options())
    runs = program.runs
    assert runs > 3
    assert choose(path, Options()) == first
    assert program.runs == runs
    choose(path, Options(), refresh=True)
    assert program.runs > runs
    runs = program.runs
    choose(path, Options(threads=2))
    assert program.runs > runs


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"ranked": [], "skipped": {}}', b'{"ranked": [{"backend": 1}]}'])
def test_a_damaged_memory_is_measured_again(
    path: Path, own_cache: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = FakeProgram()
    use(monkeypatch, fake_backend("one", program))
    first = choose(path, Options())
    cache = engine.choice.EngineCache(own_cache.with_name("choices"))
    (name,) = [entry.name for entry in cache.folder.iterdir()]
    kept = cache.load(name)
    assert kept is not None
    assert json.loads(kept)["ranked"][0]["backend"] == "one"
    cache.store(name, content)
    runs = program.runs
    assert [one.backend for one in choose(path, Options()).ranked] == [one.backend for one in first.ranked]
    assert program.runs > runs


def test_a_remembered_backend_that_is_gone_is_measured_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use(monkeypatch, fake_backend("old name", FakeProgram()))
    choose(path, Options())
    use(monkeypatch, fake_backend("new name", FakeProgram()))
    with open_runner(path) as runner:
        assert runner.name == "new name"
    assert "there is no backend old name" in caplog.text


def test_what_was_measured_without_a_gpu_does_not_hold_with_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = FakeProgram()
    use(monkeypatch, fake_backend("one", program))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    choose(path, Options())
    runs = program.runs
    choose(path, Options())
    assert program.runs == runs
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    choose(path, Options())
    assert program.runs > runs


class NotANumber(FakeProgram):
    """Loads, and says nothing."""

    def run(self, feed: TensorMap) -> TensorMap:
        return {"y": np.full_like(feed["x"], np.nan)}


class LostLater(FakeProgram):
    """Fails in its tenth run, when its time is taken."""

    def run(self, feed: TensorMap) -> TensorMap:
        if self.runs == 9:
            raise OSError("the driver is gone")
        return super().run(feed)


class Narrow(FakeProgram):
    """Gives one number for four."""

    def run(self, feed: TensorMap) -> TensorMap:
        return {"y": feed["x"][:, :1] * 2}


class OtherName(FakeProgram):
    """Calls its output something else."""

    def run(self, feed: TensorMap) -> TensorMap:
        return {"z": feed["x"] * 2}


@pytest.mark.parametrize(
    ("program", "reason"),
    [
        (NotANumber, "not finite"),
        (LostLater, "the driver is gone"),
        (Narrow, "differs by inf from onnxruntime's"),
        (OtherName, "differs by inf from onnxruntime's"),
        (Wrong, "differs by 2.5e-01 from onnxruntime's"),
    ],
)
def test_one_that_fails_first_does_not_keep_the_others_from_being_chosen(
    path: Path, program: type[FakeProgram], reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use(monkeypatch, fake_backend("bad", program()), fake_backend("onnxruntime", FakeProgram()))
    choice = choose(path, Options())
    assert [one.backend for one in choice.ranked] == ["onnxruntime"]
    assert reason in choice.skipped["bad fp32"]


def test_measuring_takes_a_second_or_less(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class VerySlow(FakeProgram):
        def run(self, feed: TensorMap) -> TensorMap:
            time.sleep(0.05)
            return super().run(feed)

    use(monkeypatch, fake_backend("a", VerySlow()), fake_backend("b", VerySlow()))
    begin = time.monotonic()
    choose(path, Options())
    assert time.monotonic() - begin < 2


def test_nothing_that_works_shows_all_reasons(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, fake_backend("a", BackendError("no driver")), fake_backend("b", ModelFileError("no operator")))
    with pytest.raises(BackendError, match="a fp32: no driver; b fp32: no operator"):
        open_runner(path).open()
    use(monkeypatch, fake_backend("b", ModelFileError("no operator")))
    with pytest.raises(ModelFileError, match="no operator"):
        open_runner(path).open()


@pytest.mark.parametrize(
    ("where", "error", "reason"),
    [
        ("prober", InferenceError("cudaGetDeviceProperties failed"), "odd cannot be used here: cudaGetDeviceProper"),
        ("prober", RuntimeError("Failed to dlopen libcuda.so"), "odd cannot be used here: RuntimeError('Failed to"),
        ("loader", TypeError("factory function returned nullptr"), "odd cannot load model.onnx: TypeError('factory"),
    ],
)
def test_one_whose_driver_is_half_there_is_skipped(
    path: Path, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception, reason: str
) -> None:
    def fail(*_: object) -> None:
        raise error

    odd = replace(fake_backend("odd", FakeProgram()), **{where: fail})
    use(monkeypatch, odd, fake_backend("good", FakeProgram()))
    choice = choose(path, Options())
    assert [one.backend for one in choice.ranked] == ["good"]
    (told,) = choice.skipped.values()
    assert told.startswith(reason)
    found = engine.probe_all()
    assert isinstance(found["good"], Probe)
    assert isinstance(found["odd"], Probe) == (where == "loader")
    if where == "loader":
        with pytest.raises(BackendError, match="nullptr"):
            ModelRunner(odd, path, Options()).open()


def test_a_precision_nobody_computes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, fake_backend("a", FakeProgram()))
    with pytest.raises(BackendError, match="a: it does not compute bf16 natively here, only fp32"):
        open_runner(path, precision="bf16").open()


def test_auto_falls_to_the_next_in_the_ranking(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, slow = FakeProgram(), Slow()
    use(monkeypatch, fake_backend("slow", slow), fake_backend("fast", fast))
    x = np.array([[1, 2, 3, 4]], np.float32)
    with open_runner(path) as runner:
        assert runner.name == "fast"

        def lost() -> TensorMap:
            raise OSError("the driver is gone")

        fast.fault = lost
        np.testing.assert_array_equal(runner.infer({"x": x})["y"], 2 * x)
        assert runner.name == "slow"
    assert open_runner(path).name == "auto"


def test_every_real_backend_is_ranked_or_has_a_reason(path: Path) -> None:
    choice = choose(path, Options())
    named = {one.backend for one in choice.ranked} | {name.split()[0] for name in choice.skipped}
    assert named == set(engine.BACKENDS)
    assert all(choice.skipped.values())
    assert "reference" in choice.skipped["torch"]


def test_open_sides_stay_open_unless_a_shape_is_given(tmp_path: Path) -> None:
    path = models.open_batch(tmp_path / "open.onnx")
    x = np.ones((5, 3), np.float32)
    with open_runner(path) as runner:
        np.testing.assert_array_equal(runner.infer({"x": x})["y"], 2 * x)
        np.testing.assert_array_equal(runner.infer({"x": x[:2]})["y"], 2 * x[:2])
    fixed = choose(path, Options(shapes={"x": (5, 3)}))
    assert not [reason for reason in fixed.skipped.values() if "sides open" in reason]


def test_the_doctor_hears_of_every_backend() -> None:
    found = engine.probe_all()
    assert list(found) == list(engine.BACKENDS)
    here = found["onnxruntime"]
    assert isinstance(here, engine.Probe)
    assert here.version
    assert all(reason for reason in found.values())


def test_the_public_names_are_pinned() -> None:
    assert sorted(engine.__all__) == [
        "BACKENDS", "BackendError", "Choice", "EngineError", "FallbackRunner", "InferenceError", "Measured",
        "ModelFile", "ModelFileError", "ModelSpec", "Options", "Probe", "Runner", "StatefulRunner", "TensorError",
        "TensorMap", "TensorSpec", "choose", "open_runner", "probe_all",
    ]  # fmt: skip


def test_importing_the_engine_loads_no_backend() -> None:
    heavy = ("torch", "openvino", "onnxruntime", "tensorrt", "tensorrt_rtx", "cuda", "onnx")
    script = f"import sys, engine; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_onnx_runtime_reports_to_nobody_and_keeps_no_identifier(tmp_path: Path) -> None:
    model = models.conv_net(tmp_path / "m.onnx")
    program = "import sys, engine\nwith engine.open_runner(sys.argv[1], 'onnxruntime') as runner: print(runner.name)\n"
    home = tmp_path / "home"
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), "XDG_DATA_HOME": str(home / "data")}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    told = subprocess.run(
        [sys.executable, "-c", program, model], env=environment, capture_output=True, text=True, check=True
    )
    assert told.stdout == "onnxruntime\n"
    assert not home.exists()
