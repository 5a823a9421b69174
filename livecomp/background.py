"""What stands behind the person: a picture, a video, a colour, or, by explicit choice, the blurred room."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol

import cv2
import numpy as np

from livecomp.errors import ConfigError, InputError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.media.dusk import draw_dusk
from livecomp.media.image import IMAGE_SUFFIXES, read_image
from livecomp.media.video import VideoReader

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

_COLORS = {
    "black": (0, 0, 0),
    "blue": (0, 0, 255),
    "gray": (128, 128, 128),
    "green": (0, 128, 0),
    "grey": (128, 128, 128),
    "red": (255, 0, 0),
    "white": (255, 255, 255),
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
            frame: Gives size and time; its pixels are used by `BlurBackground` alone.

        Returns:
            (H, W, 3) uint8 sRGB of the frame's size, read-only.

        Raises:
            InputError: The rest of a video cannot be decoded.
        """
        ...

    def close(self) -> None:
        """Release it; harmless when repeated."""
        ...


def open_background(spec: str | Path, fit: Fit = "cover") -> Background:
    """The background that a user named, not yet open.

    Args:
        spec: A picture, a video, "#rrggbb" or a colour's name, "demo", "blur", or "blur:S" with a strength S of 0..1.
        fit: How a picture of another shape fills the frame.

    Raises:
        ConfigError: It is none of these.
    """
    text = str(spec)
    path = Path(spec)
    if text == "demo":
        return PictureBackground(text, draw_dusk, fit)
    if match := re.fullmatch(r"blur(?::([01](?:\.\d+)?|\.\d+))?", text):
        strength = float(match[1] or 0.5)
        if strength > 1:
            raise ConfigError(f"the strength of a blur is 0..1, received {strength}")
        return BlurBackground(strength)
    if match := re.fullmatch(r"#([0-9a-fA-F]{6})", text):
        red, green, blue = bytes.fromhex(match[1])
        return ColorBackground((red, green, blue), text)
    if text.lower() in _COLORS and not path.exists():
        return ColorBackground(_COLORS[text.lower()], text)
    if not path.exists():
        known = ", ".join(sorted(_COLORS))
        raise ConfigError(f"no background {text!r}: expected a file, '#rrggbb', {known}, blur or demo")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        return PictureBackground(text, lambda: read_image(path), fit)
    return VideoBackground(path, fit)


def fit_to(rgb: U8Array, size_wh: tuple[int, int], fit: Fit) -> U8Array:
    """Scale a picture to a size.

    Args:
        rgb: (h, w, 3) uint8.
        size_wh: Width and height wanted, in pixels.
        fit: "cover" fills and cuts off what is too much, "contain" shows all with black bars, "stretch" distorts.

    Returns:
        (H, W, 3) uint8 of that size, read-only.
    """
    width, height = size_wh
    source_height, source_width = rgb.shape[:2]
    if (source_width, source_height) == size_wh:
        return freeze(rgb)
    if fit == "stretch":
        return freeze(_resize(rgb, size_wh))
    ratios = (width / source_width, height / source_height)
    if fit == "cover":
        scale = max(ratios)
        cut_width = min(source_width, max(1, round(width / scale)))
        cut_height = min(source_height, max(1, round(height / scale)))
        left, top = (source_width - cut_width) // 2, (source_height - cut_height) // 2
        return freeze(_resize(rgb[top : top + cut_height, left : left + cut_width], size_wh))
    scale = min(ratios)
    inner = _resize(rgb, (max(1, round(source_width * scale)), max(1, round(source_height * scale))))
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
    """A still picture, scaled once for each frame size.

    Args:
        name: What to call it.
        load: Gives the picture, (h, w, 3) uint8 sRGB; called by `open`.
        fit: See `fit_to`.
    """

    is_moving = False

    def __init__(self, name: str, load: Callable[[], U8Array], fit: Fit = "cover") -> None:
        self.name = name
        self._load = load
        self._fit = fit
        self._picture: U8Array | None = None
        self._ready = np.zeros((0, 0, 3), np.uint8)

    def open(self) -> None:
        """See `Background.open`."""
        self._picture = self._load()

    def render(self, frame: Frame) -> U8Array:
        """See `Background.render`."""
        if self._ready.shape != frame.rgb.shape:
            if self._picture is None:
                raise InputError(f"the background {self.name} is not open")
            self._ready = fit_to(self._picture, frame.size_wh, self._fit)
        return self._ready

    def close(self) -> None:
        """See `Background.close`."""
        self._picture = None
        self._ready = np.zeros((0, 0, 3), np.uint8)


class VideoBackground:
    """A video that runs with the frames' own time and starts over at its end.

    It shows the picture that is current at the frame's time: slower backgrounds hold, faster ones skip. Time that jumps
    back, as another source does, starts it over.

    Args:
        path: A video.
        fit: See `fit_to`.
    """

    is_moving = True

    def __init__(self, path: Path, fit: Fit = "cover") -> None:
        self.name = str(path)
        self._fit = fit
        self._reader = VideoReader(path, threads=1)
        self._current: U8Array | None = None
        self._next: tuple[U8Array, int] | None = None
        self._loop_start_ns = 0
        self._last_ns = 0
        self._ready = np.zeros((0, 0, 3), np.uint8)

    def open(self) -> None:
        """See `Background.open`."""
        self._reader.open()
        self._next = self._reader.read()
        self._current = None

    def render(self, frame: Frame) -> U8Array:
        """See `Background.render`."""
        if self._next is None:
            raise InputError(f"the background {self.name} is not open")
        if self._current is None or frame.pts_ns < self._last_ns:
            if self._current is not None:
                self._reader.rewind()
                self._next = self._reader.read()
                assert self._next is not None
            self._loop_start_ns = frame.pts_ns - self._next[1]
        self._last_ns = frame.pts_ns
        changed = self._ready.shape != frame.rgb.shape
        while self._next[1] + self._loop_start_ns <= frame.pts_ns:
            self._current, shown_ns = self._next
            changed = True
            self._next = self._reader.read()
            if self._next is None:
                self._reader.rewind()
                self._next = self._reader.read()
                assert self._next is not None
                frame_ns = round(1_000_000_000 / self._reader.info.fps)
                self._loop_start_ns += shown_ns + frame_ns - self._next[1]
        assert self._current is not None
        if changed:
            self._ready = fit_to(self._current, frame.size_wh, self._fit)
        return self._ready

    def close(self) -> None:
        """See `Background.close`."""
        self._reader.close()
        self._current = self._next = None


class BlurBackground:
    """The room itself, blurred. The only background that shows anything of the room, and only when asked for by name.

    The blur is computed on a small copy, so that details are gone for good, whatever the strength.

    Args:
        strength: 0..1; the blur's standard deviation is 1 % to 8 % of the picture's height.
    """

    is_moving = False
    name = "blur"

    def __init__(self, strength: float = 0.5) -> None:
        self._strength = strength

    def open(self) -> None:
        """See `Background.open`."""

    def render(self, frame: Frame) -> U8Array:
        """See `Background.render`."""
        width, height = frame.size_wh
        small_height = min(height, 90)
        small_wh = (max(1, round(width * small_height / height)), small_height)
        small = cv2.resize(frame.rgb, small_wh, interpolation=cv2.INTER_AREA)
        sigma = max(0.5, (0.01 + 0.07 * self._strength) * small_height)
        blurred = cv2.GaussianBlur(small, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE)
        return freeze(np.asarray(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8))

    def close(self) -> None:
        """See `Background.close`."""
