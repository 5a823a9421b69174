"""A backend that does what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine import ModelSpec, Options, TensorMap, TensorSpec
from engine.backend import Backend, Probe
from engine.model_file import ModelFile

SPEC = ModelSpec(
    inputs=(TensorSpec("x", np.dtype(np.float32), (1, 4)),), outputs=(TensorSpec("y", np.dtype(np.float32), (1, 4)),)
)


class FakeProgram:
    """Doubles its input until told otherwise."""

    def __init__(self) -> None:
        self.spec = SPEC
        self.report = {"precision": "fp32", "version": "1"}
        self.fault: Callable[[], TensorMap] | None = None
        self.runs = 0
        self.closed = 0

    def run(self, feed: TensorMap) -> TensorMap:
        self.runs += 1
        if self.fault is not None:
            return self.fault()
        return {"y": feed["x"] * 2}

    def close(self) -> None:
        self.closed += 1


def fake_backend(name: str, program: FakeProgram | Exception) -> Backend:
    def load(_model: ModelFile, _options: Options) -> FakeProgram:
        if isinstance(program, Exception):
            raise program
        return program

    def probe() -> Probe:
        return Probe("1", "nowhere", ("fp32",))

    return Backend(name, "numpy", f"install {name}", ("fp32",), probe, load)
