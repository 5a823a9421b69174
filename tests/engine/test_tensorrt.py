from __future__ import annotations

import ast
import importlib.util
import logging
import re
import threading
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine.backends.cuda as cuda_module
import engine.backends.tensorrt as tensorrt_module
from engine import BACKENDS, BackendError, InferenceError, ModelFileError, Options, TensorError, TensorMap
from engine.backends.cuda import Cuda, open_cuda
from engine.backends.tensorrt import TensorRtProgram
from engine.backends.tensorrt_build import BuildOptions, build_plan, import_tensorrt
from engine.cache import EngineCache
from engine.model_file import ModelFile
from engine.model_runner import ModelRunner
from tests.engine import models
from tests.engine.fake_cuda import FakeEngine, FakePicture, FakeRuntime, FakeSum, fake_trt

F32 = np.ndarray[Any, np.dtype[np.float32]]
X = np.arange(8, dtype=np.float32).reshape(2, 4)


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


def program(
    runtime: FakeRuntime, fake: FakeEngine | None = None, cuda: Cuda | None = None, resident: Collection[str] = ()
) -> TensorRtProgram:
    fake = fake or FakeEngine(runtime)
    return TensorRtProgram(
        fake_trt(lambda _: fake),
        cuda or Cuda(runtime),
        fake,
        metadata={"k": "v"},
        report={"precision": "fp16"},
        owner=None,
        resident=resident,
    )


@pytest.mark.parametrize("capturable", [True, False])
def test_runs_with_and_without_a_graph_from_buffers_allocated_once(runtime: FakeRuntime, capturable: bool) -> None:
    running = program(runtime, FakeEngine(runtime, capturable=capturable))
    assert running.report["cuda_graph"] == ("yes" if capturable else "no")
    assert str(running.spec.inputs[0]) == "x: float32 2x4"
    assert running.spec.metadata == {"k": "v"}
    allocations = len(runtime.memory)
    first = running.run({"x": X})["y"]
    np.testing.assert_array_equal(running.run({"x": X + 1})["y"], 2 * X + 2)
    np.testing.assert_array_equal(first, 2 * X)  # the caller's own
    assert len(runtime.memory) == allocations == 4
    assert runtime.calls.count("cudaGraphLaunch") == (2 if capturable else 0)
    running.close()
    running.close()
    assert runtime.memory == {}
    assert runtime.streams == 0
    assert runtime.calls.count("cudaGraphExecDestroy") == (1 if capturable else 0)


@pytest.mark.parametrize("capturable", [True, False])
def test_a_resident_input_is_copied_when_it_is_another_array(runtime: FakeRuntime, capturable: bool) -> None:
    running = program(runtime, FakeSum(runtime, capturable=capturable), resident=("b",))
    others = 0 if capturable else 2 * X.nbytes  # what is copied in a graph is not queued anew
    b = frozen(X + 1)

    def run(b: F32) -> int:
        before = runtime.copied
        np.testing.assert_array_equal(running.run({"x": X, "b": b})["y"], 2 * X + b)
        return runtime.copied - before - others

    assert [run(b), run(b), run(b)] == [X.nbytes, 0, 0]
    assert run(frozen(X + 2)) == X.nbytes
    assert run(b) == X.nbytes, "only the last one is held"
    writable = X.copy()
    assert [run(writable), run(writable)] == [X.nbytes, X.nbytes]
    running.close()
    assert runtime.memory == {}


def test_after_a_failed_run_a_resident_input_is_copied_again(runtime: FakeRuntime) -> None:
    running = program(runtime, FakeSum(runtime), resident=("b",))
    b, other = frozen(X + 1), frozen(X + 5)
    running.run({"x": X, "b": b})
    runtime.fail["cudaGraphLaunch"] = 700
    with pytest.raises(InferenceError, match="illegal address"):
        running.run({"x": X, "b": other})
    runtime.fail.clear()
    np.testing.assert_array_equal(running.run({"x": X, "b": b})["y"], 2 * X + b)
    running.close()


