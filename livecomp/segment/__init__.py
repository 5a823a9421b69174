"""Cut the person out: a frame comes in, the same frame with its own alpha goes out."""

from __future__ import annotations

from typing import Protocol

from livecomp.correction import F32Array
from livecomp.frame import Frame, U8Array

__all__ = ["MatteFilter", "MatteModel", "Segmenter"]


class MatteModel(Protocol):
    """A network (or a chroma key) that gives a small matte for one picture."""

    @property
    def name(self) -> str:
        """The name it has in the registry."""
        ...

    def open(self) -> None:
        """Load it.

        Raises:
            ModelError: The model is damaged or cannot be run here.
            DependencyError: It needs a package or file that is not installed.
        """
        ...

    def predict(self, rgb: U8Array) -> F32Array:
        """The matte of a picture.

        Args:
            rgb: (H, W, 3) uint8 sRGB.

        Returns:
            (h, w) float32 in 0..1, 1 = person, covering the whole picture at a size of the model's choice.

        Raises:
            ModelError: It failed to run.
        """
        ...

    def reset(self) -> None:
        """Forget earlier pictures: the next one belongs to another scene."""
        ...

    def close(self) -> None:
        """Release it; harmless when repeated."""
        ...


class MatteFilter(Protocol):
    """Steadies small mattes over time, before they are refined."""

    def update(self, matte: F32Array, pts_ns: int) -> F32Array:
        """The steadied matte; same shape and range as the one given, which is left as it is."""
        ...

    def reset(self) -> None:
        """Forget earlier mattes."""
        ...


class Segmenter(Protocol):
    """What the pipeline calls."""

    def open(self) -> None:
        """Load what is needed; raises like `MatteModel.open`."""
        ...

    def segment(self, frame: Frame) -> Frame:
        """The same frame, the very same pixels, with its alpha.

        Raises:
            MatteError: No valid matte could be made for this frame.
        """
        ...

    def reset(self) -> None:
        """Forget earlier frames: a cut, or another source."""
        ...

    def close(self) -> None:
        """Release everything; harmless when repeated."""
        ...
