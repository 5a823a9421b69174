"""Reader of iHarmony4 (Cong et al. 2020) and of folders laid out like it.

::

    ROOT/IHD_train.txt                         HCOCO/composite_images/c41_35_1.jpg, one line per composite
    ROOT/HCOCO/composite_images/c41_35_1.jpg   photograph c41, object 35, variant 1
    ROOT/HCOCO/masks/c41_35.png
    ROOT/HCOCO/real_images/c41.jpg

A single subset (``HCOCO/HCOCO_train.txt``, or a folder that `training.data.ffhqh` wrote) reads just as well.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.pictures import read_matte, read_rgb

__all__ = ["Harmony4", "HarmonySample"]

log = logging.getLogger(__name__)

U8Array = NDArray[np.uint8]

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True, eq=False)
class HarmonySample:
    """One composite with its truth.

    Args:
        name: Line of the list it stands in.
        composite: (H, W, 3) uint8 RGB.
        real: Like `composite`.
        mask: (H, W) uint8, 255 = foreground.
    """

    name: str
    composite: U8Array
    real: U8Array
    mask: U8Array


@dataclass
class Harmony4:
    """The composites that a list names.

    Args:
        root: Folder of the data set or of one subset.
        split: "train", "test" or another suffix of a list's name.
        size: Side in pixels that pictures are squashed to; None keeps theirs.
        skipped: Lines that could not be read, with the reason; grows while reading.
    """

    root: Path
    split: str = "train"
    size: int | None = 256
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = self._list()

    def _list(self) -> list[str]:
        """Lines of ``IHD_SPLIT.txt``, or of the only ``*_SPLIT.txt`` there is."""
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.root}: no such folder; expected iHarmony4 or one of its subsets")
        lists = sorted(self.root.glob(f"*_{self.split}.txt"))
        whole = self.root / f"IHD_{self.split}.txt"
        if whole in lists:
            lists = [whole]
        if len(lists) != 1:
            found = ", ".join(p.name for p in lists) or "none"
            raise FileNotFoundError(f"{self.root}: expected one list *_{self.split}.txt or {whole.name}, found {found}")
        try:
            text = lists[0].read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            raise ValueError(f"{lists[0]}: expected a list of names in UTF-8: {error}") from error
        # lists that Windows wrote may begin with a mark, and part folders by backslashes
        lines = [line.strip().replace("\\", "/") for line in text.splitlines()]
        # the lists of single subsets name the file alone
        return [line if "/" in line else f"composite_images/{line}" for line in lines if line]

    def __len__(self) -> int:
        return len(self.names)

    def _paths(self, name: str) -> tuple[Path, Path, Path]:
        """Composite, mask and photograph of a line.

        Raises:
            ValueError: The name does not follow the scheme, or a file is missing.
        """
        composite = self.root / name
        parts = composite.stem.split("_")
        if len(parts) < 3:
            raise ValueError(f"{name}: expected a name PHOTO_OBJECT_VARIANT, received {composite.stem}")
        folder = composite.parent.parent
        mask = folder / "masks" / f"{'_'.join(parts[:-1])}.png"
        photos = [folder / "real_images" / f"{'_'.join(parts[:-2])}{suffix}" for suffix in PHOTO_SUFFIXES]
        real = next((p for p in photos if p.exists()), photos[0])
        for path in (composite, mask, real):
            if not path.exists():
                raise ValueError(f"{name}: {path.relative_to(self.root)} is missing")
        return composite, mask, real

    def read(self, name: str) -> HarmonySample:
        """Read the composite of a line.

        Raises:
            ValueError: A file is missing or damaged, the sizes differ, or the mask is empty.
        """
        pictures = []
        for path, read in zip(self._paths(name), (read_rgb, read_matte, read_rgb), strict=True):
            try:
                pictures.append(read(path))
            except ValueError as error:
                raise ValueError(f"{name}: {path.relative_to(self.root)} cannot be decoded: {error}") from error
        composite, mask, real = pictures
        if composite.shape != real.shape or mask.shape != composite.shape[:2]:
            sizes = f"composite {composite.shape[:2]}, mask {mask.shape} and photograph {real.shape[:2]}"
            raise ValueError(f"{name}: {sizes} differ in size")
        if self.size is not None:
            side = (self.size, self.size)
            composite, mask, real = (
                np.asarray(cv2.resize(p, side, interpolation=cv2.INTER_AREA), np.uint8) for p in pictures
            )
        if not (mask > 127).any():
            raise ValueError(f"{name}: the mask is empty")
        return HarmonySample(name, composite, real, mask)

    def __iter__(self) -> Iterator[HarmonySample]:
        """All readable composites in the order of the list; the others are skipped, logged and named in `skipped`."""
        for name in self.names:
            try:
                yield self.read(name)
            except ValueError as error:
                self.skipped[name] = str(error)
                log.warning("skipped %s", error)
