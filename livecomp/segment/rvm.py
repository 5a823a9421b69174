"""Robust Video Matting (Lin et al., WACV 2022, arXiv 2108.11515), which the user installs: it remembers earlier frames.

The network works at half the size it is given and brings its matte to that size with its own deep guided filter,
which costs a tenth more. Its memory, four feature maps, goes in and out of every run.
"""

from __future__ import annotations

import numpy as np

from engine import Runner, TensorMap, open_runner
from engine.errors import EngineError
from livecomp.correction import F32Array
from livecomp.errors import ModelError
from livecomp.frame import U8Array
from livecomp.models import model_path
from livecomp.segment.shrink import shrink

__all__ = ["RvmMatte"]

_STEP = 32
_MEMORIES = ((16, 4), (20, 8), (40, 16), (64, 32))
"""Channels of each feature map, and how many input pixels one of its pixels spans."""


class RvmMatte:
    """The network with its memory.

    Args:
        pixels: About how many pixels the input has; its aspect is the picture's.
        backend: Name of an engine backend, or "auto".
        threads: Upper bound on the threads the engine uses.
    """

    name = "rvm"

    def __init__(self, *, pixels: int = 384 * 640, backend: str = "auto", threads: int = 1) -> None:
        self._pixels = pixels
        self._backend = backend
        self._threads = threads
        self._runner: Runner | None = None
        self._size_wh = (0, 0)
        self._memory: TensorMap = {}

    def open(self) -> None:
        """Load the network; raises as the protocol says."""
        if self._runner is None:
            self._open_for(_input_size(16, 9, self._pixels))

    def predict(self, rgb: U8Array) -> F32Array:
        """The matte at the input's size; raises as the protocol says. A picture of another shape loads it anew."""
        if self._runner is None:
            raise ModelError("the segmentation network 'rvm' is not open; call open() first")
        size_wh = _input_size(rgb.shape[1], rgb.shape[0], self._pixels)
        if size_wh != self._size_wh:
            self.close()
            self._open_for(size_wh)
        small = shrink(rgb, size_wh)
        tensor = np.multiply(small.transpose(2, 0, 1)[None], np.float32(1 / 255), dtype=np.float32, order="C")
        try:
            outputs = self._runner.infer({"src": tensor, **(self._memory or _empty_memory(size_wh))})
        except EngineError as error:
            self.reset()
            raise ModelError(f"the segmentation network 'rvm' failed: {error}") from error
        matte: F32Array = outputs["pha"][0, 0]
        self._memory = {f"r{i}i": outputs[f"r{i}o"] for i in range(1, 5)}
        return matte

    def _open_for(self, size_wh: tuple[int, int]) -> None:
        """Load the network for one size of input: engines are faster for one they know beforehand."""
        path = model_path("rvm")
        shapes = {name: array.shape for name, array in _empty_memory(size_wh).items()}
        shapes["src"] = (1, 3, size_wh[1], size_wh[0])
        try:
            runner = open_runner(path, backend=self._backend, threads=self._threads, shapes=shapes)
            runner.open()
        except EngineError as error:
            raise ModelError(f"the segmentation network 'rvm' cannot be loaded: {error}") from error
        self._runner, self._size_wh = runner, size_wh

    def reset(self) -> None:
        """Forget earlier pictures."""
        self._memory = {}

    def close(self) -> None:
        """Release the network; harmless when repeated."""
        self._memory = {}
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()


def _input_size(width: int, height: int, pixels: int) -> tuple[int, int]:
    """Width and height with about the picture's aspect, at most 4:1, in steps the feature maps divide."""
    aspect = min(max(width / height, 0.25), 4.0)
    return (
        max(_STEP, round((pixels * aspect) ** 0.5 / _STEP) * _STEP),
        max(_STEP, round((pixels / aspect) ** 0.5 / _STEP) * _STEP),
    )


def _empty_memory(size_wh: tuple[int, int]) -> TensorMap:
    width, height = size_wh
    return {
        f"r{i}i": np.zeros((1, channels, height // span, width // span), np.float32)
        for i, (channels, span) in enumerate(_MEMORIES, start=1)
    }
