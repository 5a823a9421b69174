"""Faces in small pictures, by MediaPipe's short-range face detector, which ships with the package.

Bazarevsky et al., BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs (CVPR workshops 2019). Of its answers
only where the faces are is used, and not how large they are or how they are turned.
"""

from __future__ import annotations

import numpy as np

from engine import Runner, open_runner
from engine.errors import EngineError
from livecomp.correction import F32Array
from livecomp.errors import ModelError
from livecomp.frame import U8Array
from livecomp.models import model_path
from livecomp.segment.shrink import shrink

__all__ = ["FaceDetector"]

_SIDE = 128
_CELLS = ((16, 2), (8, 6))
"""Cells a side of each grid of the network, and how many boxes it gives for a cell."""
_LEAST_SCORE = 0.7
"""On portraits 99.6 % have a face with this score; of 947 rooms, houses and landscapes 0.2 % do."""
_NAME = "face_short_range"


class FaceDetector:
    """Finds faces that take from a tenth to all of a picture's height.

    Args:
        backend: Name of an engine backend, or "auto".
    """

    def __init__(self, *, backend: str = "auto") -> None:
        self._backend = backend
        self._runner: Runner | None = None
        self._centres = _centres()

    def open(self) -> None:
        """Load the network; harmless when repeated.

        Raises:
            ModelError: It is damaged or cannot be run here.
        """
        if self._runner is not None:
            return
        path = model_path(_NAME)
        try:
            runner = open_runner(path, backend=self._backend)
            runner.open()
        except EngineError as error:
            raise ModelError(f"the face detector cannot be loaded: {error}") from error
        self._runner = runner

    def find(self, rgb: U8Array) -> F32Array:
        """Where faces are.

        Args:
            rgb: (H, W, 3) uint8 sRGB, of any shape.

        Returns:
            (n, 2) float32, x and y of what may be the middle of a face, in pixels; several may be of the same face.

        Raises:
            ModelError: The detector is not open, or failed.
        """
        if self._runner is None:
            raise ModelError("the face detector is not open; call open() first")
        height, width = rgb.shape[:2]
        scale = _SIDE / max(height, width)
        small = shrink(rgb, (max(1, round(width * scale)), max(1, round(height * scale))))
        left, top = (_SIDE - small.shape[1]) // 2, (_SIDE - small.shape[0]) // 2
        square = np.zeros((_SIDE, _SIDE, 3), np.uint8)
        square[top : top + small.shape[0], left : left + small.shape[1]] = small
        tensor = np.multiply(square.transpose(2, 0, 1)[None], np.float32(2 / 255), dtype=np.float32, order="C") - 1
        try:
            outputs = self._runner.infer({"input": tensor})
        except EngineError as error:
            raise ModelError(f"the face detector failed: {error}") from error
        likely = outputs["scores"][0, :, 0] > np.log(_LEAST_SCORE / (1 - _LEAST_SCORE))
        found = self._centres[likely] + outputs["boxes"][0, likely, :2]
        return np.asarray((found - np.array((left, top), np.float32)) / scale, np.float32)

    def close(self) -> None:
        """Release the network; harmless when repeated."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()


def _centres() -> F32Array:
    """(896, 2) float32: x and y of the cell of each box, in pixels of the network's picture."""
    grids = []
    for cells, boxes in _CELLS:
        y, x = np.mgrid[:cells, :cells].astype(np.float32)
        centres = (np.stack((x, y), axis=2) + 0.5) * (_SIDE / cells)
        grids.append(centres.reshape(-1, 2).repeat(boxes, axis=0))
    return np.concatenate(grids).astype(np.float32)
