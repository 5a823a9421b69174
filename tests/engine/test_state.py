from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine import InferenceError, Options, StatefulRunner, TensorError, open_runner
from engine.backends import BACKENDS
from engine.model_runner import ModelRunner
from tests.engine import models

WIRING = {"state_in": "state_out"}
X = np.full((1, 2), 10, np.float32)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return models.counter(tmp_path / "counter.onnx")


def test_state_goes_round_and_is_hidden(path: Path) -> None:
    with StatefulRunner(open_runner(path, "onnxruntime"), WIRING) as runner:
        assert [tensor.name for tensor in runner.spec.inputs] == ["x"]
        assert [tensor.name for tensor in runner.spec.outputs] == ["y"]
        seen = [float(runner.infer({"x": X})["y"][0, 0]) for _ in range(3)]
        assert seen == [10, 11, 12]
        assert set(runner.infer({"x": X})) == {"y"}
        runner.reset()
        assert runner.infer({"x": X})["y"][0, 0] == 10


def test_an_initial_state_is_used_and_not_written_to(path: Path) -> None:
    initial = {"state_in": np.full((1, 2), 5, np.float32)}
    with StatefulRunner(open_runner(path, "onnxruntime"), WIRING, initial) as runner:
        assert [float(runner.infer({"x": X})["y"][0, 0]) for _ in range(2)] == [15, 16]
        runner.reset()
        assert runner.infer({"x": X})["y"][0, 0] == 15
    assert (initial["state_in"] == 5).all()


def test_state_stays_after_a_failure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inner = ModelRunner(BACKENDS["onnxruntime"], path, Options())
    with StatefulRunner(inner, WIRING) as runner:
        runner.infer({"x": X})
        program = inner._program
        assert program is not None
        real = program.run

        def fail(_: object) -> None:
            raise OSError("lost")

        monkeypatch.setattr(program, "run", fail)
        with pytest.raises(InferenceError, match="lost"):
            runner.infer({"x": X})
        monkeypatch.setattr(program, "run", real)
        assert runner.infer({"x": X})["y"][0, 0] == 11


def test_wrong_wiring_and_clashing_feeds(path: Path) -> None:
    with pytest.raises(TensorError, match="memory"):
        StatefulRunner(open_runner(path, "onnxruntime"), {"memory": "state_out"}).open()
    with (
        StatefulRunner(open_runner(path, "onnxruntime"), WIRING) as runner,
        pytest.raises(TensorError, match="call reset"),
    ):
        runner.infer({"x": X, "state_in": X})
