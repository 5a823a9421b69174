"""The one interface behind which every backend runs a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

from engine.spec import ModelSpec, TensorMap

__all__ = ["Runner"]


class Runner(Protocol):
    """Runs one model on one backend. Constructors only store; not safe to call from several threads at once."""

    @property
    def name(self) -> str:
        """The name of the backend that runs the model now."""
        ...

    @property
    def spec(self) -> ModelSpec:
        """What the model takes and gives; known once it is open."""
        ...

    @property
    def report(self) -> Mapping[str, str]:
        """What really runs, once it is open: backend, version, device, precision, ..."""
        ...

    def open(self) -> None:
        """Load the model and run it on example inputs, so that the first real run is no slower; harmless when repeated.

        Raises:
            ModelFileError: The file is missing, damaged or not understood.
            BackendError: The backend is not installed or cannot run here.
            InferenceError: The backend failed on the example inputs.
        """
        ...

    def infer(self, feed: TensorMap) -> TensorMap:
        """Run the model once.

        Args:
            feed: One array an input, by name; left as they are, and not kept. They need not be contiguous.

        Returns:
            One array an output, by name; new arrays, the caller's to keep.

        Raises:
            TensorError: The feed does not fit the model, or holds NaN or infinity.
            InferenceError: The backend failed, or gave values that are not finite.
        """
        ...

    def close(self) -> None:
        """Release the model; harmless when repeated."""
        ...

    def __enter__(self) -> Self:
        """Open and return the runner itself."""
        ...

    def __exit__(self, *exc: object) -> None:
        """Close."""
        ...
