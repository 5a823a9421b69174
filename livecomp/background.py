"""What stands behind the person: a picture, a video, a colour, or, by explicit choice, the blurred room."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np
from av.video.frame import VideoFrame

from livecomp.errors import ConfigError, InputError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.media.chunks import is_animated
from livecomp.media.defocus import defocused
from livecomp.media.dusk import draw_dusk
from livecomp.media.image import READ_SUFFIXES, read_image
from livecomp.media.video import VideoReader
from livecomp.paths import exists

__all__ = [
    "Background",
    "BlurBackground",
    "ColorBackground",
    "Fit",
    "PictureBackground",
    "VideoBackground",
    "fit_to",
    "open_background",
]

Fit = Literal["cover", "contain", "stretch"]

_BLUR_LINES = 90
_LEAST_ROOM = 1e-4  # weight of a pixel that is all person: what fills the middle of a person who fills the picture

# The sixteen basic names of CSS, and the other spelling of one.
_COLORS = {
    "aqua": (0, 255, 255),
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "fuchsia": (255, 0, 255),
    "gray": (128, 128, 128),
    "green": (0, 128, 0),
    "grey": (128, 128, 128),
    "lime": (0, 255, 0),
    "maroon": (128, 0, 0),
    "navy": (0, 0, 128),
    "olive": (128, 128, 0),
    "purple": (128, 0, 128),
    "red": (255, 0, 0),
    "silver": (192, 192, 192),
    "teal": (0, 128, 128),
    "white": (255, 255, 255),
    "yellow": (255, 255, 0),
}


class Background(Protocol):
    """Gives the scene for each frame. Constructors only store; `close` may be called twice."""

    @property
    def name(self) -> str:
        """What to call it in messages."""
        ...

    @property
    def is_moving(self) -> bool:
        """Whether it changes from frame to frame."""
        ...

    def open(self) -> None:
        """Load it.

        Raises:
            InputError: A file is missing, damaged or of an unsupported kind.
        """
        ...

    def render(self, frame: Frame) -> U8Array:
        """The scene behind a frame.

        Args:
            frame: Gives size, shape of a pixel and time; its pixels and matte are used by `BlurBackground` alone.

        Returns:
            (H, W, 3) uint8 sRGB of the frame's size, read-only.

        Raises:
            InputError: The rest of a video cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Release it; harmless when repeated."""
        ...


def open_background(spec: str | Path, fit: Fit = "cover", defocus: float = 0.0) -> Background:
    """The background that a user named, not yet open.

    Args:
        spec: A picture, a video or an animated PNG or GIF, "#rrggbb", "#rgb" or a colour's name in CSS, "demo",
            "blur", or "blur:S" with a strength S of 0..1.
        fit: How a picture of another shape fills the frame.
        defocus: How far a picture or a video is out of focus, 0..1, see `defocused`.

    Raises:
        ConfigError: It is none of these.
    """
    text = str(spec)
    path = Path(spec)
    if text == "demo":
        return PictureBackground(text, draw_dusk, fit, defocus)
    if not exists(path) and (text == "blur" or text.startswith("blur:")):
        return BlurBackground(_blur_strength(text))
    if match := re.fullmatch(r"#([0-9a-fA-F]{6}|[0-9a-fA-F]{3})", text):
        digits = match[1] if len(match[1]) == 6 else "".join(2 * digit for digit in match[1])
        red, green, blue = bytes.fromhex(digits)
        return ColorBackground((red, green, blue), text)
    if text.lower() in _COLORS and not exists(path):
        return ColorBackground(_COLORS[text.lower()], text)
    if not text or not exists(path):  # an empty path would be the current folder
        known = ", ".join(sorted(_COLORS))
        raise ConfigError(
            f"no background {text!r}: expected a file that you may read, '#rrggbb', {known}, blur or demo"
        )
    if path.suffix.lower() in READ_SUFFIXES and not _is_animated_png(path):
        return PictureBackground(text, lambda: read_image(path), fit, defocus)
    return VideoBackground(path, fit, defocus)


def _is_animated_png(path: Path) -> bool:
    """Whether a picture plays as a video does: FFmpeg reads no other kind that moves and has a picture's name."""
    try:
        return path.suffix.lower() == ".png" and is_animated(path.read_bytes())
    except OSError:  # opening it says what is wrong
        return False


