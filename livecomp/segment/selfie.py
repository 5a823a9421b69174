"""MediaPipe's selfie segmentation networks, which ship with the package, as matte models.

Both take the whole picture squashed to their size, RGB in 0..1. The mean of the two rescues pictures on which one of
them fails: on nine composites the worst IoU rose from .75 (general) and .39 (landscape) to .87.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack

import cv2
import numpy as np

from engine import Runner, open_runner
from engine.errors import EngineError
from livecomp.correction import F32Array
from livecomp.errors import ModelError
from livecomp.frame import U8Array
from livecomp.models import model_path
from livecomp.segment.shrink import shrink

__all__ = ["MeanMatte", "SelfieMatte"]

_SIZES_WH = {"general": (256, 256), "landscape": (256, 144)}


class SelfieMatte:
    """One selfie network.

    Args:
        variant: "general" (256x256) or "landscape" (256x144).
        backend: Name of an engine backend, or "auto".
        threads: Upper bound on the threads the engine uses; a second one gains next to nothing.
    """

    def __init__(self, variant: str = "general", *, backend: str = "auto", threads: int = 1) -> None:
        self._variant = variant
        self._backend = backend
        self._threads = threads
        self._size_wh = _SIZES_WH[variant]
        self._runner: Runner | None = None

    @property
    def name(self) -> str:
        """The name it has in the registry."""
        return self._variant

    def open(self) -> None:
        """Load the network; raises as the protocol says."""
        if self._runner is not None:
            return
        path = model_path(f"selfie_{self._variant}")
        try:
            runner = open_runner(path, backend=self._backend, threads=self._threads)
            runner.open()
        except EngineError as error:
            raise ModelError(f"the segmentation network {self._variant!r} cannot be loaded: {error}") from error
        self._runner = runner

    def predict(self, rgb: U8Array) -> F32Array:
        """The matte at the network's own size; raises as the protocol says."""
        if self._runner is None:
            raise ModelError(f"the segmentation network {self._variant!r} is not open; call open() first")
        small = shrink(rgb, self._size_wh)
        tensor = np.multiply(small.transpose(2, 0, 1)[None], np.float32(1 / 255), dtype=np.float32, order="C")
        try:
            output = self._runner.infer({"input": tensor})["output"]
        except EngineError as error:
            raise ModelError(f"the segmentation network {self._variant!r} failed: {error}") from error
        matte: F32Array = output[0, 0]
        return matte

    def reset(self) -> None:
        """Nothing to forget: it sees single pictures."""

    def close(self) -> None:
        """Release the network; harmless when repeated."""
        runner, self._runner = self._runner, None
        if runner is not None:
            runner.close()


class MeanMatte:
    """The mean of both selfie networks, at the general one's size. Both run at the same time.

    Args:
        backend: Name of an engine backend, or "auto".
        threads: Upper bound on the threads each engine uses.
    """

    name = "both"

    def __init__(self, *, backend: str = "auto", threads: int = 1) -> None:
        self._general = SelfieMatte("general", backend=backend, threads=threads)
        self._landscape = SelfieMatte("landscape", backend=backend, threads=threads)
        self._beside: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Load both networks, or none; raises as the protocol says."""
        with ExitStack() as opened:
            for model in (self._general, self._landscape):
                opened.callback(model.close)
                model.open()
            opened.pop_all()
        if self._beside is None:
            self._beside = ThreadPoolExecutor(1, thread_name_prefix="livecomp-matte")

    def predict(self, rgb: U8Array) -> F32Array:
        """The mean of both mattes, 256x256; raises as the protocol says."""
        if self._beside is None:
            raise ModelError(f"the segmentation networks of {self.name!r} are not open; call open() first")
        second = self._beside.submit(self._landscape.predict, rgb)
        try:
            general = self._general.predict(rgb)
        finally:
            wait([second])
        height, width = general.shape
        landscape = cv2.resize(second.result(), (width, height), interpolation=cv2.INTER_LINEAR)
        return (np.float32(0.5) * (general + landscape)).astype(np.float32, copy=False)

    def reset(self) -> None:
        """Nothing to forget: both see single pictures."""

    def close(self) -> None:
        """Release both networks; harmless when repeated."""
        if self._beside is not None:
            self._beside.shutdown()
            self._beside = None
        self._general.close()
        self._landscape.close()
