"""What goes into a model and what comes out: names, dtypes and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InferenceError, TensorError

__all__ = ["ModelSpec", "TensorMap", "TensorSpec", "is_finite"]

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

    def example_feed(self, seed: int = 0) -> TensorMap:
        """Inputs that fit: floats uniform in 0..1, integers zero; sides of any length are 1.

        Args:
            seed: Of the random numbers.
        """
        rng = np.random.default_rng(seed)
        feed: TensorMap = {}
        for spec in self.inputs:
            shape = tuple(1 if side is None else side for side in spec.shape)
            values = rng.random(shape) if np.issubdtype(spec.dtype, np.floating) else np.zeros(shape)
            feed[spec.name] = values.astype(spec.dtype)
        return feed

    def smooth_feed(self) -> TensorMap:
        """Inputs that fit and vary smoothly, as pictures and masks do: an ellipse with soft edges on slow waves, 0..1.

        Noise averages out in a network's first layers; this reaches the decisions of the last ones.
        """
        feed = self.example_feed()
        for spec in self.inputs:
            shape = feed[spec.name].shape
            if len(shape) != 4 or not np.issubdtype(spec.dtype, np.floating):
                continue
            y, x = np.meshgrid(np.linspace(-1, 1, shape[2]), np.linspace(-1, 1, shape[3]), indexing="ij")
            inside = 1 / (1 + np.exp(20 * (np.hypot(x / 0.5, (y - 0.3) / 0.9) - 0.8)))
            waves = [0.25 + 0.1 * np.sin(3 * x + channel) for channel in range(shape[1])]
            shades = np.linspace(0.9, 0.5, shape[1])
            planes = [inside * shade + (1 - inside) * wave for shade, wave in zip(shades, waves, strict=True)]
            stacked = inside[None] if shape[1] == 1 else np.stack(planes)
            feed[spec.name] = np.broadcast_to(stacked, shape).astype(spec.dtype)
        return feed

    def check_inputs(self, feed: Mapping[str, object]) -> None:
        """Compare a feed with the inputs.

        Raises:
            TensorError: A name is missing or unknown, an array has another dtype or shape, or holds NaN or infinity;
                shows both sides.
        """
        expected = {spec.name: spec for spec in self.inputs}
        if feed.keys() != expected.keys():
            raise TensorError(f"expected the inputs {sorted(expected)}, received {sorted(feed)}")
        for name, spec in expected.items():
            array = feed[name]
            if not spec.accepts(array):
                got = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
                raise TensorError(f"expected {spec}, received {got}")
            if not is_finite(array):
                raise TensorError(f"expected finite values in {spec}, received {_count_bad(array)} that are not")

    def check_outputs(self, values: Mapping[str, NDArray[Any]]) -> None:
        """Look for values that no later stage may see.

        Raises:
            InferenceError: An output holds NaN or infinity.
        """
        for name, array in values.items():
            if not is_finite(array):
                raise InferenceError(f"output {name!r} has {_count_bad(array)} values that are not finite")


def is_finite(array: object) -> bool:
    """Whether an array holds neither NaN nor infinity; true of integers.

    The sum of an array is finite only if its values are, unless it overflows: one fast pass in nearly all cases.
    """
    if not isinstance(array, np.ndarray) or not np.issubdtype(array.dtype, np.floating):
        return True
    with np.errstate(over="ignore", invalid="ignore"):
        total = np.add.reduce(array, axis=None, dtype=np.float64 if array.dtype == np.float64 else np.float32)
    return bool(np.isfinite(total)) or bool(np.isfinite(array).all())


def _count_bad(array: object) -> str:
    return f"{int((~np.isfinite(np.asarray(array))).sum())} of {np.asarray(array).size}"
