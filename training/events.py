"""What TensorBoard shows of a run, written as long as the disk takes it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

__all__ = ["Events"]

log = logging.getLogger(__name__)


class Events:
    """Curves and pictures; when they cannot be written that is logged once, and the run goes on without them.

    Args:
        folder: Where the files go.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None
        with self._until_full():
            self._writer = SummaryWriter(str(folder))

    def scalar(self, name: str, value: float, samples: int) -> None:
        """A point of a curve, after so many samples."""
        with self._until_full():
            if self._writer is not None:
                self._writer.add_scalar(name, value, samples)

    def picture(self, name: str, rgb: Tensor, samples: int) -> None:
        """A picture (3, H, W), 0..1, after so many samples."""
        with self._until_full():
            if self._writer is not None:
                self._writer.add_image(name, rgb, samples)

    def close(self) -> None:
        """Write what is left."""
        with self._until_full():
            if self._writer is not None:
                self._writer.close()
        self._writer = None

    @contextmanager
    def _until_full(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            log.error("%s: no more curves and pictures are written: %s", self._folder, error)
            self._writer = None