def test_a_resident_input_that_is_garbage_is_not_mistaken_for_its_successor(runtime: FakeRuntime) -> None:
    running = program(runtime, FakeSum(runtime), resident=("b",))
    for offset in range(50):  # each new array may well lie where the last one was
        b = frozen(X + np.float32(offset))
        np.testing.assert_array_equal(running.run({"x": X, "b": b})["y"], 2 * X + b)
        del b
    running.close()


def test_a_resident_input_must_exist(runtime: FakeRuntime) -> None:
    with pytest.raises(TensorError, match=r"expected names of inputs, \['b', 'x'\], received \['c'\]"):
        program(runtime, FakeSum(runtime), resident=("c",))
    assert runtime.memory == {}


def test_a_model_that_is_loaded_beside_a_running_one_records_nothing_of_it(runtime: FakeRuntime) -> None:
    cuda = Cuda(runtime)
    running = program(runtime, cuda=cuda)
    recording, ended = threading.Event(), threading.Event()
    answers: list[F32] = []

    class Slow(FakeEngine):
        def execute_async_v3(self, stream: int) -> bool:
            if runtime.captured is not None:
                recording.set()
                assert not ended.wait(0.2), "it ran while a graph was recorded"
            return super().execute_async_v3(stream)

    def run() -> None:
        recording.wait(5)
        answers.append(running.run({"x": X})["y"])
        ended.set()

    beside = threading.Thread(target=run)
    beside.start()
    second = program(runtime, Slow(runtime), cuda=cuda)
    beside.join(5)
    np.testing.assert_array_equal(answers[0], 2 * X)
    np.testing.assert_array_equal(second.run({"x": X + 3})["y"], 2 * X + 6)
    running.close()
    second.close()
    assert runtime.memory == {}


def test_of_two_models_that_are_loaded_at_once_neither_records_the_other(runtime: FakeRuntime) -> None:
    cuda = Cuda(runtime)
    recording, queued = threading.Event(), threading.Event()

    class Slow(FakeEngine):
        def execute_async_v3(self, stream: int) -> bool:
            if runtime.captured is not None:
                recording.set()
                queued.wait(0.2)
            return super().execute_async_v3(stream)

    class Beside(FakeEngine):
        def execute_async_v3(self, stream: int) -> bool:
            answer = super().execute_async_v3(stream)
            queued.set()
            return answer

    def load() -> TensorRtProgram:
        recording.wait(5)
        return program(runtime, Beside(runtime), cuda=cuda)

    with ThreadPoolExecutor(1) as pool:
        loading = pool.submit(load)
        first = program(runtime, Slow(runtime), cuda=cuda)
        second = loading.result(5)
    assert {len(steps) for steps in runtime.graphs.values()} == {3}, "a copy, the network, a copy"
    for running in (first, second):
        np.testing.assert_array_equal(running.run({"x": X})["y"], 2 * X)
        running.close()
    assert runtime.memory == {}
    assert runtime.streams == 0


def test_pictures_are_bytes_on_the_device(runtime: FakeRuntime) -> None:
    running = program(runtime, FakePicture(runtime), resident=())
    assert [str(tensor) for tensor in (*running.spec.inputs, *running.spec.outputs)] == ["x: uint8 2x4", "y: uint8 2x4"]
    picture = np.arange(8, dtype=np.uint8).reshape(2, 4)
    before = runtime.copied
    np.testing.assert_array_equal(running.run({"x": picture})["y"], 255 - picture)
    assert runtime.copied == before
    running.close()


def frozen(array: F32) -> F32:
    array.flags.writeable = False
    return array


def test_models_share_one_stream(runtime: FakeRuntime) -> None:
    cuda = Cuda(runtime)
    first, second = program(runtime, cuda=cuda), program(runtime, cuda=cuda)
    assert runtime.streams == 1
    first.close()
    np.testing.assert_array_equal(second.run({"x": X})["y"], 2 * X)
    second.close()
    assert runtime.streams == 0


