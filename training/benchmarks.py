"""The pairs that models are scored on: made from portraits and seeds, the same on every machine, never stored.

====================  ==========================================================  =================================
``ffhqh``             the FFHQH recipe (PHNet, arXiv 2402.17561, section 3.2)     truth: the photograph
``person_cast``       the person under another measured light                     truth: the photograph
``scene_cast``        the *whole* photograph under another light, the person of   truth: the cast photograph
                      the photograph put back: a neutral person in a cast scene
``scene_planck``      as ``scene_cast``, under black bodies of 2700 to 11,000 K,  truth: the cast photograph
                      lights that no training pair has
``same``              nothing was changed                                         truth: the photograph
====================  ==========================================================  =================================

Each comes with three masks. ``plain`` is the matte binarised at one half, as in the literature; along its edge colours
of the original person remain outside, which a network can learn to read off. ``dilated`` is the matte above 0.1 grown
by 3 pixels, and the composite is made with the same mask: nothing of the original person is left outside, but a rim of
the person's own background, in the person's light, is inside. ``call`` has neither: the soft matte itself, over a
background in which the surroundings of the person have been replaced by what lies further out.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.data.cache import PortraitFile, read_portrait
from training.data.edits import encoded_light, linear_light
from training.data.ffhqh import Jitter, augment
from training.data.illuminants import Lights, cast_picture
from training.metrics import blend
from training.skin import skin_group

__all__ = ["BENCHMARKS", "MASKS", "BenchmarkPair", "Photo", "black_body_gains", "load_photo", "make_pair", "pairs"]

F32Array = NDArray[np.float32]

MASKS = ("plain", "dilated", "call")

DILATION_PX = 3
"""Pixels that the dilated mask grows beyond alpha > 0.1, at the size of the benchmark."""

MAX_CLIPPED = 0.04
"""A light that pushes more than this share of the values out of range is drawn again."""

LIGHT_TRIES = 40

SENSOR_NM = (611.0, 549.0, 465.0)
"""Wavelengths that the three channels are taken to see, the dominant ones of the sRGB primaries."""

PLANCK_MIRED = (1e6 / 11_000, 1e6 / 2_700)
"""Range of the black bodies, in 10**6 / kelvin."""

WHITE_KELVIN = 6504.0
SECOND_RADIATION_NM_K = 1.438777e7
MAX_STOPS = 0.5

FILL_WINDOWS = (9, 17, 33, 65)
"""Sides in pixels of the windows that fill the background behind the person."""


def _grown(matte: F32Array) -> F32Array:
    """The matte above 0.1, grown by `DILATION_PX`: zeros and ones."""
    side = 2 * DILATION_PX + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    return np.asarray(cv2.dilate((matte > 0.1).astype(np.float32), kernel), np.float32)


@dataclass(frozen=True, eq=False)
class Photo:
    """A portrait at the size of the benchmark.

    Args:
        name: File name without suffix; seeds every draw.
        rgb: (S, S, 3) float32, encoded sRGB, 0..1.
        matte: (S, S) float32, 0..1.
        group: Skin-tone group, by `training.skin`.
    """

    name: str
    rgb: F32Array
    matte: F32Array
    group: str

    def mask(self, kind: str) -> F32Array:
        """The mask of a kind in `MASKS`, (S, S) float32; zeros and ones, save for the soft ``call``."""
        if kind == "call":
            return self.matte
        return (self.matte > 0.5).astype(np.float32) if kind == "plain" else _grown(self.matte)


@dataclass(frozen=True, eq=False)
class BenchmarkPair:
    """A composite with its truth, rounded to 8 bits as files would be.

    Args:
        name: Of the photograph.
        composite: (S, S, 3) float32, encoded sRGB, 0..1.
        truth: Like `composite`; equal to it outside the mask.
        mask: (S, S) float32, 0..1; to be binarised at one half for scores.
        group: Skin-tone group of the person.
    """

    name: str
    composite: F32Array
    truth: F32Array
    mask: F32Array
    group: str


def load_photo(item: PortraitFile, size: int = 256) -> Photo:
    """Read a portrait and squash it to a square.

    Raises:
        ValueError: A file is damaged, the sizes differ, or the matte is empty, perhaps only at that size.
    """
    picture = read_portrait(item)[..., :4]
    small = cv2.resize(np.ascontiguousarray(picture), (size, size), interpolation=cv2.INTER_AREA)
    values = small.astype(np.float32) / np.float32(255)
    rgb, matte = np.ascontiguousarray(values[..., :3]), np.ascontiguousarray(values[..., 3])
    if not (matte > 0.5).any():
        raise ValueError(f"{item.matte.name}: the matte is empty at {size} pixels")
    return Photo(item.photo.stem, rgb, matte, skin_group(rgb, matte))


def _cast(photo: Photo, lights: Lights, rng: np.random.Generator) -> F32Array:
    """The photograph under another light with little clipping; the least clipped draw if all clip more."""
    best, least = photo.rgb, np.inf
    for _ in range(LIGHT_TRIES):
        source, target = (int(i) for i in rng.choice(len(lights), 2, replace=False))
        cast, clipped = cast_picture(photo.rgb, lights, source, target)
        if clipped < least:
            best, least = cast, clipped
        if clipped <= MAX_CLIPPED:
            break
    return best


Change = Callable[[Photo, Lights, np.random.Generator], tuple[F32Array, F32Array]]
"""Gives the picture that the person is taken from, and the picture that is the truth."""


def _ffhqh(photo: Photo, lights: Lights, rng: np.random.Generator) -> tuple[F32Array, F32Array]:
    del lights
    return augment(photo.rgb, Jitter.draw(rng)), photo.rgb


def _person_cast(photo: Photo, lights: Lights, rng: np.random.Generator) -> tuple[F32Array, F32Array]:
    return _cast(photo, lights, rng), photo.rgb


def _scene_cast(photo: Photo, lights: Lights, rng: np.random.Generator) -> tuple[F32Array, F32Array]:
    return photo.rgb, _cast(photo, lights, rng)


def black_body_gains(kelvin: float) -> F32Array:
    """(3,) what a black body's light multiplies the linear channels by, seen from a white of 6504 K.

    Planck's law at one wavelength per channel (narrow-band sensors, Finlayson and Hordley 2001), of equal brightness.

    Args:
        kelvin: Temperature of the body.
    """
    wavelength = np.array(SENSOR_NM)
    power = [1 / np.expm1(SECOND_RADIATION_NM_K / (wavelength * t)) for t in (kelvin, WHITE_KELVIN)]
    gains = power[0] / power[1]
    return np.asarray(gains / (gains @ [0.2126, 0.7152, 0.0722]), np.float32)


def _scene_planck(photo: Photo, lights: Lights, rng: np.random.Generator) -> tuple[F32Array, F32Array]:
    del lights
    linear = linear_light(photo.rgb)
    best, least = photo.rgb, np.inf
    for _ in range(LIGHT_TRIES):
        gains = black_body_gains(1e6 / rng.uniform(*PLANCK_MIRED)) * 2 ** rng.uniform(-MAX_STOPS, MAX_STOPS)
        cast = linear * gains.astype(np.float32)
        clipped = float((cast > 1).mean())
        if clipped < least:
            best, least = encoded_light(np.clip(cast, 0, 1)), clipped
        if clipped <= MAX_CLIPPED:
            break
    return photo.rgb, best


def _same(photo: Photo, lights: Lights, rng: np.random.Generator) -> tuple[F32Array, F32Array]:
    del lights, rng
    return photo.rgb, photo.rgb


BENCHMARKS: dict[str, Change] = {
    "ffhqh": _ffhqh,
    "person_cast": _person_cast,
    "scene_cast": _scene_cast,
    "scene_planck": _scene_planck,
    "same": _same,
}
"""How each benchmark changes a photograph, by name."""


def _bytes(picture: F32Array) -> F32Array:
    return (np.rint(np.clip(picture, 0, 1) * 255) / 255).astype(np.float32)


def _without_person(picture: F32Array, matte: F32Array) -> F32Array:
    """The picture with the person's surroundings, and the person, filled from the background further out.

    Averages over growing windows; what is too deep inside the person for all of them does not matter, being covered.
    """
    known = 1 - _grown(matte)
    out = picture.copy()
    missing = known == 0
    for side in FILL_WINDOWS:
        weight = cv2.blur(known, (side, side))
        filled = cv2.blur(picture * known[..., None], (side, side)) / np.maximum(weight, 1e-6)[..., None]
        reached = missing & (weight > 0.02)
        out[reached] = filled[reached]
        missing &= ~reached
    return out


def make_pair(photo: Photo, benchmark: str, mask_kind: str, lights: Lights, seed: int = 0) -> BenchmarkPair:
    """The pair of a photograph in a benchmark; all masks get the same draw.

    Raises:
        KeyError: No such benchmark.
    """
    digest = hashlib.sha256(os.fsencode(f"{seed}/{benchmark}/{photo.name}")).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
    person, truth = (_bytes(p) for p in BENCHMARKS[benchmark](photo, lights, rng))
    mask = photo.mask(mask_kind)
    background = _bytes(_without_person(truth, photo.matte)) if mask_kind == "call" else truth
    composite, real = (_bytes(blend(picture, background, mask)) for picture in (person, truth))
    return BenchmarkPair(photo.name, composite, real, mask, photo.group)


def pairs(
    photos: Sequence[Photo], benchmark: str, mask_kind: str, lights: Lights, seed: int = 0
) -> Iterator[BenchmarkPair]:
    """The pairs of a benchmark, in the order of the photographs."""
    for photo in photos:
        yield make_pair(photo, benchmark, mask_kind, lights, seed)
