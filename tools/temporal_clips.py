"""Short clips with a known truth: one person before their own background, under light that follows a script.

The person is cut out of a portrait, moved and lit by the script, with sensor noise; the scene is the portrait's own
background, filled in behind the person, in its own light or in one that follows the script too, as a video's does. So
the truth of every frame is the person as photographed, in the scene's light, over that scene. Clips are made when they
are needed and never stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from livecomp.capture.demo import DemoSource
from livecomp.color import encoded_from_linear, linear_from_encoded
from livecomp.config import Config
from livecomp.correction import F32Array
from livecomp.errors import InputError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.media.image import read_image, read_mask
from tools.temporal_play import Take

__all__ = ["SCRIPTS", "Portrait", "Script", "demo_portrait", "load_portrait", "play"]

_LINES = 240
_SEED = 3
_PERSON = 127
_HAND_RGB = (0.55, 0.35, 0.25)


@dataclass(frozen=True, slots=True)
class Portrait:
    """A person and what is behind them.

    Args:
        rgb: (H, W, 3) float32, encoded sRGB, 0..1, the photograph.
        alpha: (H, W) float32, 0..1.
        scene: (H, W, 3) float32, the photograph without the person.
    """

    rgb: F32Array
    alpha: F32Array
    scene: F32Array


@dataclass(frozen=True, slots=True)
class Script:
    """What happens in a clip; every function is of the time in seconds.

    Args:
        seconds: Length.
        light: Gains of linear R, G, B on the person.
        shift: Where the person is, parts of the picture's width from where they were photographed.
        side: Light from the side: log-gain of linear light per picture width, from left to right, about the person.
        scene_light: Gains of linear R, G, B on the scene, and on the truth.
        scene_noise: Standard deviation of the scene's noise, 8-bit levels; half as much of the whole picture at once.
        noise: Standard deviation of the sensor noise, 8-bit levels.
        step_s: Time of the step of light; None if there is none.
        hand_s: From when to when a hand covers most of the person; None if never.
    """

    seconds: float
    light: Callable[[float], tuple[float, float, float]]
    shift: Callable[[float], float] = lambda t: 0.006 * float(np.sin(1.3 * t))
    side: float = 0.0
    scene_light: Callable[[float], tuple[float, float, float]] | None = None
    scene_noise: float = 0.0
    noise: float = 1.5
    step_s: float | None = None
    hand_s: tuple[float, float] | None = None


_DAY, _EVENING = (1.0, 1.0, 1.0), (0.5, 0.4, 0.3)
_DIM, _WARM = (0.45, 0.52, 0.62), (1.25, 1.0, 0.7)


def _step_to_warm(t: float) -> tuple[float, float, float]:
    return _DIM if t < 2.0 else _WARM


def _step_to_dim(t: float) -> tuple[float, float, float]:
    return _WARM if t < 2.0 else _DIM


def _evening_from_2_s(t: float) -> tuple[float, float, float]:
    return _DAY if t < 2.0 else _EVENING


def _cloud(t: float) -> tuple[float, float, float]:
    share = min(max((t - 1) / 4, 0), 1)
    red, green, blue = (a + share * (b - a) for a, b in zip(_DIM, _WARM, strict=True))
    return red, green, blue


SCRIPTS: dict[str, Script] = {
    "lamp on": Script(5.0, _step_to_warm, step_s=2.0),
    "lamp off": Script(5.0, _step_to_dim, step_s=2.0),
    "cloud": Script(6.0, _cloud),
    "noise": Script(4.0, lambda t: _DIM, noise=6.0),
    "walk": Script(5.0, lambda t: _WARM, shift=lambda t: 0.12 * float(np.sin(1.6 * t)), side=1.5),
    "hand": Script(4.0, lambda t: _WARM, hand_s=(2.0, 2.15)),
    "scene": Script(5.0, lambda t: _DAY, scene_light=_evening_from_2_s, scene_noise=4.0, step_s=2.0),
    "scene noise": Script(4.0, lambda t: _DIM, scene_light=lambda t: _DAY, scene_noise=8.0),
}
"""Name -> what happens: steps of light, a slow drift, noise, a person who walks under light from the side, a hand that
passes before the lens, a video behind the person whose light changes at once, and one that is only noisy."""


def load_portrait(path: Path) -> Portrait:
    """A portrait whose matte lies beside it as ``NAME.png``.

    Raises:
        InputError: One of the two cannot be read, they differ in size, or nobody is in the matte.
    """
    rgb, alpha = read_image(path), read_mask(path.with_suffix(".png"))
    if rgb.shape[:2] != alpha.shape:
        raise InputError(f"{path} is {rgb.shape[:2]}, its matte {alpha.shape}; expected the same size")
    if not (alpha > _PERSON).any():
        raise InputError(f"{path}: nobody is in its matte")
    return _portrait(rgb, alpha)


def demo_portrait() -> Portrait:
    """The built-in portrait, cut out by the default segmenter."""
    with closing(DemoSource((_LINES * 4 // 3, _LINES))) as source, closing(Config().build().segmenter) as segmenter:
        source.open()
        segmenter.open()
        frame = source.read()
        assert frame is not None
        return _portrait(frame.rgb, segmenter.segment(frame).require_alpha())


def _portrait(rgb: U8Array, alpha: U8Array) -> Portrait:
    scale = _LINES / rgb.shape[0]
    size_wh = (round(rgb.shape[1] * scale / 2) * 2, _LINES)
    photo = np.asarray(cv2.resize(rgb, size_wh, interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)
    matte = np.asarray(cv2.resize(alpha, size_wh, interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)
    return Portrait(photo, matte, _without_person(photo, matte))


def _without_person(photo: F32Array, matte: F32Array) -> F32Array:
    """The background, with blurred background where the person was; blurred ever wider until everything is filled."""
    far = np.asarray(matte < 0.02, np.uint8)
    room = np.asarray(cv2.erode(far, np.ones((5, 5), np.uint8)), np.float32)
    filled, known = photo * room[..., None], room
    for sigma in (4, 12, 36, 108):
        weight = np.asarray(cv2.GaussianBlur(known, (0, 0), sigma), np.float32)
        color = np.asarray(cv2.GaussianBlur(filled, (0, 0), sigma), np.float32) / np.maximum(weight, 1e-6)[..., None]
        share = np.clip(weight * 4, 0, 1) * (1 - known)
        filled = filled + share[..., None] * color
        known = known + share
    return np.asarray(filled / np.maximum(known, 1e-6)[..., None], np.float32)


def play(portrait: Portrait, script: Script, *, fps: float = 30.0) -> Iterator[Take]:
    """The frames of a script with their exact mattes and truths."""
    rng = np.random.default_rng(_SEED)
    still = freeze(_u8(portrait.scene))
    height, width = portrait.alpha.shape
    across = np.linspace(-0.5, 0.5, width, dtype=np.float32)
    columns = portrait.alpha.sum(axis=0)
    middle = float((columns * across).sum() / columns.sum())
    side = np.exp(np.float32(script.side) * (across - np.float32(middle)))[None, :, None]
    for index in range(round(script.seconds * fps)):
        t = index / fps
        plain, room, scene = portrait.rgb, portrait.scene, still
        if script.scene_light is not None:
            plain, room = _lit(plain, script.scene_light(t)), _lit(room, script.scene_light(t))
            flutter = rng.normal(0, script.scene_noise / 2, 3) + rng.normal(0, script.scene_noise, room.shape)
            scene = freeze(_u8(np.asarray(room + flutter / 255, np.float32)))
        person = _lit(portrait.rgb, script.light(t), side)
        pixels = script.shift(t) * width
        person, plain = _shifted(person, pixels), _shifted(plain, pixels)
        alpha = _shifted(portrait.alpha, pixels)[..., None]
        if script.hand_s is not None and script.hand_s[0] <= t < script.hand_s[1]:
            hand = _hand(height, width)[..., None]
            skin = np.array(_HAND_RGB, np.float32)
            person = person * (1 - hand) + hand * np.clip(skin * np.array(script.light(t), np.float32), 0, 1)
            plain = plain * (1 - hand) + hand * skin
            alpha = np.maximum(alpha, hand)
        truth = plain * alpha + room * (1 - alpha)
        seen = person * alpha + portrait.scene * (1 - alpha)
        noisy = np.asarray(seen + rng.normal(0, script.noise / 255, seen.shape), np.float32)
        frame = Frame(freeze(_u8(noisy)), round(t * 1e9)).with_alpha(_u8(np.ascontiguousarray(alpha[..., 0])))
        yield Take(frame, scene, freeze(_u8(truth)))


def _lit(rgb: F32Array, gains: tuple[float, float, float], side: F32Array | None = None) -> F32Array:
    """A picture, encoded, in another light: gains of linear R, G, B, and perhaps of each column."""
    if gains == _DAY and side is None:
        return rgb
    light = linear_from_encoded(rgb) * np.array(gains, np.float32) * (np.float32(1) if side is None else side)
    return np.clip(encoded_from_linear(np.clip(light, 0, 1)), 0, 1)


def _shifted(picture: F32Array, pixels: float) -> F32Array:
    """A picture moved to the right; its borders are repeated."""
    matrix = np.array([[1, 0, pixels], [0, 1, 0]], np.float32)
    size_wh = picture.shape[1], picture.shape[0]
    return np.asarray(cv2.warpAffine(picture, matrix, size_wh, borderMode=cv2.BORDER_REPLICATE), np.float32)


def _hand(height: int, width: int) -> F32Array:
    hand = np.zeros((height, width), np.float32)
    cv2.ellipse(hand, (width // 2, height // 2), (width // 3, height // 3), 20, 0, 360, 1.0, -1)
    return np.asarray(cv2.GaussianBlur(hand, (0, 0), height / 60), np.float32)


def _u8(picture: F32Array) -> U8Array:
    return np.asarray(np.clip(picture * np.float32(255) + np.float32(0.5), 0, 255), np.uint8)