def _blur_strength(text: str) -> float:
    given = text.partition(":")[2]
    try:
        strength = float(given) if ":" in text else 0.5
    except ValueError:
        strength = math.nan
    if not 0 <= strength <= 1:
        raise ConfigError(f"the strength of a blur is a number from 0 to 1, such as blur:0.5; received {given!r}")
    return strength


def fit_to(rgb: U8Array, size_wh: tuple[int, int], fit: Fit, aspect: Fraction = Fraction(1)) -> U8Array:
    """Scale a picture to a size.

    Args:
        rgb: (h, w, 3) uint8.
        size_wh: Width and height wanted, in pixels.
        fit: "cover" fills and cuts off what is too much, "contain" shows all with black bars, "stretch" distorts.
        aspect: Width to height of a pixel of the picture, as parts of those of a pixel of the result.

    Returns:
        (H, W, 3) uint8 of that size, read-only.
    """
    width, height = size_wh
    source_height, source_width = rgb.shape[:2]
    if (source_width, source_height) == size_wh and aspect == 1:
        return freeze(rgb)
    if fit == "stretch":
        return freeze(_resize(rgb, size_wh))
    shown_width = source_width * float(aspect)
    ratios = (width / shown_width, height / source_height)
    if fit == "cover":
        scale = max(ratios)
        cut_width = min(source_width, max(1, round(width / scale / float(aspect))))
        cut_height = min(source_height, max(1, round(height / scale)))
        left, top = (source_width - cut_width) // 2, (source_height - cut_height) // 2
        return freeze(_resize(rgb[top : top + cut_height, left : left + cut_width], size_wh))
    scale = min(ratios)
    inner = _resize(rgb, (max(1, round(shown_width * scale)), max(1, round(source_height * scale))))
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - inner.shape[0]) // 2, (width - inner.shape[1]) // 2
    canvas[top : top + inner.shape[0], left : left + inner.shape[1]] = inner
    return freeze(canvas)


def _resize(rgb: U8Array, size_wh: tuple[int, int]) -> U8Array:
    shrinking = size_wh[0] * size_wh[1] < rgb.shape[0] * rgb.shape[1]
    method = cv2.INTER_AREA if shrinking else cv2.INTER_CUBIC
    return np.ascontiguousarray(cv2.resize(rgb, size_wh, interpolation=method), np.uint8)


class ColorBackground:
    """One colour everywhere.

    Args:
        rgb: The colour, 0..255.
        name: What to call it.
    """

    is_moving = False

    def __init__(self, rgb: tuple[int, int, int], name: str = "colour") -> None:
        self.name = name
        self._rgb = rgb
        self._ready = np.zeros((0, 0, 3), np.uint8)

    def open(self) -> None:
        """See `Background.open`."""

    def render(self, frame: Frame) -> U8Array:
        """See `Background.render`."""
        if self._ready.shape != frame.rgb.shape:
            self._ready = freeze(np.full(frame.rgb.shape, self._rgb, np.uint8))
        return self._ready

    def close(self) -> None:
        """See `Background.close`."""


class PictureBackground:
    """A still picture, scaled once for each size of frames and shape of their pixels.

    Args:
        name: What to call it.
        load: Gives the picture, (h, w, 3) uint8 sRGB; called by `open`.
        fit: See `fit_to`.
        defocus: See `defocused`.
    """

    is_moving = False

    def __init__(self, name: str, load: Callable[[], U8Array], fit: Fit = "cover", defocus: float = 0.0) -> None:
        self.name = name
        self._load = load
        self._fit = fit
        self._defocus = defocus
        self._picture: U8Array | None = None
        self._ready = np.zeros((0, 0, 3), np.uint8)
        self._ready_aspect = Fraction(1)

    def open(self) -> None:
        """See `Background.open`."""
        self._picture = self._load()

    def render(self, frame: Frame) -> U8Array:
        """See `Background.render`."""
        if self._ready.shape != frame.rgb.shape or self._ready_aspect != frame.sample_aspect_ratio:
            if self._picture is None:
                raise InputError(f"the background {self.name} is not open")
            fitted = fit_to(self._picture, frame.size_wh, self._fit, 1 / frame.sample_aspect_ratio)
            self._ready = defocused(fitted, self._defocus)
            self._ready_aspect = frame.sample_aspect_ratio
        return self._ready

    def close(self) -> None:
        """See `Background.close`."""
        self._picture = None
        self._ready = np.zeros((0, 0, 3), np.uint8)


