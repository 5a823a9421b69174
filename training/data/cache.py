"""Portraits and scenes, decoded once and kept as small square crops in memory-mapped arrays.

Decoding and resizing dominate a loader; a crop of 64² costs 20 kB, so several crops of each photograph fit in memory
and a batch is an index operation. Crops differ in place, scale and aspect, since the live model sees the whole
composite squashed to a square.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.neutral import DARK, DIM, neutralise
from training.data.pictures import read_matte, read_rgb

__all__ = ["CacheSpec", "CropCache", "PortraitFile", "build_cache", "default_cache_dir", "list_portraits"]

log = logging.getLogger(__name__)

U8 = NDArray[np.uint8]

DILATION_PX = 3
"""Radius by which the leak-free matte is grown, in pixels of a picture whose short side is about `DILATION_SIDE`."""

DILATION_SIDE = 256
"""Short side in pixels of pictures whose matte is grown once; of larger ones it is grown as many times over."""

MIN_FOREGROUND = 0.04
"""Smallest share of a crop that the person must fill; other crops are drawn again."""

PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class PortraitFile:
    """A photograph and its matte (8-bit grey, 255 = person, or a cut-out), of equal size."""

    photo: Path
    matte: Path


@dataclass(frozen=True)
class CacheSpec:
    """What a cache holds; part of its name, as the files are, so that a change builds another.

    Args:
        size: Side of the square crops, pixels.
        crops: Ordinary crops of each portrait; the first is the whole photograph.
        far_crops: Crops of each portrait that show the person small, with nothing around: for other scenes only.
        scene_crops: Crops of each background.
        seed: Of the crop places.
        neutral: Share of the backgrounds' crops whose light is made neutral.
    """

    size: int = 64
    crops: int = 5
    far_crops: int = 3
    scene_crops: int = 12
    seed: int = 0
    neutral: float = 0.0


@dataclass(frozen=True)
class CropCache:
    """Memory-mapped crops.

    Args:
        portraits: (N, crops + far_crops, S, S, 5) uint8: R, G, B, matte, matte grown from alpha > 0.1, see
            `DILATION_PX`.
        scenes: (K, S, S, 3) uint8 RGB.
        spec: What was asked for.
        skipped: Files that could not be read, with the reason.
    """

    portraits: U8
    scenes: U8
    spec: CacheSpec
    skipped: tuple[str, ...] = field(default=())


def default_cache_dir() -> Path:
    """``$XDG_CACHE_HOME/livecomp/training``, by default below ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "livecomp" / "training"


