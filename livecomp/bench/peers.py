"""What a user would take instead, written here as honest reference recipes, and measured in the same run.

None of it is anybody's code. Each recipe does what such programs do for a frame, with the same runner, the same bounds
on threads and frames in memory, and as fast as OpenCV makes it; `RECIPES` says what each does and does not do.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from engine import Runner, open_runner
from livecomp.background import open_background
from livecomp.bench import Case, Measurement
from livecomp.bench.pipeline import at, load_frames
from livecomp.config import Config
from livecomp.correction import F32Array
from livecomp.errors import ConfigError, DependencyError
from livecomp.frame import Frame, U8Array
from livecomp.models import model_path
from livecomp.segment import MatteModel
from livecomp.segment.rvm import RvmMatte
from livecomp.segment.segmenter import upsample
from livecomp.segment.selfie import SelfieMatte
from livecomp.stats import StageTimer, peak_mib
from livecomp.threads import bound_threads

__all__ = ["RECIPES", "Recipe", "measure_peer"]

_WARM_UP = 8
_SIDE = 256


class Harmonizing(Protocol):
    """A step between matte and composite that changes the person's colours."""

    def open(self, opened: ExitStack) -> None:
        """Load what it needs; released with `opened`."""
        ...

    def apply(self, rgb: U8Array, scene: U8Array, alpha: U8Array, timer: StageTimer) -> U8Array:
        """The frame with other colours; all as in `Frame`."""
        ...


@dataclass(frozen=True, slots=True)
class Recipe:
    """One way to do it.

    Args:
        does: What it does for each frame, and what it leaves out.
        matte: Makes the model that cuts the person out.
        harmonizing: Makes the step that changes colours; None for none.
        needs: Name of the network that has to be installed, if any.
    """

    does: str
    matte: Callable[[str], MatteModel]
    harmonizing: Callable[[str], Harmonizing] | None = None
    needs: str = ""


def measure_peer(case: Case, config: Config, spec: str | Path, background: str | Path, seconds: float) -> Measurement:
    """Measure the recipe `case.what`; see `livecomp.bench.pipeline.measure`.

    Raises:
        ConfigError: There is no such recipe.
        LiveCompError: A network or the background cannot be had.
    """
    if case.what not in RECIPES:
        raise ConfigError(f"there is no recipe {case.what!r}; known are {', '.join(RECIPES)}")
    recipe = RECIPES[case.what]
    if recipe.needs:
        model_path(recipe.needs)
    bound_threads()
    frames = load_frames(spec, case.size_wh)
    scene_of = open_background(background, config.background.fit)
    model = recipe.matte(case.backend)
    step = recipe.harmonizing(case.backend) if recipe.harmonizing is not None else None
    with ExitStack() as opened:
        begin = time.monotonic_ns()
        for part in (scene_of, model):
            opened.callback(part.close)
            part.open()
        if step is not None:
            step.open(opened)
        open_s = (time.monotonic_ns() - begin) / 1e9

        def process(frame: Frame, timer: StageTimer) -> None:
            with timer.measure("segment"):
                alpha = upsample(model.predict(frame.rgb), frame.size_wh)
            with timer.measure("background"):
                scene = scene_of.render(frame)
            rgb = frame.rgb if step is None else step.apply(frame.rgb, scene, alpha, timer)
            with timer.measure("composite"):
                plain_composite(rgb, scene, alpha)

        for index in range(_WARM_UP):
            process(at(frames, index, 33_333_333), StageTimer())
        return _measured(case, frames, process, seconds, open_s, recipe.does)


def _measured(
    case: Case,
    frames: Sequence[Frame],
    process: Callable[[Frame, StageTimer], None],
    seconds: float,
    open_s: float,
    note: str,
) -> Measurement:
    timer, whole, frame_ms = StageTimer(), StageTimer(), list[float]()
    start_ns, start_cpu = time.monotonic_ns(), time.process_time()
    while time.monotonic_ns() - start_ns < seconds * 1e9 or len(frame_ms) < 2:
        before = time.monotonic_ns()
        process(at(frames, len(frame_ms) + _WARM_UP, 33_333_333), timer)
        frame_ms.append((time.monotonic_ns() - before) / 1e6)
        whole.add("frame", frame_ms[-1])
    wall = (time.monotonic_ns() - start_ns) / 1e9
    return Measurement(
        case=case,
        frames=len(frame_ms),
        seconds=wall,
        fps=len(frame_ms) / wall,
        cores=(time.process_time() - start_cpu) / wall,
        peak_mib=peak_mib(),
        frame=whole.summary()[0],
        stages=timer.summary(),
        frame_ms=[round(value, 3) for value in frame_ms[-2000:]],
        open_s=open_s,
        note=note,
    )