def test_a_failed_capture_runs_without_a_graph(runtime: FakeRuntime) -> None:
    runtime.fail["cudaStreamEndCapture"] = 900
    running = program(runtime)
    assert running.report["cuda_graph"] == "no"
    assert "cudaGetLastError" in runtime.calls
    np.testing.assert_array_equal(running.run({"x": X})["y"], 2 * X)
    running.close()


@pytest.mark.parametrize("call", ["cudaMalloc", "cudaMallocHost", "cudaMemcpyAsync", "cudaStreamSynchronize"])
def test_a_failure_while_setting_up_leaves_no_memory_behind(runtime: FakeRuntime, call: str) -> None:
    runtime.fail[call] = 2
    with pytest.raises(InferenceError, match=rf"{call} failed: out of memory \(error 2\)"):
        program(runtime)
    assert runtime.memory == {}
    assert runtime.streams == 0


def test_a_network_that_cannot_be_queued(runtime: FakeRuntime) -> None:
    with pytest.raises(InferenceError, match="could not be queued"):
        program(runtime, FakeEngine(runtime, queues=False))
    assert runtime.memory == {}


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, runtime: FakeRuntime) -> FakeRuntime:
    """A machine with a driver and a package whose plans all load."""
    trt = fake_trt(lambda plan: FakeEngine(runtime) if plan.startswith(b"plan") else None)
    monkeypatch.setattr(tensorrt_module, "import_tensorrt", lambda _: trt)
    monkeypatch.setattr(tensorrt_module, "open_cuda", lambda: Cuda(runtime))
    return runtime


def runner(tmp_path: Path) -> ModelRunner:
    return ModelRunner(BACKENDS["tensorrt_rtx"], models.open_batch(tmp_path / "m.onnx"), Options())


