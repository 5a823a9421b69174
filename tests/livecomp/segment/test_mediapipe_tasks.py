"""The MediaPipe adapter against a stand-in of the package, since the package is an extra that replaces OpenCV."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from livecomp.errors import ConfigError, DependencyError, ModelError
from livecomp.frame import freeze
from livecomp.segment.mediapipe_tasks import MediaPipeMatte


class Mask:
    def __init__(self, values: np.ndarray) -> None:
        self.values = values

    def numpy_view(self) -> np.ndarray:
        return self.values


class Task:
    """Gives masks of which the first is a ramp; shares one buffer between calls as MediaPipe may."""

    masks = 1
    fault: Exception | None = None

    def __init__(self) -> None:
        self.buffer = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (256, 1))[..., None]
        self.closed = 0

    def segment(self, image: Any) -> Any:
        if self.fault is not None:
            raise self.fault
        assert image.data.shape == (256, 256, 3)
        return types.SimpleNamespace(confidence_masks=[Mask(self.buffer) for _ in range(self.masks)])

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def task(monkeypatch: pytest.MonkeyPatch) -> Task:
    """A package `mediapipe` with just what the adapter uses."""
    task = Task()
    vision = types.SimpleNamespace(
        ImageSegmenterOptions=lambda **options: options,
        ImageSegmenter=types.SimpleNamespace(create_from_options=lambda options: task),
    )
    python = types.ModuleType("mediapipe.tasks.python")
    python.BaseOptions = lambda model_asset_path: model_asset_path  # type: ignore[attr-defined]
    python.vision = vision  # type: ignore[attr-defined]
    package = types.ModuleType("mediapipe")
    package.Image = lambda image_format, data: types.SimpleNamespace(data=data)  # type: ignore[attr-defined]
    package.ImageFormat = types.SimpleNamespace(SRGB=1)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mediapipe", package)
    monkeypatch.setitem(sys.modules, "mediapipe.tasks", types.ModuleType("mediapipe.tasks"))
    monkeypatch.setitem(sys.modules, "mediapipe.tasks.python", python)
    return task


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    path = tmp_path / "model.tflite"
    path.write_bytes(b"TFL3")
    return path


RGB = freeze(np.zeros((90, 160, 3), np.uint8))


def test_without_the_package_it_says_how_to_install_it_and_what_it_brings(
    model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(DependencyError, match=r"livecomp\[mediapipe\].*opencv-contrib-python.*usage statistics"):
        MediaPipeMatte(model_file).open()


def test_without_a_model_file_it_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\.tflite"):
        MediaPipeMatte(None).open()
    with pytest.raises(ModelError, match=r"gone\.tflite"):
        MediaPipeMatte(tmp_path / "gone.tflite").open()


def test_one_mask_is_the_person_and_of_several_the_first_is_the_background(task: Task, model_file: Path) -> None:
    model = MediaPipeMatte(model_file)
    model.open()
    one = model.predict(RGB)
    task.masks = 6
    several = model.predict(RGB)
    assert one.shape == several.shape == (256, 256)
    assert one.dtype == several.dtype == np.float32
    np.testing.assert_allclose(one, 1 - several, atol=1e-6)
    assert not np.shares_memory(one, task.buffer)
    model.close()
    model.close()
    assert task.closed == 1


def test_failures_become_model_errors(task: Task, model_file: Path) -> None:
    model = MediaPipeMatte(model_file)
    with pytest.raises(ModelError, match="not open"):
        model.predict(RGB)
    model.open()
    task.masks = 0
    with pytest.raises(ModelError, match="no confidence masks"):
        model.predict(RGB)
    task.fault = RuntimeError("graph has errors")
    with pytest.raises(ModelError, match="graph has errors"):
        model.predict(RGB)


def test_a_model_or_system_library_that_cannot_be_loaded(
    task: Task, model_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(options: object) -> Task:
        raise OSError("libEGL.so.1: cannot open shared object file")

    vision = sys.modules["mediapipe.tasks.python"].vision
    monkeypatch.setattr(vision.ImageSegmenter, "create_from_options", missing)
    with pytest.raises(ModelError, match=r"libEGL\.so\.1.*libegl1"):
        MediaPipeMatte(model_file).open()