class VideoBackground:
    """A video that runs with the frames' own time and starts over at its end.

    It shows the picture that is current at the frame's time: slower backgrounds hold, faster ones skip without
    converting what nobody sees, and whole rounds that nobody sees are not even decoded. Time that jumps back, as
    another source does, starts it over.

    Args:
        path: A video.
        fit: See `fit_to`.
        defocus: See `defocused`.
    """

    is_moving = True

    def __init__(self, path: Path, fit: Fit = "cover", defocus: float = 0.0) -> None:
        self.name = str(path)
        self._fit = fit
        self._defocus = defocus
        self._reader = VideoReader(path, threads=1)
        self._current: VideoFrame | None = None
        self._next: tuple[VideoFrame, int] | None = None
        self._loop_start_ns = 0
        self._loop_ns: int | None = None
        self._last_ns: int | None = None
        self._ready = np.zeros((0, 0, 3), np.uint8)
        self._ready_aspect = Fraction(1)

    def open(self) -> None:
        """See `Background.open`."""
        self._reader.open()
        self._next = self._reader.advance()
        self._current = self._loop_ns = self._last_ns = None

    def render(self, frame: Frame) -> U8Array:
        """See `Background.render`."""
        if self._next is None:
            raise InputError(f"the background {self.name} is not open")
        if self._last_ns is None or frame.pts_ns < self._last_ns:
            if self._last_ns is not None:
                self._next = self._restart()
            self._loop_start_ns = frame.pts_ns - self._next[1]
        self._last_ns = frame.pts_ns
        changed = self._ready.shape != frame.rgb.shape or self._ready_aspect != frame.sample_aspect_ratio
        while (late_ns := frame.pts_ns - self._loop_start_ns - self._next[1]) >= 0:
            if self._loop_ns is not None and late_ns >= self._loop_ns:
                self._loop_start_ns += late_ns // self._loop_ns * self._loop_ns
                continue
            changed = True
            self._current, shown_ns = self._next
            following = self._reader.advance()
            if following is None:
                following = self._restart()
                self._loop_ns = shown_ns + round(1_000_000_000 / self._reader.info.fps) - following[1]
                self._loop_start_ns += self._loop_ns
            self._next = following
        assert self._current is not None
        if changed:
            aspect = self._reader.info.sample_aspect_ratio / frame.sample_aspect_ratio
            fitted = fit_to(self._reader.convert(self._current), frame.size_wh, self._fit, aspect)
            self._ready = defocused(fitted, self._defocus)
            self._ready_aspect = frame.sample_aspect_ratio
        return self._ready

    def _restart(self) -> tuple[VideoFrame, int]:
        self._reader.rewind()
        first = self._reader.advance()
        assert first is not None
        return first

    def close(self) -> None:
        """See `Background.close`."""
        self._reader.close()
        self._current = self._next = self._last_ns = None
        self._ready = np.zeros((0, 0, 3), np.uint8)


class BlurBackground:
    """The room itself, blurred. The only background that shows anything of the room, and only when asked for by name.

    The blur is computed on a small copy, so that details are gone for good, whatever the strength. Where the frame has
    its matte, the person is left out, so that no ghost of them surrounds them.

    Args:
        strength: 0..1; the blur's standard deviation is 1 % to 8 % of the picture's height.
    """

    is_moving = True
    name = "blur"

    def __init__(self, strength: float = 0.5) -> None:
        self._strength = strength

    def open(self) -> None:
        """See `Background.open`."""

    def render(self, frame: Frame) -> U8Array:
        """See `Background.render`."""
        width, height = frame.size_wh
        small_height = min(height, _BLUR_LINES)
        small_wh = (max(1, round(width * small_height / height)), small_height)
        sigma = max(0.5, (0.01 + 0.07 * self._strength) * small_height)
        small = np.asarray(cv2.resize(frame.rgb, small_wh, interpolation=cv2.INTER_AREA), np.float32)
        if frame.alpha is None:
            room = np.ones(small.shape[:2], np.float32)
        else:
            alpha = np.asarray(cv2.resize(frame.alpha, small_wh, interpolation=cv2.INTER_AREA), np.float32)
            room = np.maximum(1 - alpha / 255, np.float32(_LEAST_ROOM))
        weighted = cv2.GaussianBlur(small * room[..., None], (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        weights = cv2.GaussianBlur(room, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        small = np.asarray(weighted, np.float32).reshape(*room.shape, 3) / weights[..., None]
        blurred = np.clip(small + 0.5, 0, 255).astype(np.uint8)
        return freeze(np.asarray(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8))

    def close(self) -> None:
        """See `Background.close`."""
