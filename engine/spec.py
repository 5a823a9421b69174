"""What goes into a model and what comes out: names, dtypes and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import TensorError

__all__ = ["ModelSpec", "TensorMap", "TensorSpec"]

TensorMap = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output.

    Args:
        name: Its name in the model.
        dtype: Its element type.
        shape: Its shape; None where any length is allowed.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        sides = "x".join("?" if side is None else str(side) for side in self.shape)
        return f"{self.name}: {self.dtype} {sides}"

    def accepts(self, array: object) -> bool:
        """Whether `array` is an array of this dtype and shape."""
        return (
            isinstance(array, np.ndarray)
            and array.dtype == self.dtype
            and array.ndim == len(self.shape)
            and all(want is None or want == got for want, got in zip(self.shape, array.shape, strict=True))
        )


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """All inputs and outputs of a model, in the model's order, and its metadata."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)

    def check_inputs(self, feed: Mapping[str, object]) -> None:
        """Compare a feed with the inputs.

        Raises:
            TensorError: A name is missing or unknown, or an array has another dtype or shape; shows both sides.
        """
        expected = {spec.name: spec for spec in self.inputs}
        if feed.keys() != expected.keys():
            raise TensorError(f"expected the inputs {sorted(expected)}, received {sorted(feed)}")
        for name, spec in expected.items():
            array = feed[name]
            if not spec.accepts(array):
                got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise TensorError(f"expected {spec}, received {got}")