def test_a_plan_is_built_once_and_a_driver_lost_is_one_typed_error(
    tmp_path: Path, installed: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    built: list[str] = []

    def build(_trt: object, _model: ModelFile, options: BuildOptions, _timing: bytes | None) -> tuple[bytes, None]:
        built.append(options.precision)
        return b"plan", None

    monkeypatch.setattr(tensorrt_module, "build_plan", build)
    for _ in range(2):
        with runner(tmp_path) as running:
            assert running.report["device"] == "Fake GPU (compute capability 8.9)"
            np.testing.assert_array_equal(running.infer({"x": X})["y"], 2 * X)
            installed.fail["cudaGraphLaunch"] = 700
            with pytest.raises(InferenceError, match=r"tensorrt_rtx failed on m\.onnx: cudaGraphLaunch failed: il"):
                running.infer({"x": X})
            installed.fail.clear()
    assert built == ["fp16"]


def test_a_plan_from_elsewhere_is_rebuilt_with_a_warning(
    tmp_path: Path,
    installed: FakeRuntime,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plans = iter([b"stale plan", b"plan"])
    monkeypatch.setattr(tensorrt_module, "build_plan", lambda *_: (next(plans), None))
    with pytest.raises(BackendError, match=r"cannot load the plan of m\.onnx: the plan was made for another GPU"):
        runner(tmp_path).open()  # a plan just built that does not load is no reason to build it again
    with caplog.at_level(logging.WARNING, "engine"), runner(tmp_path) as running:
        np.testing.assert_array_equal(running.infer({"x": X})["y"], 2 * X)
    assert "does not take the cached plan" in caplog.text
    (kept,) = [entry for entry in own_cache.iterdir() if not entry.name.startswith(".")]
    assert EngineCache(own_cache).load(kept.name) == b"plan"


def test_without_package_or_driver_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BackendError, match="no_such_trt cannot be imported"):
        import_tensorrt("no_such_trt")
    for answer, words in (((35, None), "no NVIDIA GPU can be used: unknown"), ((0, 0), "the driver lists none")):
        fake = FakeRuntime()
        fake.cudaGetDeviceCount = lambda answer=answer: answer  # type: ignore[attr-defined]
        monkeypatch.setattr(cuda_module, "_import", lambda fake=fake: fake)
        monkeypatch.setattr(cuda_module, "_SHARED", [])
        with pytest.raises(BackendError, match=words):
            open_cuda()


@pytest.mark.parametrize("make", [models.custom_operator])
def test_what_tensorrt_rtx_cannot_parse(tmp_path: Path, make: object, capfd: pytest.CaptureFixture[str]) -> None:
    trt = real_rtx()
    model = ModelFile.read(make(tmp_path / "strange.onnx"))  # type: ignore[operator]
    with pytest.raises(ModelFileError, match=r"strange\.onnx cannot be parsed by tensorrt_rtx"):
        build_plan(trt, model, BuildOptions("fp32"))
    capfd.readouterr()


def test_open_sides_and_unknown_targets(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    trt = real_rtx()
    model = ModelFile.read(models.open_batch(tmp_path / "open.onnx"))
    plan, _ = build_plan(trt, model, BuildOptions("fp32", shapes={"x": (4, 3)}, targets=("SM89",)))
    assert len(plan) > 1000
    with pytest.raises(BackendError, match="knows no SM12; known are"):
        build_plan(trt, model, BuildOptions("fp32", targets=("SM12",)))
    capfd.readouterr()


def real_rtx() -> object:
    try:
        return import_tensorrt("tensorrt_rtx")
    except BackendError as error:
        pytest.skip(str(error))


def used_names() -> set[str]:
    """Attributes that our two files take from TensorRT's objects, by reading the source."""
    found = set()
    for name in ("tensorrt.py", "tensorrt_build.py"):
        tree = ast.parse((Path(tensorrt_module.__file__).parent / name).read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                base = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
                if base in OBJECTS:
                    found.add(node.attr)
    return {name for name in found if not name.startswith("cuda")} - {"errors"}


OBJECTS = {
    "trt", "builder", "network", "parser", "config", "profile", "timing", "runtime", "engine", "_engine", "_context",
    "ILogger", "tensor", "MemoryPoolType", "NetworkDefinitionCreationFlag", "TensorIOMode",
}  # fmt: skip
OURS_OR_PYTHONS = {"ComputeCapability", "num_compute_capabilities", "set_compute_capability"}
"""Of TensorRT-RTX only, and reached only there."""


def test_the_api_that_is_used_exists_in_tensorrt_rtx() -> None:
    trt = real_rtx()
    offered = set(dir(trt))
    for value in vars(trt).values():
        offered |= set(dir(value))
    assert len(used_names()) > 25
    assert used_names() - offered == set()


def test_the_api_that_is_used_exists_in_the_stubs_of_tensorrt() -> None:
    spec = importlib.util.find_spec("tensorrt_stubs")
    if spec is None or spec.origin is None:
        pytest.skip("tensorrt-stubs is not installed; pip install --no-deps tensorrt-stubs")
    text = (Path(spec.origin).parents[1] / "tensorrt_bindings" / "tensorrt.pyi").read_text()
    # the stubs of some versions are no valid Python, so they are searched rather than parsed
    offered = set(re.findall(r"^\s*(?:def |class )?(\w+)\s*[(:=]", text, re.MULTILINE)) | {
        "__name__",
        "__version__",
        "nptype",
    }
    assert len(offered) > 500
    assert used_names() - offered - OURS_OR_PYTHONS == set()


def test_the_calls_of_cuda_exist() -> None:
    cudart = pytest.importorskip("cuda.bindings.runtime", reason="cuda-python is not installed")
    folder = Path(tensorrt_module.__file__).parent
    used = {
        name
        for file in ("tensorrt.py", "cuda.py")
        for name in re.findall(r"\bcuda[A-Z]\w+", (folder / file).read_text())
    }
    assert len(used) > 15
    kinds = cudart.cudaMemcpyKind, cudart.cudaStreamCaptureMode
    offered = {*dir(cudart), *(member for kind in kinds for member in kind.__members__)}
    assert used - offered == set()


def test_unused_maps_are_left_alone(runtime: FakeRuntime) -> None:
    feed: TensorMap = {"x": X.copy()}
    running = program(runtime)
    running.run(feed)
    np.testing.assert_array_equal(feed["x"], X)
    running.close()
