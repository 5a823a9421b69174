"""What every runner promises, over every backend that works here, and TensorRT-RTX up to the built engine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from onnx import helper

from engine import (
    BACKENDS,
    BackendError,
    InferenceError,
    ModelFileError,
    ModelSpec,
    Options,
    Runner,
    TensorError,
    TensorMap,
    choose,
    open_runner,
)
from engine.backends.tensorrt_build import PORTABLE, BuildOptions, build_plan, import_tensorrt
from engine.machine import gpu_fingerprint
from engine.model_file import ModelFile
from engine.timing import relative_difference
from tests.engine import models

HERE = Path(__file__).resolve().parents[2] / "livecomp" / "models"
PORTRAIT = HERE.parent / "assets" / "astronaut.jpg"
OURS = sorted(path.name for path in HERE.glob("*.onnx"))
REQUIRED = ("onnxruntime",)
NAMES = ("auto", *BACKENDS)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))


@pytest.fixture(params=NAMES)
def backend(request: pytest.FixtureRequest) -> str:
    """A backend that works on this machine; others are skipped with their own reason."""
    name = str(request.param)
    if name != "auto":
        try:
            BACKENDS[name].probe()
        except BackendError as error:
            if name in REQUIRED:
                raise
            pytest.skip(str(error))
    return name


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return models.conv_net(tmp_path / "conv.onnx")


def opened(path: Path, backend: str) -> Runner:
    precision = "fp32" if backend == "auto" or "fp32" in BACKENDS[backend].precisions else None
    runner = open_runner(path, backend, threads=1, precision=precision)
    runner.open()
    return runner


def test_results_are_those_worked_out_by_hand(backend: str, model: Path) -> None:
    rng = np.random.default_rng(1)
    with open_runner(model, backend, precision="fp32") as runner:
        for picture in (rng.random((1, 3, 16, 16)), np.zeros((1, 3, 16, 16)), np.ones((1, 3, 16, 16))):
            received = runner.infer({"input": picture.astype(np.float32)})["output"]
            np.testing.assert_allclose(received, models.conv_net_by_hand(model, picture.astype(np.float32)), atol=1e-4)


SIGNALLED = """
import gc, os, signal, sys, threading
from engine import BACKENDS, open_runner

def use() -> None:
    if backend != "auto":
        BACKENDS[backend].probe()
    held.append(open_runner(sys.argv[1], backend, threads=1))
    held[0].open()

def let_go() -> None:
    held.pop().close()
    gc.collect()

