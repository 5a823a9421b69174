"""FFHQH: portraits whose person was recoloured, after PHNet (arXiv 2402.17561, section 3.2), from any portraits.

The composite is the augmented foreground over its own, unchanged background; the photograph is the truth. Works on FFHQ
(photographs and mattes in two trees with the same names) and on any folder of NAME.jpg with mattes NAME.png beside::

    python -m training.data.ffhqh --portraits FFHQ/images --mattes FFHQ/mattes --out FFHQH --size 256

writes the folder layout of iHarmony4, which `training.data.iharmony4` reads; `stream` makes the same pairs on the fly.
What one photograph becomes depends on its name, the variant and the seed alone, and its split on its name alone, so a
folder may grow without anything moving between training and test.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.arguments import positive
from training.data.cache import PortraitFile, read_portrait
from training.data.kernels import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    adjust_sharpness,
    autocontrast,
    posterize,
)
from training.data.pictures import write_picture

__all__ = [
    "SPLITS",
    "Jitter",
    "Pair",
    "Report",
    "augment",
    "find_portraits",
    "make_pair",
    "split_of",
    "stream",
    "write",
]

log = logging.getLogger(__name__)

F32Array = NDArray[np.float32]
U8Array = NDArray[np.uint8]

SPLITS = (("train", 60), ("val", 5), ("test", 5))
"""Names and shares of the splits: 60k, 5k and 5k of FFHQ's 70k."""

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")

JPEG_OPTIONS = (cv2.IMWRITE_JPEG_QUALITY, 97)


@dataclass(frozen=True)
class Jitter:
    """One draw of the recipe, its parts as torchvision defines them.

    ColorJitter(brightness .5, contrast .4, saturation .06, hue .05), RandomPosterize(bits 6, p .5),
    RandomAdjustSharpness(factor 4, p .5), RandomAutocontrast(p .5).

    Args:
        order: Permutation of brightness, contrast, saturation, hue.
        brightness: Factor, 0.5..1.5.
        contrast: Factor, 0.6..1.4.
        saturation: Factor, 0.94..1.06.
        hue: Turns, -0.05..0.05.
        posterize: Whether the lower two bits are dropped.
        sharpen: Whether contrast to the smoothed picture is raised four times.
        autocontrast: Whether each channel is stretched to the full range.
    """

    order: tuple[int, ...]
    brightness: float
    contrast: float
    saturation: float
    hue: float
    posterize: bool
    sharpen: bool
    autocontrast: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Jitter:
        """The next draw of a generator."""
        order = tuple(int(i) for i in rng.permutation(4))
        factors = rng.uniform((0.5, 0.6, 0.94, -0.05), (1.5, 1.4, 1.06, 0.05)).tolist()
        switches = (rng.random(3) < 0.5).tolist()
        return cls(order, *factors, *switches)


def augment(rgb: F32Array, jitter: Jitter) -> F32Array:
    """The whole picture recoloured.

    Args:
        rgb: (H, W, 3) float32, encoded sRGB, 0..1.
        jitter: What is done.

    Returns:
        A new picture of the same kind.
    """
    planes = np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32).copy()
    flat = planes.reshape(3, -1)
    steps = (
        (adjust_brightness, jitter.brightness),
        (adjust_contrast, jitter.contrast),
        (adjust_saturation, jitter.saturation),
        (adjust_hue, jitter.hue),
    )
    for index in jitter.order:
        operation, value = steps[index]
        operation(flat, np.float32(value))
    if jitter.posterize:
        posterize(flat, 6)
    if jitter.sharpen:
        adjust_sharpness(planes, np.float32(4))
    if jitter.autocontrast:
        autocontrast(flat)
    return np.ascontiguousarray(planes.transpose(1, 2, 0))


@dataclass(frozen=True, eq=False)
class Pair:
    """A composite with its truth.

    Args:
        name: Of the photograph, without folder and suffix.
        composite: (H, W, 3) uint8 RGB.
        real: Like `composite`.
        matte: (H, W) uint8, 255 = person, soft.
    """

    name: str
    composite: U8Array
    real: U8Array
    matte: U8Array


@dataclass
class Report:
    """What became of a folder.

    Args:
        made: Pairs made.
        skipped: Name of each file that could not be used: why.
        foreground: Mean share of the person in the pictures, 0..1.
        brightness: Mean value of the photographs, 0..255.
    """

    made: int = 0
    skipped: dict[str, str] = field(default_factory=dict)
    foreground: float = 0.0
    brightness: float = 0.0

    def count(self, pair: Pair) -> None:
        """Take a pair into the averages."""
        self.made += 1
        self.foreground += (float(pair.matte.mean()) / 255 - self.foreground) / self.made
        self.brightness += (float(pair.real.mean()) - self.brightness) / self.made


