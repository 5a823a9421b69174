"""A person set into a scene at full size, as a call shows them: real composites, for which there is no truth.

The person stands on the lower border, scaled to a plausible share of the frame's height, a little off the middle. A
shoulder that the photograph cut off would float in the room: only people whose matte leaves the upper sides free are
taken, and they end where it first touches a side.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.cache import PICTURE_SUFFIXES, PortraitFile, read_portrait
from training.data.pictures import read_rgb

__all__ = ["RealComposite", "fits", "list_scenes", "place", "real_composites"]

log = logging.getLogger(__name__)

F32Array = NDArray[np.float32]
U8Array = NDArray[np.uint8]

MAX_CUT = 0.02
"""Largest share of the photograph's height at which the person may touch its left or right side, above the lowest
third."""

HEIGHTS = (0.72, 0.98)
"""Height of the person as a share of the frame's."""


@dataclass(frozen=True, eq=False)
class RealComposite:
    """A person over a scene.

    Args:
        name: Of person and scene.
        rgb: (H, W, 3) float32, encoded sRGB, 0..1.
        alpha: (H, W) float32, 0..1.
    """

    name: str
    rgb: F32Array
    alpha: F32Array


def list_scenes(folder: Path) -> list[Path]:
    """All pictures below a folder, sorted by path.

    Raises:
        FileNotFoundError: There are none.
    """
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES)
    if not found:
        raise FileNotFoundError(f"{folder}: expected pictures of scenes, found none")
    return found


def fits(matte: U8Array) -> bool:
    """Whether a person can be cut out of this photograph without a straight edge in mid-air.

    Args:
        matte: (H, W) uint8, 255 = person.
    """
    upper = matte[: 2 * matte.shape[0] // 3] > 127
    if not upper.any():
        return False
    return max(float(upper[:, 0].mean()), float(upper[:, -1].mean()), float(upper[0].mean())) <= MAX_CUT


def _covering(scene: U8Array, width: int, height: int) -> U8Array:
    """The scene scaled and cropped around its middle to fill the frame."""
    scale = max(width / scene.shape[1], height / scene.shape[0])
    inner_w, inner_h = min(scene.shape[1], round(width / scale)), min(scene.shape[0], round(height / scale))
    left, top = (scene.shape[1] - inner_w) // 2, (scene.shape[0] - inner_h) // 2
    crop = np.ascontiguousarray(scene[top : top + inner_h, left : left + inner_w])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(crop, (width, height), interpolation=interpolation), np.uint8)


def _uncut(matte: U8Array, top: int, bottom: int) -> int:
    """Where to end the person so that shoulders cut by the photograph's sides stay below the frame."""
    sides = (matte[:, 0] > 127) | (matte[:, -1] > 127)
    touching = np.flatnonzero(sides[top:bottom])
    least = top + (bottom - top) // 2
    return max(least, top + int(touching[0])) if len(touching) else bottom


def place(
    portrait: U8Array, scene: U8Array, size_wh: tuple[int, int], rng: np.random.Generator
) -> tuple[F32Array, F32Array]:
    """Set a person into a scene.

    Args:
        portrait: (h, w, 4 or more) uint8: R, G, B, matte.
        scene: (h', w', 3) uint8 RGB.
        size_wh: Width and height of the result, pixels.
        rng: Draws scale and place.

    Returns:
        The composite (H, W, 3) and its alpha (H, W), float32, 0..1.

    Raises:
        ValueError: The matte is empty.
    """
    width, height = size_wh
    rows = np.flatnonzero((portrait[..., 3] > 127).any(1))
    columns = np.flatnonzero((portrait[..., 3] > 127).any(0))
    if not len(rows):
        raise ValueError("place: the matte is empty")
    bottom = _uncut(portrait[..., 3], int(rows[0]), int(rows[-1]) + 1)
    person = portrait[rows[0] : bottom, columns[0] : columns[-1] + 1, :4]
    scale = min(rng.uniform(*HEIGHTS) * height / person.shape[0], 0.9 * width / person.shape[1])
    w, h = max(1, round(person.shape[1] * scale)), max(1, round(person.shape[0] * scale))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(np.ascontiguousarray(person), (w, h), interpolation=interpolation)
    scaled = resized.astype(np.float32) / np.float32(255)
    left = int(np.clip((width - w) / 2 + rng.uniform(-0.15, 0.15) * width, 0, width - w))
    alpha = np.zeros((height, width), np.float32)
    alpha[height - h :, left : left + w] = scaled[..., 3]
    rgb = _covering(scene, width, height).astype(np.float32) / np.float32(255)
    region = rgb[height - h :, left : left + w]
    region += scaled[..., 3:] * (scaled[..., :3] - region)
    return rgb, alpha


def _mixed(scenes: Sequence[Path], rng: np.random.Generator) -> list[Path]:
    """The scenes in random order, their folders taking turns, so that a large folder does not crowd out a small one."""
    folders: dict[Path, list[Path]] = {}
    for index in rng.permutation(len(scenes)):
        folders.setdefault(scenes[index].parent, []).append(scenes[index])
    turns = sorted((turn, str(f), p) for f, found in folders.items() for turn, p in enumerate(found))
    return [path for _, _, path in turns]


def _next_scene(rooms: list[Path], turn: int) -> tuple[Path, U8Array]:
    """The scene whose turn it is; those that cannot be read are logged and taken off the list."""
    while rooms:
        room = rooms[turn % len(rooms)]
        try:
            return room, read_rgb(room)
        except ValueError as error:
            log.warning("skipped %s", error)
            rooms.remove(room)
    raise ValueError("none of the scenes can be read")


def real_composites(
    people: Sequence[PortraitFile], scenes: Sequence[Path], count: int, *, size_wh: tuple[int, int], seed: int = 0
) -> list[RealComposite]:
    """People over scenes, each person and scene at most once as long as there are enough of them.

    Args:
        people: Photographs with mattes.
        scenes: Pictures of rooms and places.
        count: How many; fewer come back when not enough people fit.
        size_wh: Width and height of the results, pixels.
        seed: Of choice and placement.

    Raises:
        ValueError: None of the scenes can be read, or nobody fits.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(people))
    rooms = _mixed(scenes, rng)
    made: list[RealComposite] = []
    for index in order:
        if len(made) == count:
            break
        try:
            portrait = read_portrait(people[index])
        except ValueError:
            continue  # named by whoever lists the folder; a sheet needs only enough of them
        if not fits(portrait[..., 3]):
            continue
        room, scene = _next_scene(rooms, len(made))
        rgb, alpha = place(portrait, scene, size_wh, rng)
        made.append(RealComposite(f"{people[index].photo.stem} over {room.stem}", rgb, alpha))
    if not made:
        raise ValueError(f"none of {len(people)} portraits shows a person who can be cut out without a straight edge")
    return made