held, backend = [], sys.argv[2]
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
use()
thread = threading.Thread(target=let_go)
thread.start()
thread.join()
os.kill(os.getpid(), signal.SIGTERM)
"""


@pytest.mark.skipif(os.name != "posix", reason="Windows has no signals of this kind")
def test_a_signal_is_heard_after_another_thread_has_closed_it(backend: str, model: Path) -> None:
    command = [sys.executable, "-c", SIGNALLED, str(model), backend]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parents[1])
    assert (result.returncode, result.stdout) == (0, "heard\n"), result.stderr


def test_spec_shows_names_shapes_and_metadata(backend: str, model: Path) -> None:
    with opened(model, backend) as runner:
        assert [str(tensor) for tensor in runner.spec.inputs] == ["input: float32 1x3x16x16"]
        assert [str(tensor) for tensor in runner.spec.outputs] == ["output: float32 1x1x16x16"]
        assert runner.spec.metadata == {"livecomp.model": "test"}


def test_report_says_what_runs(backend: str, model: Path) -> None:
    with opened(model, backend) as runner:
        report = runner.report
        assert report["backend"] == runner.name
        assert report["precision"] == "fp32"
        assert report["version"]
        assert report["device"]
        if "threads" in report:
            assert report["threads"] == "1"


def test_outputs_belong_to_the_caller_and_inputs_are_left_alone(backend: str, model: Path) -> None:
    rng = np.random.default_rng(2)
    first, second = (rng.random((1, 3, 16, 16)).astype(np.float32) for _ in range(2))
    kept = first.copy()
    with opened(model, backend) as runner:
        result = runner.infer({"input": first})["output"]
        before = result.copy()
        first[:] = 0  # it may not be kept either
        runner.infer({"input": second})
        np.testing.assert_array_equal(result, before)
        result[:] = -1
        again = runner.infer({"input": kept})["output"]
        np.testing.assert_allclose(again, before, atol=1e-6)


def test_read_only_and_non_contiguous_inputs(backend: str, model: Path) -> None:
    rng = np.random.default_rng(3)
    wide = rng.random((1, 32, 16, 3)).astype(np.float32)
    strided = wide[:, ::2].transpose(0, 3, 1, 2)
    strided.flags.writeable = False
    with opened(model, backend) as runner:
        expected = runner.infer({"input": np.ascontiguousarray(strided)})["output"]
        np.testing.assert_array_equal(runner.infer({"input": strided})["output"], expected)


def test_an_input_without_sides(backend: str, tmp_path: Path) -> None:
    nodes = [helper.make_node("Mul", ["x", "factor"], ["y"])]
    path = models.save(tmp_path / "scaled.onnx", nodes, {"x": (1, 4), "factor": ()}, {"y": (1, 4)})
    with opened(path, backend) as runner:
        values = runner.infer({"x": np.ones((1, 4), np.float32), "factor": np.array(3, np.float32)})
        np.testing.assert_array_equal(values["y"], np.full((1, 4), 3, np.float32))


def test_an_input_that_nothing_reads_is_one_of_the_model_or_the_model_is_refused(backend: str, tmp_path: Path) -> None:
    nodes = [helper.make_node("Relu", ["x"], ["h"]), helper.make_node("Mul", ["h", "w"], ["y"])]
    inputs = {"x": (1, 4), "unread": (1, 2), "w": (1, 4)}  # of which the last has its values in the file
    path = models.save(tmp_path / "idle.onnx", nodes, inputs, {"y": (1, 4)}, {"w": np.full((1, 4), 2, np.float32)})
    if backend == "openvino":
        with pytest.raises(ModelFileError, match="unread"):
            opened(path, backend)
        return
    with opened(path, backend) as runner:
        assert [tensor.name for tensor in runner.spec.inputs] == ["x", "unread"]
        values = runner.infer({"x": np.ones((1, 4), np.float32), "unread": np.ones((1, 2), np.float32)})
        np.testing.assert_array_equal(values["y"], np.full((1, 4), 2, np.float32))


@pytest.mark.parametrize(
    ("feed", "message"),
    [
        ({}, r"expected the inputs \['input'\], received \[\]"),
        ({"picture": np.zeros((1, 3, 16, 16), np.float32)}, r"\['input'\], received \['picture'\]"),
        ({"input": np.zeros((1, 3, 16, 16), np.float64)}, r"float32 1x3x16x16, received float64"),
        ({"input": np.zeros((2, 3, 16, 16), np.float32)}, r"1x3x16x16, received float32 \(2, 3, 16, 16\)"),
        ({"input": np.zeros((3, 16, 16), np.float32)}, r"received float32 \(3, 16, 16\)"),
        ({"input": [[0.0]]}, "received list"),
        ({"input": np.full((1, 3, 16, 16), np.nan, np.float32)}, "received 768 of 768 that are not"),
        ({"input": np.where(np.arange(768) == 5, np.inf, 0).reshape(1, 3, 16, 16).astype("f")}, "received 1 of 768"),
    ],
)
def test_a_wrong_feed_is_refused_and_the_runner_goes_on(backend: str, model: Path, feed: object, message: str) -> None:
    with opened(model, backend) as runner:
        with pytest.raises(TensorError, match=message):
            runner.infer(feed)  # type: ignore[arg-type]
        assert runner.infer(runner.spec.example_feed())["output"].shape == (1, 1, 16, 16)


def test_values_that_are_not_finite_are_an_error(backend: str, tmp_path: Path) -> None:
    with opened(models.reciprocal(tmp_path / "r.onnx"), backend) as runner:
        with pytest.raises(InferenceError, match="not finite"):
            runner.infer({"x": np.array([[1, 0, 2, 4]], np.float32)})
        good = runner.infer({"x": np.array([[1, -1, 2, 4]], np.float32)})["y"]
        np.testing.assert_allclose(good, [[1, -1, 0.5, 0.25]], atol=1e-6)


def test_open_and_close_may_be_repeated(backend: str, model: Path) -> None:
    runner = open_runner(model, backend)
    runner.close()
    with pytest.raises(InferenceError, match="open"):
        runner.infer({})
    runner.open()
    runner.open()
    feed = runner.spec.example_feed()
    first = runner.infer(feed)["output"]
    runner.close()
    runner.close()
    with pytest.raises(InferenceError, match="open"):
        runner.infer(feed)
    runner.open()
    np.testing.assert_array_equal(runner.infer(feed)["output"], first)
    runner.close()


def test_an_open_batch_takes_the_shape_it_is_told(backend: str, tmp_path: Path) -> None:
    path = models.open_batch(tmp_path / "batch.onnx")
    with open_runner(path, backend, precision="fp32", shapes={"x": (4, 3)}) as runner:
        x = np.arange(12, dtype=np.float32).reshape(4, 3)
        np.testing.assert_array_equal(runner.infer({"x": x})["y"], 2 * x)
        with pytest.raises(TensorError, match=r"4x3, received float32 \(1, 3\)"):
            runner.infer({"x": x[:1]})


@pytest.mark.parametrize("kind", ["missing", "empty", "text", "truncated", "lfs", "no graph", "huge", "folder"])
def test_files_that_are_no_models(backend: str, model: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "bad.onnx"
    data = model.read_bytes()
    contents = {
        "empty": b"",
        "text": b"<html>404 not found</html>",
        "truncated": data[: len(data) // 2],
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "no graph": b"\x08\x09",
    }
    if kind in contents:
        path.write_bytes(contents[kind])
    elif kind == "huge":
        with path.open("wb") as file:
            file.truncate(2**31)  # sparse: takes no room
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(ModelFileError, match=r"bad\.onnx"):
        open_runner(path, backend).open()


@pytest.mark.parametrize("make", [models.custom_operator, models.future_opset])
def test_models_that_nobody_understands(backend: str, tmp_path: Path, make: object) -> None:
    path = make(tmp_path / "strange.onnx")  # type: ignore[operator]
    with pytest.raises(ModelFileError, match=r"strange\.onnx"):
        open_runner(path, backend).open()


def test_unknown_names_list_the_known_ones(model: Path) -> None:
    with pytest.raises(BackendError, match=r"no backend 'abacus'; known are auto, .*onnxruntime"):
        open_runner(model, "abacus")
    with pytest.raises(BackendError, match="no precision 'fp8'; known are fp32"):
        open_runner(model, "onnxruntime", precision="fp8").open()
    with pytest.raises(BackendError, match="at least one thread, received 0"):
        open_runner(model, "onnxruntime", threads=0).open()


def portrait_feed(spec: ModelSpec) -> TensorMap:
    """The portrait that ships with the package, whole and squashed, wherever a picture fits; a soft ellipse as mask."""
    feed = spec.smooth_feed()
    for name, array in feed.items():
        if array.ndim == 4 and array.shape[1] == 3:
            bgr = cv2.imread(str(PORTRAIT))
            small = cv2.resize(bgr, (array.shape[3], array.shape[2]), interpolation=cv2.INTER_AREA)
            feed[name] = np.ascontiguousarray(small[..., ::-1].transpose(2, 0, 1)[None], dtype=np.float32) / 255
    return feed


@pytest.mark.parametrize("name", OURS)
def test_our_models_agree_on_every_backend(backend: str, name: str) -> None:
    with opened(HERE / name, "onnxruntime") as reference, opened(HERE / name, backend) as runner:
        feed = portrait_feed(reference.spec)
        expected = reference.infer(feed)
        assert relative_difference(runner.infer(feed), expected) <= 1e-4


@pytest.mark.parametrize("name", OURS)
def test_bf16_is_near_and_auto_takes_it_only_within_tolerance(name: str) -> None:
    try:
        native = BACKENDS["openvino"].probe().precisions
    except BackendError as error:
        pytest.skip(str(error))
    if "bf16" not in native:
        pytest.skip("this processor does not compute bf16 natively")
    with opened(HERE / name, "onnxruntime") as reference:
        feed = portrait_feed(reference.spec)
        expected = reference.infer(feed)
    with open_runner(HERE / name, "openvino", precision="bf16") as runner:
        assert runner.report["precision"] == "bf16"
        received = runner.infer(feed)
    for key, want in expected.items():
        # a matte's edges move by up to 0.3 in single pixels; on the whole it stays, and so do boxes in pixels
        assert 0 < float(np.abs(received[key] - want).mean()) <= 1e-2 * max(1.0, float(np.abs(want).max()))
    choice = choose(HERE / name, Options())
    if any(one.precision == "bf16" for one in choice.ranked):
        assert "selfie" not in name
        assert relative_difference(received, expected) <= 2e-2
    else:
        assert "differs by" in choice.skipped["openvino bf16"]


@pytest.mark.parametrize(("precision", "targets"), [("fp16", PORTABLE), ("bf16", PORTABLE[1:]), ("fp32", PORTABLE[1:])])
@pytest.mark.parametrize("name", OURS)
def test_tensorrt_rtx_builds_our_models_without_a_gpu(
    name: str, precision: str, targets: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    try:
        trt = import_tensorrt("tensorrt_rtx")
    except BackendError as error:
        pytest.skip(str(error))
    model = ModelFile.read(HERE / name)
    plan, timing = build_plan(trt, model, BuildOptions(precision=precision, targets=targets))
    capfd.readouterr()  # the builder talks
    assert len(plan) > 100_000
    assert timing is None


def test_tensorrt_rtx_says_in_one_sentence_that_there_is_no_gpu(model: Path) -> None:
    try:
        import_tensorrt("tensorrt_rtx")
    except BackendError as error:
        pytest.skip(str(error))
    if gpu_fingerprint():
        pytest.skip("there is an NVIDIA GPU here")
    with pytest.raises(BackendError, match=r"^(no NVIDIA GPU can be used|cuda-python cannot be imported)[^\n]*$"):
        open_runner(model, "tensorrt_rtx").open()


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", ["tensorrt", "tensorrt_rtx", "torch"])
def test_gpu_backends_agree_with_the_cpu(model: Path, name: str, precision: str) -> None:
    try:
        probe = BACKENDS[name].probe()
    except BackendError as error:
        pytest.skip(str(error))
    if precision not in probe.precisions:
        pytest.skip(f"{name} on {probe.device} computes {', '.join(probe.precisions)}")
    with opened(model, "onnxruntime") as reference, open_runner(model, name, precision=precision) as runner:
        feed = reference.spec.example_feed()
        assert relative_difference(runner.infer(feed), reference.infer(feed)) <= (1e-3 if precision == "fp32" else 2e-2)
