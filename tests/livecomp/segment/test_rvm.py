"""RVM's memory, with a stand-in for the engine; the network itself runs in the contract suite where it is installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.errors import InferenceError
from livecomp.errors import DependencyError, ModelError
from livecomp.frame import freeze
from livecomp.segment import rvm
from livecomp.segment.rvm import RvmMatte


class Memory:
    """An engine whose memory counts the pictures it has seen; fails on demand."""

    def __init__(self) -> None:
        self.feeds: list[dict[str, np.ndarray]] = []
        self.fault = ""
        self.opened = 0
        self.shapes: dict[str, tuple[int, ...]] = {}

    def open(self) -> None:
        self.opened += 1

    def infer(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        self.feeds.append(feed)
        if self.fault == "raise":
            raise InferenceError("lost")
        height, width = feed["src"].shape[2:]
        outputs = {f"r{i}o": feed[f"r{i}i"] + 1 for i in range(1, 5)}
        return {"pha": np.full((1, 1, height, width), 0.5, np.float32), **outputs}

    def close(self) -> None:
        pass

    def seen(self) -> list[float]:
        return [float(feed["r1i"].max()) for feed in self.feeds]


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Memory:
    memory = Memory()
    monkeypatch.setattr(rvm, "model_path", lambda name: Path(f"{name}.onnx"))

    def open_runner(path: Path, *, backend: str, threads: int, shapes: dict[str, tuple[int, ...]]) -> Memory:
        memory.shapes = shapes
        return memory

    monkeypatch.setattr(rvm, "open_runner", open_runner)
    return memory


def picture(height: int = 180, width: int = 320) -> np.ndarray:
    return freeze(np.full((height, width, 3), 255, np.uint8))


def opened() -> RvmMatte:
    model = RvmMatte()
    model.open()
    return model


def test_its_memory_goes_from_picture_to_picture_and_fits_the_network(engine: Memory) -> None:
    model = opened()
    for _ in range(3):
        assert model.predict(picture()).shape == (384, 672)
    assert engine.seen() == [0, 1, 2]
    feed = engine.feeds[0]
    assert feed["src"].shape == (1, 3, 384, 672)
    assert feed["src"].dtype == np.float32
    assert float(feed["src"].max()) == pytest.approx(1)
    assert [feed[f"r{i}i"].shape for i in range(1, 5)] == [
        (1, 16, 96, 168),
        (1, 20, 48, 84),
        (1, 40, 24, 42),
        (1, 64, 12, 21),
    ]


def test_reset_another_shape_and_close_clear_the_memory(engine: Memory) -> None:
    model = opened()
    model.predict(picture())
    model.reset()
    model.predict(picture())
    model.predict(picture(320, 180))
    model.predict(picture(320, 180))
    model.close()
    model.open()
    model.predict(picture(320, 180))
    assert engine.seen() == [0, 0, 0, 1, 0]


def test_a_failure_does_not_spoil_the_next_picture(engine: Memory) -> None:
    model = opened()
    model.predict(picture())
    engine.fault = "raise"
    with pytest.raises(ModelError, match="lost"):
        model.predict(picture())
    engine.fault = ""
    model.predict(picture())
    assert engine.seen() == [0, 1, 0]


def test_the_engine_is_told_the_shapes_and_loaded_anew_only_for_another_one(engine: Memory) -> None:
    model = opened()
    model.predict(picture())
    model.predict(picture(1080, 1920))
    assert engine.opened == 1
    assert engine.shapes == {name: array.shape for name, array in engine.feeds[0].items()}
    model.predict(picture(320, 180))
    assert engine.opened == 2
    assert engine.shapes == {name: array.shape for name, array in engine.feeds[-1].items()}


@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (1080, 1920), (333, 1001)])
def test_any_shape_of_picture_keeps_the_work_bounded(engine: Memory, shape: tuple[int, int]) -> None:
    model = opened()
    height, width = model.predict(picture(*shape)).shape
    assert height % 32 == width % 32 == 0
    assert 0.85 * 384 * 640 < height * width < 1.15 * 384 * 640


def test_predicting_before_open_says_so() -> None:
    with pytest.raises(ModelError, match="not open"):
        RvmMatte().predict(picture())


def test_without_the_network_open_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platformdirs.user_data_path", lambda name: tmp_path)
    with pytest.raises(DependencyError, match="livecomp setup rvm"):
        RvmMatte().open()
