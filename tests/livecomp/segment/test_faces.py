from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from engine import InferenceError
from livecomp.errors import ModelError
from livecomp.media.image import read_image
from livecomp.segment import faces
from livecomp.segment.faces import FaceDetector

ASTRONAUT = Path(faces.__file__).parents[1] / "assets" / "astronaut.jpg"
FACE_XY = (225, 115)
"""Between her eyes and her mouth."""


@pytest.fixture
def detector() -> Iterator[FaceDetector]:
    opened = FaceDetector(backend="onnxruntime")
    opened.open()
    yield opened
    opened.close()


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.5])
def test_a_face_is_found_where_it_is(detector: FaceDetector, scale: float) -> None:
    photo = cv2.resize(read_image(ASTRONAUT), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    found = detector.find(np.asarray(photo, np.uint8)) / scale
    assert found.dtype == np.float32
    assert len(found) > 0
    np.testing.assert_allclose(found, np.broadcast_to(FACE_XY, found.shape), atol=25)


@pytest.mark.parametrize(("left", "top", "width", "height"), [(100, 0, 412, 220), (60, 0, 300, 512)])
def test_pictures_of_any_shape_are_searched(
    detector: FaceDetector, left: int, top: int, width: int, height: int
) -> None:
    part = read_image(ASTRONAUT)[top : top + height, left : left + width]
    found = np.add(detector.find(part), (left, top))
    assert len(found) > 0
    np.testing.assert_allclose(found, np.broadcast_to(FACE_XY, found.shape), atol=25)


def test_without_a_face_nothing_is_found(detector: FaceDetector) -> None:
    photo = read_image(ASTRONAUT)
    assert detector.find(photo[300:]).shape == (0, 2)
    assert detector.find(np.full((1, 1, 3), 99, np.uint8)).shape == (0, 2)
    assert detector.find(np.random.default_rng(0).integers(0, 256, (90, 160, 3), np.uint8)).shape == (0, 2)


def test_it_must_be_open_and_can_be_opened_again(detector: FaceDetector) -> None:
    photo = read_image(ASTRONAUT)
    detector.open()
    detector.close()
    detector.close()
    with pytest.raises(ModelError, match="not open"):
        detector.find(photo)
    detector.open()
    assert len(detector.find(photo)) > 0


def test_a_network_that_fails_is_a_model_error(monkeypatch: pytest.MonkeyPatch, detector: FaceDetector) -> None:
    def fail(feed: object) -> None:
        raise InferenceError("no memory left")

    monkeypatch.setattr(detector._runner, "infer", fail)
    with pytest.raises(ModelError, match="the face detector failed: no memory left"):
        detector.find(read_image(ASTRONAUT))


def test_a_damaged_network_is_a_model_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    damaged = tmp_path / "face.onnx"
    damaged.write_bytes(b"no network")
    monkeypatch.setattr(faces, "model_path", lambda name: damaged)
    with pytest.raises(ModelError, match="the face detector cannot be loaded"):
        FaceDetector(backend="onnxruntime").open()
