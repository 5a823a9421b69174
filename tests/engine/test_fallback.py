from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine import BackendError, FallbackRunner, InferenceError, ModelFileError, Options, TensorError, TensorMap
from engine.model_runner import ModelRunner
from tests.engine import models
from tests.engine.fakes import FakeProgram, fake_backend

X = np.array([[1, 2, 3, 4]], np.float32)


def runner(tmp_path: Path, name: str, program: FakeProgram | Exception) -> ModelRunner:
    return ModelRunner(fake_backend(name, program), models.reciprocal(tmp_path / "model.onnx"), Options())


def lost() -> TensorMap:
    raise OSError("the driver is gone")


def out_of_memory() -> TensorMap:
    raise MemoryError


def not_finite() -> TensorMap:
    return {"y": np.array([[1, np.nan, 3, 4]], np.float32)}


@pytest.mark.parametrize(
    ("fault", "reason"), [(lost, "driver is gone"), (out_of_memory, "MemoryError"), (not_finite, "1 of 4")]
)
def test_the_same_inputs_run_on_the_next_backend(tmp_path: Path, fault: object, reason: str) -> None:
    first, second = FakeProgram(), FakeProgram()
    moved: list[tuple[str, str, str]] = []
    pair = [runner(tmp_path, "first", first), runner(tmp_path, "second", second)]
    with FallbackRunner(pair, lambda *told: moved.append(told)) as both:
        np.testing.assert_array_equal(both.infer({"x": X})["y"], 2 * X)
        assert both.name == "first"
        first.fault = fault  # type: ignore[assignment]
        np.testing.assert_array_equal(both.infer({"x": 3 * X})["y"], 6 * X)
        assert both.name == "second"
        assert first.closed == 1
        assert moved[0][:2] == ("first", "second")
        assert reason in moved[0][2]
        assert reason in both.report["lost"]
    assert (first.closed, second.closed) == (1, 1)


def test_with_nobody_left_each_run_is_an_error_and_never_an_old_result(tmp_path: Path) -> None:
    program = FakeProgram()
    with FallbackRunner([runner(tmp_path, "only", program)]) as only:
        only.infer({"x": X})
        program.fault = lost
        for _ in range(2):
            with pytest.raises(InferenceError, match="driver is gone"):
                only.infer({"x": X})
        program.fault = None
        np.testing.assert_array_equal(only.infer({"x": 5 * X})["y"], 10 * X)


def test_a_successor_that_cannot_open_is_passed_over(tmp_path: Path) -> None:
    first, third = FakeProgram(), FakeProgram()
    three = [
        runner(tmp_path, "first", first),
        runner(tmp_path, "second", BackendError("no driver")),
        runner(tmp_path, "third", third),
    ]
    with FallbackRunner(three) as running:
        first.fault = lost
        np.testing.assert_array_equal(running.infer({"x": X})["y"], 2 * X)
        assert running.name == "third"
        assert running.lost["second"] == "no driver"


def test_when_no_successor_opens_the_first_failure_is_raised(tmp_path: Path) -> None:
    first = FakeProgram()
    pair = [runner(tmp_path, "first", first), runner(tmp_path, "second", BackendError("no driver"))]
    with FallbackRunner(pair) as running:
        first.fault = lost
        with pytest.raises(InferenceError, match="driver is gone"):
            running.infer({"x": X})
        assert running.name == "first"
        assert first.closed == 0


def test_none_that_opens_shows_every_reason(tmp_path: Path) -> None:
    pair = [runner(tmp_path, "a", BackendError("no driver")), runner(tmp_path, "b", ModelFileError("no operator"))]
    with pytest.raises(BackendError, match="a: no driver; b: no operator"):
        FallbackRunner(pair).open()
    with pytest.raises(BackendError, match="at least one"):
        FallbackRunner([])


def test_a_wrong_feed_is_the_callers_fault(tmp_path: Path) -> None:
    first = FakeProgram()
    with FallbackRunner([runner(tmp_path, "first", first), runner(tmp_path, "second", FakeProgram())]) as running:
        with pytest.raises(TensorError):
            running.infer({"x": X[:, :2]})
        assert running.name == "first"


def test_a_failed_warm_up_counts_as_not_opening(tmp_path: Path) -> None:
    broken = FakeProgram()
    broken.fault = lost
    with FallbackRunner([runner(tmp_path, "broken", broken), runner(tmp_path, "good", FakeProgram())]) as running:
        assert running.name == "good"
        assert broken.closed == 1


def test_times_are_reported(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    backend = fake_backend("timed", FakeProgram())
    path = models.reciprocal(tmp_path / "model.onnx")
    with ModelRunner(backend, path, Options(), lambda name, ns: told.append((name, ns))) as timed:
        assert told == []  # warm-up is nobody's business
        timed.infer({"x": X})
    assert [name for name, _ in told] == ["timed"]
    assert 0 < told[0][1] < 10**9
