"""The segmenter of the pipeline: a small matte is predicted, judged, steadied, cleared and refined."""

from __future__ import annotations

import functools
from typing import Protocol

import cv2
import numpy as np

from livecomp.correction import F32Array
from livecomp.errors import LiveCompError, MatteError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.segment import MatteFilter, MatteModel
from livecomp.segment.check import MatteCheck
from livecomp.segment.haze import HazeRemover
from livecomp.segment.presence import PresenceFilter

__all__ = ["PersonSegmenter", "Refiner", "upsample"]


class Refiner(Protocol):
    """Turns a small matte into one that follows the edges of the picture."""

    def warm_up(self) -> None:
        """Compile or load what would otherwise delay the first picture."""
        ...

    def refine(self, matte: F32Array, rgb: U8Array) -> U8Array:
        """The matte at the picture's size.

        Args:
            matte: (h, w) float32, 0..1; left as it is.
            rgb: (H, W, 3) uint8 sRGB, C-contiguous, read-only.

        Returns:
            A new (H, W) uint8 array, 255 = person.
        """
        ...


class PersonSegmenter:
    """Gives every frame its own alpha, or raises; never anything in between.

    Args:
        model: Predicts the small matte; opened and closed here.
        matte_filter: Steadies small mattes over time; None for none.
        refiner: Brings the matte to full size; None for plain bilinear upsampling, as for mattes of full size.
        haze_remover: Takes away half-transparent surroundings of the person; None for none.
        presence: Tells the haze remover which regions have somebody in them; None to keep all. Not opened or closed
            here, since it may outlive this segmenter.
        can_stall: As in `MatteCheck`.
    """

    def __init__(
        self,
        model: MatteModel,
        *,
        matte_filter: MatteFilter | None,
        refiner: Refiner | None,
        haze_remover: HazeRemover | None = None,
        presence: PresenceFilter | None = None,
        can_stall: bool = True,
    ) -> None:
        self._model = model
        self._filter = matte_filter
        self._haze_remover = haze_remover
        self._presence = presence
        self._refiner = refiner
        self._check = MatteCheck(can_stall=can_stall)
        self._size_wh: tuple[int, int] | None = None

    @property
    def name(self) -> str:
        """The name of the model."""
        return self._model.name

    def open(self) -> None:
        """Load the model and compile the refiner; raises like `MatteModel.open`."""
        self._model.open()
        if self._refiner is not None:
            self._refiner.warm_up()

    def segment(self, frame: Frame) -> Frame:
        """The same frame, the very same pixels, with its alpha.

        A frame of another size than the one before starts anew, as after `reset`.

        Raises:
            MatteError: The model failed, or its matte cannot be true. The filter has not seen that matte.
        """
        if self._size_wh not in (None, frame.size_wh):
            self.reset()
        self._size_wh = frame.size_wh
        rgb = frame.rgb if frame.rgb.flags.c_contiguous else freeze(np.ascontiguousarray(frame.rgb))
        try:
            matte = self._check.check(self._model.predict(rgb), rgb)
        except MatteError as error:
            raise MatteError(f"no matte at {frame.pts_ns / 1e9:.3f} s from {self.name!r}: {error}") from error
        except Exception as error:  # the boundary to foreign code: whatever it raises, this frame has no matte
            kind = "" if isinstance(error, LiveCompError) else f"{type(error).__name__}: "
            raise MatteError(f"no matte at {frame.pts_ns / 1e9:.3f} s from {self.name!r}: {kind}{error}") from error
        if self._filter is not None:
            matte = self._filter.update(matte, frame.pts_ns)
        if self._haze_remover is not None:
            presence = self._presence
            keep = presence if presence is None else functools.partial(presence.keep, rgb=rgb, pts_ns=frame.pts_ns)
            matte = self._haze_remover.remove(matte, keep)
        alpha = upsample(matte, frame.size_wh) if self._refiner is None else self._refiner.refine(matte, rgb)
        return frame.with_alpha(alpha)

    def reset(self) -> None:
        """Forget earlier frames: a cut, or another source."""
        self._model.reset()
        self._check.reset()
        if self._filter is not None:
            self._filter.reset()
        if self._haze_remover is not None:
            self._haze_remover.reset()
        if self._presence is not None:
            self._presence.reset()

    def close(self) -> None:
        """Release the model; harmless when repeated."""
        self._model.close()


def upsample(matte: F32Array, size_wh: tuple[int, int]) -> U8Array:
    """Bilinear upsampling with half-pixel centres.

    Args:
        matte: (h, w) float32, 0..1.
        size_wh: Width and height of the result in pixels.

    Returns:
        A new (H, W) uint8 array, 255 = person.
    """
    small = cv2.convertScaleAbs(matte, alpha=255.0)
    return cv2.resize(small, size_wh, interpolation=cv2.INTER_LINEAR).astype(np.uint8, copy=False)
