"""Graphs and whole frames for tests, run by ONNX Runtime on the CPU in float32."""

from __future__ import annotations

import cv2
import numpy as np

from engine import Runner, TensorMap, open_runner
from engine.model_file import ModelFile
from livecomp.correction import Correction
from livecomp.frame import U8Array, freeze
from livecomp.gpu.blend import Applied, Pictures, add_composite
from livecomp.gpu.graph import add_pixels, add_planes
from livecomp.gpu.networks import load_networks
from livecomp.gpu.nodes import Nodes
from livecomp.gpu.whole import WholeFrame, WholeOptions

ROOM = (255, 0, 255)


def networks() -> dict[str, bytes]:
    return load_networks("both", "live", "fp32")


def cpu_runner(model: ModelFile) -> Runner:
    return open_runner(model, "onnxruntime", precision="fp32", resident=("background",))


def whole_frame(options: WholeOptions | None = None, **replaced: object) -> WholeFrame:
    arguments = {"networks": networks, "make_runner": cpu_runner} | replaced
    return WholeFrame(options or WholeOptions(), **arguments)  # type: ignore[arg-type]


def blend_only(size_wh: tuple[int, int], *, linear_light: bool = False) -> bytes:
    """Correction and blend with the alpha as an input."""
    width, height = size_wh
    nodes = Nodes()
    person, scene = (
        add_planes(nodes, nodes.input(name, np.uint8, (height, width, 3)), size_wh) for name in ("frame", "background")
    )
    alpha = nodes.reshape(nodes.as_float(nodes.input("alpha", np.uint8, (height, width))), 1, 1, height, width)
    applied = Applied(
        matrix=nodes.input("matrix", np.float32, (3, 3)),
        curves=nodes.input("curves", np.float32, (3, 32)),
        log_gain=nodes.input("log_gain", np.float32, (16, 16)),
        nodes_of_curves=32,
        gain_wh=(16, 16),
        light_wrap=nodes.input("light_wrap", np.float32, (1,)),
        decontaminate=nodes.input("decontaminate", np.float32, (1,)),
        linear_light=linear_light,
    )
    composite, _ = add_composite(nodes, Pictures(size_wh, person, scene, alpha), applied)
    nodes.output("composite", add_pixels(nodes, composite, size_wh), np.uint8, (height, width, 3))
    return nodes.model("blend")


def correction_feed(correction: Correction) -> TensorMap:
    return {"matrix": correction.matrix, "curves": correction.curves, "log_gain": correction.log_gain}


def strong_correction(seed: int = 0) -> Correction:
    rng = np.random.default_rng(seed)
    return Correction(
        matrix=(np.eye(3) + rng.normal(0, 0.1, (3, 3))).astype(np.float32),
        curves=np.sort(rng.random((3, 32)), axis=1).astype(np.float32),
        log_gain=rng.uniform(-0.8, 0.8, (16, 16)).astype(np.float32),
    )


def waves(size_wh: tuple[int, int], seed: int) -> U8Array:
    """A smooth colourful picture with a little noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (9, 16, 3)).astype(np.uint8)
    smooth = cv2.resize(coarse, size_wh, interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return freeze(np.clip(smooth + rng.integers(-3, 4, smooth.shape), 0, 255).astype(np.uint8))


def disc(size_wh: tuple[int, int]) -> U8Array:
    """A person's matte, nearly: a disc with a soft edge."""
    width, height = size_wh
    drawn = cv2.circle(np.zeros((height, width), np.uint8), (width // 2, height // 2), height // 3, 255, -1)
    return np.asarray(cv2.GaussianBlur(drawn, (0, 0), 5), np.uint8)