def find_portraits(portraits: Path, mattes: Path | None, report: Report) -> list[PortraitFile]:
    """Photographs with a matte, sorted by path; those without are named in the report.

    Args:
        portraits: Folder, searched with its sub-folders.
        mattes: A tree of ``.png`` mattes with the same relative names, or None when they lie beside the photographs,
            which then may not be ``.png`` themselves.
        report: Is added to.

    Raises:
        FileNotFoundError: A folder is missing, or no photograph has a matte.
    """
    for folder in (portraits, mattes or portraits):
        if not folder.is_dir():
            raise FileNotFoundError(f"{folder}: no such folder; expected portraits and their mattes NAME.png")
    if mattes is not None and mattes.resolve() == portraits.resolve():
        mattes = None  # else each matte would be a photograph too, and its own matte
    suffixes = SUFFIXES if mattes else tuple(s for s in SUFFIXES if s != ".png")
    photos = sorted(p for p in portraits.rglob("*") if p.suffix.lower() in suffixes)
    found = []
    for photo in photos:
        matte = ((mattes or portraits) / photo.relative_to(portraits)).with_suffix(".png")
        if matte.exists():
            found.append(PortraitFile(photo, matte))
        else:
            report.skipped[photo.name] = f"no matte {matte.name}"
    if not found:
        raise FileNotFoundError(
            f"{portraits}: {len(photos)} photographs, but no matte for any; expected NAME.png for each photograph, "
            f"8-bit grey, 255 = person, {'in ' + str(mattes) if mattes else 'beside it'}"
        )
    return found


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def split_of(name: str) -> str:
    """Split of a photograph, by its name alone; shares as in `SPLITS`."""
    place = _number(name) % sum(share for _, share in SPLITS)
    for split, share in SPLITS:
        if place < share:
            return split
        place -= share
    raise AssertionError("the shares cover every place")


def _fitted(portrait: U8Array, size: int | None) -> U8Array:
    """The four channels RGB and matte, squashed to a square when a size is given."""
    picture = np.ascontiguousarray(portrait[..., :4])
    if size is None:
        return picture
    smaller = size < min(picture.shape[:2])
    resized = cv2.resize(picture, (size, size), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return np.asarray(resized, np.uint8)


def make_pair(item: PortraitFile, size: int | None, variant: int = 0, seed: int = 0) -> Pair:
    """Read one portrait and recolour the person.

    Args:
        item: Photograph and matte.
        size: Side of the square result in pixels; None keeps the photograph's size.
        variant: Number of the draw for this photograph.
        seed: Of the recipe.

    Raises:
        ValueError: A file is damaged, the sizes differ, or the matte is empty, perhaps only at that size.
    """
    picture = _fitted(read_portrait(item), size)
    real, matte = picture[..., :3], picture[..., 3]
    if not (matte > 127).any():
        raise ValueError(f"{item.matte.name}: the matte is empty at {size} pixels")
    rng = np.random.default_rng([seed, variant, _number(item.photo.stem)])
    changed = augment(real.astype(np.float32) / np.float32(255), Jitter.draw(rng))
    alpha = (matte.astype(np.float32) / 255)[..., None]
    blended = np.rint(255 * changed * alpha + real * (1 - alpha))
    return Pair(item.photo.stem, np.clip(blended, 0, 255).astype(np.uint8), real, matte)


def stream(
    items: list[PortraitFile], report: Report, *, size: int | None = 256, variants: int = 1, seed: int = 0
) -> Iterator[Pair]:
    """Pairs one after another; a portrait that cannot be used is skipped, logged and named in the report."""
    for item in items:
        for variant in range(variants):
            try:
                pair = make_pair(item, size, variant, seed)
            except ValueError as error:
                report.skipped[item.photo.name] = str(error)
                log.warning("skipped %s", error)
                break
            report.count(pair)
            yield pair


def write(items: list[PortraitFile], out: Path, report: Report, *, size: int | None, variants: int, seed: int) -> None:
    """Write the pairs in the layout of iHarmony4, with lists ``FFHQH_train.txt`` and so on, and ``report.json``.

    Masks are written soft; readers binarise them at one half. A photograph whose name another one has already taken,
    in another folder for instance, is skipped, logged and named in the report: its files would replace that one's.

    Raises:
        OSError: The folder cannot be written.
    """
    folders = {name: out / name for name in ("composite_images", "masks", "real_images")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    lists: dict[str, list[str]] = {name: [] for name, _ in SPLITS}
    taken: dict[str, Path] = {}
    for item in items:
        name = item.photo.stem.replace("_", "-")  # underscores part the names of photograph, mask and variant
        if name in taken:
            report.skipped[str(item.photo)] = f"its name in the set, {name}, is that of {taken[name]}"
            log.warning("skipped %s: %s", item.photo, report.skipped[str(item.photo)])
            continue
        for variant, pair in enumerate(stream([item], report, size=size, variants=variants, seed=seed)):
            taken[name] = item.photo
            write_picture(folders["composite_images"] / f"{name}_1_{variant + 1}.jpg", pair.composite, JPEG_OPTIONS)
            if variant == 0:
                write_picture(folders["masks"] / f"{name}_1.png", pair.matte)
                write_picture(folders["real_images"] / f"{name}.jpg", pair.real, JPEG_OPTIONS)
            lists[split_of(pair.name)].append(f"composite_images/{name}_1_{variant + 1}.jpg")
    for split, lines in lists.items():
        (out / f"FFHQH_{split}.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
    (out / "report.json").write_text(json.dumps(asdict(report), indent=1), "utf-8")


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, or 3 when the folders cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m training.data.ffhqh", description="Build FFHQH from portraits.")
    parser.add_argument("--portraits", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--mattes", type=Path, help="folder of mattes; beside the photographs when not given")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--size", type=positive, help="side of the square pictures, pixels; the photograph's when not given"
    )
    parser.add_argument("--variants", type=positive, default=1, help="composites of each photograph")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    report = Report()
    try:
        items = find_portraits(options.portraits, options.mattes, report)
        write(items, options.out, report, size=options.size, variants=options.variants, seed=options.seed)
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 3
    sys.stdout.write(
        f"{report.made} pairs in {options.out}; person {report.foreground:.0%} of the picture, mean brightness "
        f"{report.brightness:.0f}; skipped {len(report.skipped)}\n"
    )
    for name, reason in report.skipped.items():
        sys.stdout.write(f"  skipped {name}: {reason}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
