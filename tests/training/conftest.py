"""Small stand-ins for data and models."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from training.data.illuminants import Lights


@pytest.fixture
def live_onnx(tmp_path: Path) -> Callable[..., Path]:
    """Writes a live model that always gives the same correction: by default the identity.

    Outputs are `matrix`, `curves`, `log_gain`; each can be overridden.
    """

    def write(name: str = "live", side: int = 32, **values: np.ndarray) -> Path:
        defaults = {
            "matrix": np.eye(3)[None],
            "curves": np.tile(np.linspace(0, 1, 32), (1, 3, 1)),
            "log_gain": np.zeros((1, 16, 16)),
        }
        arrays = {key: np.asarray(values.get(key, default), np.float32) for key, default in defaults.items()}
        nodes = [helper.make_node("Constant", [], [k], value=numpy_helper.from_array(a)) for k, a in arrays.items()]
        inputs = [
            helper.make_tensor_value_info("composite", TensorProto.FLOAT, (1, 3, side, side)),
            helper.make_tensor_value_info("mask", TensorProto.FLOAT, (1, 1, side, side)),
        ]
        outputs = [helper.make_tensor_value_info(k, TensorProto.FLOAT, a.shape) for k, a in arrays.items()]
        graph = helper.make_graph(nodes, "live", inputs, outputs)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        path = tmp_path / f"{name}.onnx"
        onnx.save(model, path)
        return path

    return write


def _picture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    coarse = rng.uniform(30, 220, (5, 5, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.clip(smooth + rng.normal(0, 4, smooth.shape), 0, 255).astype(np.uint8)


@pytest.fixture
def lights() -> Lights:
    """Four lights that scale the colours: as maps over the eleven features, of which only r, g and b are used."""
    scales = np.array([[1.0, 1, 1], [1.0, 0.85, 0.7], [0.75, 0.9, 1.0], [0.95, 1.0, 0.8]], np.float32)
    maps = np.zeros((2, 4, 3, 11), np.float32)
    for channel in range(3):
        maps[0, :, channel, channel] = 1 / scales[:, channel]
        maps[1, :, channel, channel] = scales[:, channel]
    return Lights(maps[0], maps[1])


@pytest.fixture
def data_folder(tmp_path: Path, lights: Lights) -> Path:
    """A folder laid out like the evaluation data: eight portraits, three scenes, four lights."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    for part in ("train", "val"):
        folder = root / "portraits" / part
        folder.mkdir(parents=True)
        for index in range(8):
            height, width = 120, 100 + 4 * index
            picture = _picture(rng, height, width)
            matte = np.zeros((height, width), np.uint8)
            cv2.ellipse(matte, (width // 2, 50), (18, 26), 0, 0, 360, 255, -1)
            cv2.rectangle(matte, (width // 2 - 30, 80), (width // 2 + 30, height), 255, -1)
            picture[matte > 0] = (picture[matte > 0] * 0.2 + np.array([110, 140, 190]) * 0.8).astype(np.uint8)  # BGR
            cv2.imwrite(str(folder / f"p{index}.jpg"), picture)
            cv2.imwrite(str(folder / f"p{index}.png"), cv2.GaussianBlur(matte, (5, 5), 0))
    scenes = root / "backgrounds" / "rooms"
    scenes.mkdir(parents=True)
    for index in range(3):
        cv2.imwrite(str(scenes / f"room{index}.jpg"), _picture(rng, 90, 160))
    (root / "illuminants").mkdir()
    np.savez(
        root / "illuminants" / "ccharmony_train.npz",
        to_standard=lights.to_standard,
        from_standard=lights.from_standard,
    )
    return root
