"""The one interface behind which every backend runs a model."""

from __future__ import annotations

from typing import Protocol, Self

from engine.spec import ModelSpec, TensorMap

__all__ = ["Runner"]


class Runner(Protocol):
    """Runs one model on one backend. Constructors only store; not safe to call from several threads at once."""

    @property
    def name(self) -> str:
        """The backend's name."""
        ...

    @property
    def spec(self) -> ModelSpec:
        """What the model takes and gives; known once it is open."""
        ...

    def open(self) -> None:
        """Load the model; harmless when repeated.

        Raises:
            ModelFileError: The file is missing, damaged or not understood.
            BackendError: The backend is not installed or cannot run here.
        """
        ...

    def infer(self, feed: TensorMap) -> TensorMap:
        """Run the model once.

        Args:
            feed: One array an input, by name; left as they are, and not kept.

        Returns:
            One array an output, by name; new arrays, the caller's to keep.

        Raises:
            TensorError: The feed does not fit the model.
            InferenceError: The backend failed.
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
