"""Networks with memory: what they give as state goes in again with the next picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

import numpy as np

from engine.errors import TensorError
from engine.runner import Runner
from engine.spec import ModelSpec, TensorMap

__all__ = ["StatefulRunner"]


class StatefulRunner:
    """Keeps a network's state, so that callers see only its other inputs and outputs; see `Runner`.

    The state moves on only with a run that succeeded; after a failure the next run starts from the state before it.

    Args:
        runner: The network; owned from now on.
        state: Names of the inputs that carry state, each with the output that holds its next value.
        initial: First value of each state; zeros of the input's shape (open sides 1) where nothing is given.
    """

    def __init__(self, runner: Runner, state: Mapping[str, str], initial: TensorMap | None = None) -> None:
        self._runner = runner
        self._wiring = dict(state)
        self._initial = dict(initial or {})
        self._state: TensorMap = {}

    @property
    def name(self) -> str:
        """See `Runner.name`."""
        return self._runner.name

    @property
    def spec(self) -> ModelSpec:
        """See `Runner.spec`; without the state."""
        spec = self._runner.spec
        return replace(
            spec,
            inputs=tuple(tensor for tensor in spec.inputs if tensor.name not in self._wiring),
            outputs=tuple(tensor for tensor in spec.outputs if tensor.name not in self._wiring.values()),
        )

    @property
    def report(self) -> Mapping[str, str]:
        """See `Runner.report`."""
        return self._runner.report

    def open(self) -> None:
        """See `Runner.open`.

        Raises:
            TensorError: The network lacks a state's input or output.
        """
        self._runner.open()
        try:
            self.reset()
        except TensorError:
            self._runner.close()
            raise

    def reset(self) -> None:
        """Forget everything, as after a cut."""
        spec = self._runner.spec
        inputs = {tensor.name: tensor for tensor in spec.inputs}
        outputs = {tensor.name for tensor in spec.outputs}
        if not (set(self._wiring) <= set(inputs) and set(self._wiring.values()) <= outputs):
            raise TensorError(
                f"the state {self._wiring} names tensors that are not in {sorted(inputs)}, {sorted(outputs)}"
            )
        state: TensorMap = {}
        for name in self._wiring:
            shape = tuple(1 if side is None else side for side in inputs[name].shape)
            value = self._initial.get(name)
            state[name] = np.zeros(shape, inputs[name].dtype) if value is None else value
        self._state = state

    def infer(self, feed: TensorMap) -> TensorMap:
        """See `Runner.infer`."""
        clash = set(feed) & set(self._wiring)
        if clash:
            raise TensorError(f"the state {sorted(clash)} is kept here; call reset() to start anew")
        values = self._runner.infer({**feed, **self._state})
        self._state = {name: values.pop(output) for name, output in self._wiring.items()}
        return values

    def close(self) -> None:
        """See `Runner.close`; also forgets the state."""
        self._state = {}
        self._runner.close()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
