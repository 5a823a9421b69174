"""The runner of every single backend: loads, checks both ways, times, and turns failures into typed errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

import numpy as np

from engine.backend import Backend, Options, Program
from engine.errors import EngineError, InferenceError, TensorError
from engine.model_file import ModelFile
from engine.spec import ModelSpec, TensorMap

__all__ = ["ModelRunner"]

WARM_UP_RUNS = 2
"""Runs on example inputs when a model is opened, so that the first picture does not pay for lazy set-up."""


class ModelRunner:
    """One model on one backend; see `Runner`.

    Args:
        backend: The backend.
        path: The ONNX file, or one in memory.
        options: Threads, precision, shapes, inputs that stay.
        on_time: Called after each run with the backend's name and the time from call to result, in nanoseconds.
    """

    def __init__(
        self,
        backend: Backend,
        path: Path | ModelFile,
        options: Options,
        on_time: Callable[[str, int], None] | None = None,
    ) -> None:
        self._backend = backend
        self._path = path
        self._options = options
        self._on_time = on_time
        self._program: Program | None = None

    @property
    def name(self) -> str:
        """The backend's name."""
        return self._backend.name

    @property
    def spec(self) -> ModelSpec:
        """See `Runner.spec`."""
        return self._opened().spec

    @property
    def report(self) -> Mapping[str, str]:
        """See `Runner.report`."""
        return {"backend": self.name, **self._opened().report}

    def open(self) -> None:
        """See `Runner.open`."""
        if self._program is not None:
            return
        self._backend.check(self._options)
        program = self._backend.load(ModelFile.read(self._path), self._options)
        try:
            feed = program.spec.example_feed()
            for _ in range(WARM_UP_RUNS):
                self._run(program, feed)
        except BaseException:
            program.close()
            raise
        self._program = program

    def infer(self, feed: TensorMap) -> TensorMap:
        """See `Runner.infer`."""
        begin = time.monotonic_ns()
        program = self._opened()
        program.spec.check_inputs(feed)
        # not np.ascontiguousarray, which gives a scalar a side
        values = self._run(program, {name: np.asarray(array, order="C") for name, array in feed.items()})
        program.spec.check_outputs(values)
        if self._on_time is not None:
            self._on_time(self.name, time.monotonic_ns() - begin)
        return values

    def close(self) -> None:
        """See `Runner.close`."""
        program, self._program = self._program, None
        if program is not None:
            program.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _opened(self) -> Program:
        if self._program is None:
            raise InferenceError(f"{self._path.name} is not open on {self.name}; call open() first")
        return self._program

    def _run(self, program: Program, feed: TensorMap) -> TensorMap:
        try:
            return program.run(feed)
        except TensorError:
            raise
        except EngineError as error:
            raise InferenceError(f"{self.name} failed on {self._path.name}: {error}") from error
        except Exception as error:  # the boundary of foreign code, whose errors have no common base class
            raise InferenceError(f"{self.name} failed on {self._path.name}: {error!r}") from error
