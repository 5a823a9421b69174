"""Any segmentation model of MediaPipe Tasks that the user has a file of; needs the extra `mediapipe`.

Off unless chosen, for two reasons: MediaPipe brings opencv-contrib-python, which shares the folder `cv2` with
opencv-python-headless, and newer releases contain code that uploads usage statistics.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from livecomp.correction import F32Array
from livecomp.errors import ConfigError, DependencyError, ModelError
from livecomp.frame import U8Array
from livecomp.paths import is_file
from livecomp.segment.shrink import shrink

__all__ = ["MediaPipeMatte"]

_SIDE = 256


class MediaPipeMatte:
    """An image segmenter of MediaPipe Tasks, fed with 256x256 pixels.

    Args:
        model_file: A .tflite file with metadata. With one class it is the person; with several the first is the
            background, and everything else the person.
    """

    name = "mediapipe"

    def __init__(self, model_file: Path | None) -> None:
        self._model_file = model_file
        self._image_class: Any = None
        self._image_format: Any = None
        self._task: Any = None

    def open(self) -> None:
        """Load package and model; raises as the protocol says, and ConfigError without a model file."""
        if self._task is not None:
            return
        if self._model_file is None:
            raise ConfigError("the segmentation model 'mediapipe' needs a model file: give the path of a .tflite")
        if not is_file(self._model_file):
            raise ModelError(f"expected a .tflite model at {self._model_file}, found no file")
        try:
            import mediapipe  # an extra, loaded only when chosen: it takes a second and 200 MB
            from mediapipe.tasks.python import BaseOptions, vision
        except ImportError as error:
            raise DependencyError(
                f"the segmentation model 'mediapipe' needs the package mediapipe ({error}). Install it with: "
                "pip install 'livecomp[mediapipe]' && pip uninstall -y opencv-python-headless && "
                "pip install --force-reinstall --no-deps opencv-contrib-python. It brings opencv-contrib-python in "
                "place of opencv-python-headless, and newer releases upload usage statistics to Google"
            ) from error
        options = vision.ImageSegmenterOptions(
            base_options=BaseOptions(model_asset_path=str(self._model_file)),
            output_confidence_masks=True,
            output_category_mask=False,
        )
        try:
            self._task = vision.ImageSegmenter.create_from_options(options)
        except (OSError, RuntimeError, ValueError) as error:
            raise ModelError(
                f"MediaPipe cannot load {self._model_file}: {error}; expected a segmentation model with metadata, and "
                "the system libraries libEGL and libGLESv2 (Debian: libegl1 libgles2)"
            ) from error
        self._image_class, self._image_format = mediapipe.Image, mediapipe.ImageFormat.SRGB

    def predict(self, rgb: U8Array) -> F32Array:
        """The matte, 256x256; raises as the protocol says."""
        if self._task is None:
            raise ModelError("the segmentation model 'mediapipe' is not open; call open() first")
        image = self._image_class(image_format=self._image_format, data=shrink(rgb, (_SIDE, _SIDE)))
        try:
            masks = self._task.segment(image).confidence_masks
        except (RuntimeError, ValueError) as error:
            raise ModelError(f"MediaPipe failed: {error}") from error
        if not masks:
            raise ModelError(f"{self._model_file} gives no confidence masks: expected a segmentation model")
        first = np.array(masks[0].numpy_view(), np.float32).squeeze()
        return first if len(masks) == 1 else np.float32(1) - first

    def reset(self) -> None:
        """Nothing to forget: it sees single pictures."""

    def close(self) -> None:
        """Release the model; harmless when repeated."""
        task, self._task = self._task, None
        if task is not None:
            task.close()