def list_portraits(folder: Path) -> list[PortraitFile]:
    """All photographs of a folder that have a matte ``NAME.png`` beside them, sorted by name; the others are logged.

    Raises:
        FileNotFoundError: The folder is missing, or no photograph in it has a matte.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; expected portraits NAME.jpg with mattes NAME.png")
    photos = sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES[:2])
    found = [PortraitFile(p, p.with_suffix(".png")) for p in photos if p.with_suffix(".png").exists()]
    if not found:
        raise FileNotFoundError(
            f"{folder}: {len(photos)} photographs but no matte beside any; expected NAME.png for each NAME.jpg, "
            "8-bit grey, 255 = person"
        )
    kept = {item.photo for item in found}
    if left := [p.name for p in photos if p not in kept]:
        few = ", ".join(left[:5]) + ", …" * (len(left) > 5)
        log.warning(
            "%s: left out %d of %d photographs, which have no matte NAME.png: %s", folder, len(left), len(photos), few
        )
    return found


def read_portrait(item: PortraitFile) -> U8:
    """Decode a portrait to (H, W, 5) uint8: R, G, B, matte, grown matte.

    Raises:
        ValueError: A file is damaged, the sizes differ, or the matte is empty.
    """
    rgb = read_rgb(item.photo)
    matte = read_matte(item.matte)
    if matte.shape != rgb.shape[:2]:
        raise ValueError(f"{item.photo.name}: photograph {rgb.shape[:2]} and matte {matte.shape} differ in size")
    if not (matte > 127).any():
        raise ValueError(f"{item.matte.name}: the matte is empty")
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * DILATION_PX + 1, 2 * DILATION_PX + 1))
    times = max(1, round(min(matte.shape) / DILATION_SIDE))
    grown = cv2.dilate(((matte > 25) * 255).astype(np.uint8), kernel, iterations=times)
    return np.dstack([rgb, matte, grown])


def _resized(picture: U8, width: int, height: int) -> U8:
    """Area-resize (H, W, C) for any number of channels; OpenCV takes four at most."""
    parts = [picture[..., k : k + 4] for k in range(0, picture.shape[2], 4)]
    small = [cv2.resize(np.ascontiguousarray(p), (width, height), interpolation=cv2.INTER_AREA) for p in parts]
    return np.dstack([np.asarray(p, np.uint8) for p in small])


def squash(picture: U8, size: int) -> U8:
    """Area-resize any (H, W, C) picture to a square of `size` pixels."""
    return _resized(picture, size, size)


def _random_crop(picture: U8, rng: np.random.Generator, low: float, aspect: float) -> U8:
    """A crop whose sides are `low`..1 of the picture's, with up to `aspect` of anisotropy."""
    height, width = picture.shape[:2]
    scale = rng.uniform(low, 1.0)
    stretch = float(np.exp(rng.uniform(-aspect, aspect) / 2))
    h, w = (min(n, max(16, round(n * s))) for n, s in ((height, scale * stretch), (width, scale / stretch)))
    top, left = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    return picture[top : top + h, left : left + w]


def _near_crop(portrait: U8, size: int, rng: np.random.Generator) -> U8:
    for _ in range(8):
        small = squash(_random_crop(portrait, rng, 0.55, 0.5), size)
        if small[..., 3].mean() > 255 * MIN_FOREGROUND * 3:
            return small
    return squash(portrait, size)


def _far_crop(portrait: U8, size: int, rng: np.random.Generator) -> U8:
    """The person smaller, standing on the lower border, with an empty matte around."""
    height, width = portrait.shape[:2]
    tall = float(rng.uniform(0.45, 0.95))
    wide = min(1.0, tall * width / height / float(rng.choice([1.0, 4 / 3, 16 / 9])))
    h, w = max(16, round(tall * size)), max(12, round(wide * size))
    small = _resized(portrait, w, h)
    canvas = np.zeros((size, size, 5), np.uint8)
    left = int(rng.integers(0, size - w + 1))
    canvas[size - h :, left : left + w] = small
    # outside the photograph nothing is known; its colour there never shows
    return canvas


def portrait_crops(portrait: U8, spec: CacheSpec, rng: np.random.Generator) -> U8:
    """All crops of a portrait: (crops + far_crops, S, S, 5) uint8."""
    near = [squash(portrait, spec.size)]
    near += [_near_crop(portrait, spec.size, rng) for _ in range(spec.crops - 1)]
    far = [_far_crop(portrait, spec.size, rng) for _ in range(spec.far_crops)]
    return np.stack(near + far)


def _scene_crops(rgb: U8, spec: CacheSpec, rng: np.random.Generator) -> U8:
    crops = [_in_some_light(squash(rgb, spec.size), spec, rng)]
    for _ in range(spec.scene_crops - 1):
        crop = _random_crop(rgb, rng, 0.35, 0.6)
        if rng.random() < 0.4:
            blur = float(rng.uniform(0.005, 0.03)) * max(crop.shape[:2])
            crop = np.asarray(cv2.GaussianBlur(crop, (0, 0), blur), np.uint8)
        crops.append(_in_some_light(squash(crop, spec.size), spec, rng))
    return np.stack(crops)


def _in_some_light(scene: U8, spec: CacheSpec, rng: np.random.Generator) -> U8:
    if not spec.neutral or rng.random() >= spec.neutral:
        return scene
    return neutralise(scene, float(rng.uniform(0.6, 1.0)), float(rng.uniform(DARK, DIM)))


