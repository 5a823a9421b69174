from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.errors import InferenceError, ModelFileError
from livecomp.errors import ModelError
from livecomp.frame import freeze
from livecomp.segment import selfie
from livecomp.segment.selfie import MeanMatte, SelfieMatte


class FailingRunner:
    """Stands in for an engine that cannot load or run."""

    def __init__(self, fail_open: bool = False) -> None:
        self._fail_open = fail_open
        self.closed = 0

    def open(self) -> None:
        if self._fail_open:
            raise ModelFileError("not a model")

    def infer(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        raise InferenceError("out of memory")

    def close(self) -> None:
        self.closed += 1


def picture() -> np.ndarray:
    return freeze(np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8))


@pytest.mark.parametrize("variant", ["general", "landscape"])
def test_engine_errors_become_model_errors(variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selfie, "open_runner", lambda path, backend, threads: FailingRunner(fail_open=True))
    with pytest.raises(ModelError, match="cannot be loaded: not a model"):
        SelfieMatte(variant).open()
    monkeypatch.setattr(selfie, "open_runner", lambda path, backend, threads: FailingRunner())
    model = SelfieMatte(variant)
    model.open()
    with pytest.raises(ModelError, match="out of memory"):
        model.predict(picture())
    model.close()


def test_predicting_before_open_says_so() -> None:
    with pytest.raises(ModelError, match="not open"):
        SelfieMatte().predict(picture())


def test_when_the_second_network_cannot_be_loaded_the_first_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    runners = [FailingRunner(), FailingRunner(fail_open=True)]
    given = iter(runners)
    monkeypatch.setattr(selfie, "open_runner", lambda path, backend, threads: next(given))
    with pytest.raises(ModelError):
        MeanMatte().open()
    assert runners[0].closed == 1


def test_backend_and_threads_reach_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int]] = []

    def open_runner(path: Path, backend: str, threads: int) -> FailingRunner:
        seen.append((backend, threads))
        return FailingRunner()

    monkeypatch.setattr(selfie, "open_runner", open_runner)
    MeanMatte(backend="onnxruntime", threads=2).open()
    assert seen == [("onnxruntime", 2)] * 2


def test_both_is_the_mean_of_the_two() -> None:
    both, general, landscape = MeanMatte(), SelfieMatte("general"), SelfieMatte("landscape")
    rgb = picture()
    for model in (both, general, landscape):
        model.open()
    expected = (general.predict(rgb) + cv2.resize(landscape.predict(rgb), (256, 256))) / 2
    np.testing.assert_allclose(both.predict(rgb), expected, atol=1e-6)
    assert landscape.predict(rgb).shape == (144, 256)
    for model in (both, general, landscape):
        model.close()


def test_the_networks_are_fed_rgb_in_0_to_1(monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[np.ndarray] = []

    class Recorder(FailingRunner):
        def infer(self, feed: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            fed.append(feed["input"])
            return {"output": np.zeros((1, 1, *feed["input"].shape[2:]), np.float32)}

    monkeypatch.setattr(selfie, "open_runner", lambda path, backend, threads: Recorder())
    model = SelfieMatte("landscape")
    model.open()
    model.predict(freeze(np.full((90, 160, 3), (255, 51, 0), np.uint8)))
    assert fed[0].shape == (1, 3, 144, 256)
    assert fed[0].dtype == np.float32
    assert fed[0].flags.c_contiguous
    np.testing.assert_allclose(fed[0].mean(axis=(0, 2, 3)), [1, 0.2, 0], atol=1e-6)


@pytest.mark.parametrize("variant", ["general", "landscape"])
def test_people_are_found(variant: str, shared: Path) -> None:
    model = SelfieMatte(variant)
    model.open()
    overlaps = []
    for path in sorted((shared / "data/portraits/val").glob("*.jpg"))[::8]:
        rgb = freeze(np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]))
        true = cv2.imread(str(path.with_suffix(".png")), cv2.IMREAD_GRAYSCALE) > 127
        found = cv2.resize(model.predict(rgb), true.shape[::-1]) > 0.5
        overlaps.append((found & true).sum() / (found | true).sum())
    model.close()
    assert float(np.mean(overlaps)) > 0.93
    assert float(np.quantile(overlaps, 0.1)) > 0.78
