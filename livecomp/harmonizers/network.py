"""The network: looks at a small composite and predicts matrix, curves and shading."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from engine import EngineError, Runner, open_runner
from livecomp.correction import CURVE_NODES, GAIN_SIZE, MAX_LOG_GAIN, Correction, F32Array
from livecomp.errors import ContractError, ModelError
from livecomp.frame import U8Array

__all__ = ["NetworkHarmonizer", "correction_from", "shows_both"]

_LEAST_ALPHA = 8 * 255
_OUTPUTS = {"matrix": (1, 3, 3), "curves": (1, 3, CURVE_NODES), "log_gain": (1, GAIN_SIZE, GAIN_SIZE)}


class NetworkHarmonizer:
    """A harmonizing network in ONNX.

    It takes `composite`, (1, 3, S, S) float32 RGB 0..1, and `mask`, (1, 1, S, S) float32 0..1, and gives `matrix`
    (1, 3, 3), `curves` (1, 3, `CURVE_NODES`) and `log_gain` (1, `GAIN_SIZE`, `GAIN_SIZE`), the parts of a
    `Correction`.

    Args:
        locate: Gives the path of the ONNX file; called by `open`.
        name: Its name in the registry, or its path.
        backend: An engine backend, or "auto".
        threads: Threads that it may use.
    """

    def __init__(
        self, locate: Callable[[], Path], *, name: str = "live", backend: str = "auto", threads: int = 1
    ) -> None:
        self.name = name
        self._locate = locate
        self._backend = backend
        self._threads = threads
        self._runner: Runner | None = None
        self._size = 0

    @property
    def input_size(self) -> int:
        """See `Harmonizer.input_size`; known once it is open."""
        if not self._size:
            raise ModelError(f"the harmonizer {self.name!r} is not open")
        return self._size

    def open(self) -> None:
        """See `Harmonizer.open`."""
        if self._runner is not None:
            return
        try:
            runner = open_runner(self._locate(), self._backend, threads=self._threads)
            runner.open()
        except EngineError as error:
            raise ModelError(f"the harmonizer {self.name!r} cannot be loaded: {error}") from error
        inputs = {spec.name: spec.shape for spec in runner.spec.inputs}
        outputs = {spec.name: spec.shape for spec in runner.spec.outputs}
        side = (inputs.get("composite") or (0,))[-1]
        expected = {"composite": (1, 3, side, side), "mask": (1, 1, side, side)}
        takes_floats = all(spec.dtype == np.float32 for spec in runner.spec.inputs)
        if not side or inputs != expected or not takes_floats or outputs != _OUTPUTS:
            received = ", ".join(str(spec) for spec in (*runner.spec.inputs, *runner.spec.outputs))
            runner.close()
            raise ModelError(
                f"the harmonizer {self.name!r} has the inputs and outputs {received}; expected composite "
                f"(1, 3, S, S) and mask (1, 1, S, S), both float32, and {_OUTPUTS}"
            )
        self._size = side
        self._runner = runner

    def predict(self, composite: U8Array, alpha: U8Array) -> Correction:
        """See `Harmonizer.predict`."""
        if self._runner is None:
            raise ModelError(f"the harmonizer {self.name!r} is not open")
        if not shows_both(alpha):
            return Correction.identity()
        scale = np.float32(1 / 255)
        feed = {
            "composite": np.ascontiguousarray(composite.transpose(2, 0, 1))[None] * scale,
            "mask": alpha[None, None] * scale,
        }
        try:
            outputs = self._runner.infer(feed)
        except EngineError as error:
            raise ModelError(f"the harmonizer {self.name!r} failed: {error}") from error
        return correction_from(outputs["matrix"][0], outputs["curves"][0], outputs["log_gain"][0])

    def close(self) -> None:
        """See `Harmonizer.close`."""
        if self._runner is not None:
            self._runner.close()
        self._runner = None


def shows_both(alpha: U8Array) -> bool:
    """Whether a small matte, (S, S) uint8, shows enough of a person and of the scene to judge by."""
    return int(alpha.sum()) >= _LEAST_ALPHA and int((255 - alpha).sum()) >= _LEAST_ALPHA


def correction_from(matrix: F32Array, curves: F32Array, log_gain: F32Array) -> Correction:
    """The correction that a network says.

    Args:
        matrix: (3, 3).
        curves: (3, N); made monotone here.
        log_gain: (h, w); bounded here.

    Raises:
        ModelError: They are no correction.
    """
    try:
        return Correction(
            matrix=np.array(matrix, np.float32),
            curves=np.maximum.accumulate(np.array(curves, np.float32), axis=1),
            log_gain=np.clip(np.array(log_gain, np.float32), -MAX_LOG_GAIN, MAX_LOG_GAIN),
        )
    except ContractError as error:
        raise ModelError(f"the harmonizing network gave values that are no correction: {error}") from error