def _fingerprint(spec: CacheSpec, portraits: Iterable[PortraitFile], scenes: Iterable[Path]) -> str:
    files = [path for p in portraits for path in (p.photo, p.matte)] + list(scenes)
    stamps = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    text = json.dumps([spec.__dict__, stamps, "layout 3"])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def build_cache(portraits: list[PortraitFile], scenes: list[Path], spec: CacheSpec, folder: Path) -> CropCache:
    """Open the crops of these files, decoding them first when `folder` does not hold them yet, or no longer whole.

    A file that cannot be read is skipped, named in the log and in the result. The arrays are written into a folder of
    their own that is moved once it is complete: a build that fails leaves nothing, one that is killed nothing that
    looks complete, and two at once do not disturb each other. No more than one picture's crops are in memory.

    Args:
        portraits: Photographs with mattes.
        scenes: Backgrounds without people.
        spec: Size and number of crops.
        folder: Where caches are kept.

    Raises:
        ValueError: Not one portrait could be read.
        OSError: The folder cannot be written.
    """
    target = folder / f"crops-{_fingerprint(spec, portraits, scenes)}"
    try:
        return _opened(target, spec)
    except FileNotFoundError:
        pass
    except (ValueError, EOFError) as error:
        log.warning("%s: damaged, so it is made anew: %s", target, error)
        shutil.rmtree(target, ignore_errors=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=f"{target.name}-partial-", dir=folder) as partial:
            made = Path(partial) / "made"
            made.mkdir()
            _decode(portraits, scenes, spec, made)
            if not target.exists():  # as when another process was faster
                made.rename(target)
    except OSError as error:
        raise OSError(f"{target}: the crops cannot be kept: {error}") from error
    return _opened(target, spec)


def _opened(target: Path, spec: CacheSpec) -> CropCache:
    skipped = tuple(json.loads((target / "skipped.json").read_text("utf-8")))
    portraits, scenes = (np.load(target / f"{name}.npy", mmap_mode="r") for name in ("portraits", "scenes"))
    return CropCache(portraits, scenes, spec, skipped)


@contextmanager
def _growing_array(path: Path, shape: tuple[int, ...]) -> Iterator[Callable[[U8], None]]:
    """A ``.npy`` file of bytes; what is given takes (n, *shape) more."""
    with path.open("wb") as file:
        count = 0

        def write_header() -> None:
            described = {"descr": "|u1", "fortran_order": False, "shape": (count, *shape)}
            np.lib.format.write_array_header_1_0(file, described)

        def add(rows: U8) -> None:
            nonlocal count
            file.write(rows.tobytes())
            count += len(rows)

        write_header()
        yield add
        file.seek(0)  # numpy leaves room in the header for any count
        write_header()


def _decode(portraits: list[PortraitFile], scenes: list[Path], spec: CacheSpec, target: Path) -> None:
    skipped: list[str] = []

    def skip(error: ValueError) -> None:
        skipped.append(str(error))
        log.warning("skipped %s", error)

    with _growing_array(target / "portraits.npy", (spec.crops + spec.far_crops, spec.size, spec.size, 5)) as add:
        for index, item in enumerate(portraits):
            try:
                crops = portrait_crops(read_portrait(item), spec, np.random.default_rng([spec.seed, index]))
            except ValueError as error:
                skip(error)
            else:
                add(crops[None])
    unread = len(skipped)
    if unread == len(portraits):
        raise ValueError(f"none of {len(portraits)} portraits could be read; the first reason: {skipped[:1]}")
    with _growing_array(target / "scenes.npy", (spec.size, spec.size, 3)) as add:
        for index, path in enumerate(scenes):
            try:
                rooms = _scene_crops(read_rgb(path), spec, np.random.default_rng([spec.seed, 1, index]))
            except ValueError as error:
                skip(error)
            else:
                add(rooms)
    people, places = len(portraits) - unread, len(scenes) + unread - len(skipped)
    log.info("cached %d portraits and %d scenes, skipped %d", people, places, len(skipped))
    (target / "skipped.json").write_text(json.dumps(skipped), "utf-8")
