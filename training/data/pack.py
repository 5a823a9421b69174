"""The training data made small enough to send: ``python -m training.data.pack DATA PACK``.

The live model looks at crops of 64² to 128², so photographs need not be much larger than that. The pack has the layout
of the folder it was made from, so that ``python -m training.train live_supervised --data PACK --out RUN`` is all that
another machine has to run; 4,000 portraits with mattes and 1,000 scenes take 40 MB.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.arguments import positive
from training.data.cache import PICTURE_SUFFIXES, list_portraits, read_portrait
from training.data.pictures import read_rgb, write_picture

__all__ = ["PackReport", "make_pack"]

log = logging.getLogger(__name__)

U8 = NDArray[np.uint8]

QUALITY = 90
"""Of the JPEGs; errors of compression are averaged out when crops are made."""


@dataclass
class PackReport:
    """What became of the files.

    Args:
        pictures: Pictures written, mattes not counted.
        size: Bytes written.
        skipped: Files that could not be read, with the reason.
    """

    pictures: int = 0
    size: int = 0
    skipped: list[str] = field(default_factory=list)


def _smaller(picture: U8, short_side: int) -> U8:
    """Scaled so that its shorter side has at most so many pixels."""
    height, width = picture.shape[:2]
    scale = min(1.0, short_side / min(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _write(path: Path, picture: U8, report: PackReport) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    options = [cv2.IMWRITE_JPEG_QUALITY, QUALITY] if path.suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 9]
    write_picture(path, picture, options)
    report.size += path.stat().st_size


def _pack_portraits(source: Path, target: Path, short_side: int, report: PackReport) -> None:
    for item in list_portraits(source):
        try:
            picture = read_portrait(item)
        except ValueError as error:
            report.skipped.append(str(error))
            continue
        small = _smaller(np.ascontiguousarray(picture[..., :4]), short_side)
        _write(target / f"{item.photo.stem}.jpg", small[..., :3], report)
        _write(target / f"{item.photo.stem}.png", small[..., 3], report)
        report.pictures += 1


def _pack_scenes(source: Path, target: Path, short_side: int, report: PackReport) -> None:
    for path in sorted(p for p in source.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES):
        try:
            small = _smaller(read_rgb(path), short_side)
        except ValueError as error:
            report.skipped.append(str(error))
            continue
        place = (target / path.relative_to(source)).with_suffix(".jpg")
        if place.exists():  # of a picture whose name differs in the suffix alone
            place = place.with_name(f"{path.name}.jpg")
        _write(place, small, report)
        report.pictures += 1


def make_pack(source: Path, target: Path, short_side: int = 128) -> PackReport:
    """Copy a data folder with its pictures made small.

    Args:
        source: Folder with portraits/train, portraits/val, backgrounds and illuminants; the last three may be missing.
        target: The new folder.
        short_side: Of the pictures, pixels.

    Raises:
        FileNotFoundError: There are no portraits to train on.
        FileExistsError: The target exists.
        OSError: It cannot be written.
    """
    if target.exists():
        raise FileExistsError(f"{target}: exists already; name a new folder")
    report = PackReport()
    _pack_portraits(source / "portraits" / "train", target / "portraits" / "train", short_side, report)
    if (source / "portraits" / "val").is_dir():
        _pack_portraits(source / "portraits" / "val", target / "portraits" / "val", short_side, report)
    _pack_scenes(source / "backgrounds", target / "backgrounds", short_side, report)
    for path in sorted((source / "illuminants").glob("*.npz")):
        place = target / "illuminants" / path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)
        report.size += place.stat().st_size
    for line in report.skipped:
        log.warning("skipped %s", line)
    return report


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, or 3 when the data cannot be read or the pack not written."""
    parser = argparse.ArgumentParser(prog="python -m training.data.pack", description="Make training data small.")
    parser.add_argument("data", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--short-side", type=positive, default=128, help="pixels")
    options = parser.parse_args(argv)
    try:
        report = make_pack(options.data, options.pack, options.short_side)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    sys.stdout.write(f"{report.pictures} pictures, {report.size / 1e6:.1f} MB, {len(report.skipped)} skipped\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