def plain_composite(rgb: U8Array, scene: U8Array, alpha: U8Array) -> U8Array:
    """``a F + (1 - a) B`` in 8 bits by OpenCV: (H, W, 3) uint8 twice, and (H, W) uint8."""
    weight = cv2.merge([alpha, alpha, alpha])
    person = cv2.multiply(rgb, weight, scale=1 / 255)
    room = cv2.multiply(scene, cv2.bitwise_not(weight), scale=1 / 255)
    return np.asarray(cv2.add(person, room), np.uint8)


class _FilterRecipe:
    """Six filters with predicted strengths, applied at full size in float, as Harmonizer (ECCV 2022) describes them.

    Args:
        backend: An engine backend, or "auto".
    """

    def __init__(self, backend: str) -> None:
        self._backend = backend
        self._runner: Runner | None = None

    def open(self, opened: ExitStack) -> None:
        folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="livecomp-bench-"))
        path = Path(folder) / "efficientnet-b0-size.onnx"
        make_b0_size(path)
        runner = open_runner(path, self._backend, threads=1)
        runner.open()
        opened.callback(runner.close)
        self._runner = runner

    def apply(self, rgb: U8Array, scene: U8Array, alpha: U8Array, timer: StageTimer) -> U8Array:
        assert self._runner is not None, "not open"
        with timer.measure("harmonize"):
            mixed = plain_composite(rgb, scene, alpha)
            small = cv2.resize(mixed, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
            mask = cv2.resize(alpha, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
            feed = np.ascontiguousarray(np.dstack([small, mask]).transpose(2, 0, 1)[None], np.float32) / np.float32(255)
            raw = self._runner.infer({"input": feed})["output"]
        with timer.measure("filters"):
            # random weights say nothing of colour: strengths are kept small, the work is the same
            return apply_filters(rgb, np.tanh(raw.ravel()) * np.float32(0.05))


def apply_filters(rgb: U8Array, strengths: F32Array) -> U8Array:
    """Temperature, brightness, contrast, saturation, highlights and shadows, one after the other, in float.

    Args:
        rgb: (H, W, 3) uint8.
        strengths: (6,) float32, -1..1.

    Returns:
        (H, W, 3) uint8, new.
    """
    temperature, brightness, contrast, saturation, highlights, shadows = (float(value) for value in strengths)
    one = np.ones(4)
    picture = cv2.multiply(rgb.astype(np.float32), one / 255)
    picture = cv2.multiply(picture, one + np.array([temperature, 0, -temperature, 0]))
    picture = cv2.multiply(picture, one * (1 + brightness))
    grey = float(cv2.mean(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY))[0])
    picture = cv2.addWeighted(picture, 1 + contrast, picture, 0.0, -contrast * grey)
    luma = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    picture = cv2.addWeighted(picture, 1 + saturation, luma, -saturation, 0.0)
    picture = np.clip(picture, 0, 1)
    picture = cv2.pow(picture, 1.0 + highlights)
    picture = cv2.pow(cv2.subtract(one, np.clip(picture, 0, 1)), 1.0 + shadows)
    return np.asarray(cv2.convertScaleAbs(cv2.subtract(one, picture), alpha=255.0), np.uint8)


_STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
"""Expansion, width, repeats, stride and kernel of the stages of EfficientNet-B0 (Tan and Le, ICML 2019, table 1)."""


def make_b0_size(path: Path) -> None:
    """Write a network of EfficientNet-B0's layers and random weights: it costs what a trained one costs.

    It takes `input`, (1, 4, 256, 256) float32, and gives `output`, (1, 6).

    Raises:
        DependencyError: The package onnx is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise DependencyError("this recipe needs onnx: python -m pip install onnx") from error
    maker = _Maker(onnx)
    value, width = maker.convolution("input", 4, 32, 3, stride=2), 32
    value = maker.swish(value)
    for expansion, out, repeats, stride, kernel in _STAGES:
        for repeat in range(repeats):
            value = maker.block(value, width, out, expansion, stride if repeat == 0 else 1, kernel)
            width = out
    value = maker.swish(maker.convolution(value, width, 1280, 1))
    value = maker.node("GlobalAveragePool", [value])
    value = maker.convolution(value, 1280, 6, 1)
    maker.node("Flatten", [value], output="output")
    maker.save(path)


class _Maker:
    """Puts ONNX nodes one after the other."""

    def __init__(self, onnx: Any) -> None:  # noqa: ANN401  the package ships no types
        self._onnx = onnx
        self._rng = np.random.default_rng(0)
        self._nodes: list[Any] = []
        self._weights: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str = "", **options: object) -> str:
        name = output or f"v{len(self._nodes)}"
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], **options))
        return name

    def convolution(
        self, value: str, before: int, after: int, kernel: int, *, stride: int = 1, depthwise: bool = False
    ) -> str:
        shape = (after, 1 if depthwise else before, kernel, kernel)
        spread = float(np.sqrt(2 / np.prod(shape[1:])))
        name = f"w{len(self._weights)}"
        weight = self._rng.normal(0, spread, shape).astype(np.float32)
        self._weights.append(self._onnx.numpy_helper.from_array(weight, name))
        pad = kernel // 2
        return self.node(
            "Conv",
            [value, name],
            strides=[stride, stride],
            pads=[pad, pad, pad, pad],
            group=before if depthwise else 1,
            kernel_shape=[kernel, kernel],
        )

    def swish(self, value: str) -> str:
        return self.node("Mul", [value, self.node("Sigmoid", [value])])

    def block(self, value: str, before: int, after: int, expansion: int, stride: int, kernel: int) -> str:
        """An inverted bottleneck with squeeze and excitation."""
        wide, inner = before * expansion, value
        if expansion > 1:
            inner = self.swish(self.convolution(inner, before, wide, 1))
        inner = self.swish(self.convolution(inner, wide, wide, kernel, stride=stride, depthwise=True))
        squeezed = max(1, before // 4)
        gate = self.node("GlobalAveragePool", [inner])
        gate = self.swish(self.convolution(gate, wide, squeezed, 1))
        gate = self.node("Sigmoid", [self.convolution(gate, squeezed, wide, 1)])
        inner = self.convolution(self.node("Mul", [inner, gate]), wide, after, 1)
        return self.node("Add", [inner, value]) if stride == 1 and before == after else inner

    def save(self, path: Path) -> None:
        helper, number = self._onnx.helper, self._onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "b0-size",
            [helper.make_tensor_value_info("input", number, [1, 4, _SIDE, _SIDE])],
            [helper.make_tensor_value_info("output", number, [1, 6])],
            self._weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        self._onnx.save(model, str(path))


RECIPES: dict[str, Recipe] = {
    "selfie network + plain composite": Recipe(
        "MediaPipe's selfie network on the CPU, matte upsampled bilinearly, blended in 8 bits, as Jitsi and lfbw do; "
        "no refinement, no steadying of the matte, no harmonization, the room's colour stays in the edge",
        lambda backend: SelfieMatte("landscape", backend=backend),
    ),
    "RVM + plain composite": Recipe(
        "Robust Video Matting at 640x384, blended in 8 bits; mattes remember earlier frames; no harmonization, the "
        "room's colour stays in the edge",
        lambda backend: RvmMatte(backend=backend),
        needs="rvm",
    ),
    "selfie network + full-size filters": Recipe(
        "the first recipe, and a network of EfficientNet-B0's size for each frame (random weights: its cost is real, "
        "its colours are not) and six filters at full size in float, as Harmonizer does; nothing over time",
        lambda backend: SelfieMatte("landscape", backend=backend),
        _FilterRecipe,
    ),
}
"""Name -> recipe."""
