"""Score segmentation models on composites, whose alpha is exact by construction.

Each portrait is put over a scene with its own matte, at 1080 lines; the network sees the composite, and its matte is
compared with the one that made it: after plain bilinear upsampling, after refinement, and after removal of haze and
refinement::

    python -m tools.score_mattes --portraits ../shared/data/portraits/val --scenes ../shared/data/backgrounds/scenes

Conventions: SAD is the sum of absolute differences of alpha in 0..1, in thousands; gradient is the sum of squared
differences of the Gaussian gradient magnitude (sigma 1.4), a pixel; band is the mean absolute difference within
10 pixels of where the true alpha is undecided, times 1000; IoU at alpha 0.5. Means over pictures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from livecomp.errors import LiveCompError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.segment.registry import MATTE_MODELS, make_segmenter
from training.arguments import positive
from training.data.cache import PortraitFile, read_portrait
from training.data.pictures import read_rgb

F32Array = NDArray[np.float32]

_LINES = 1080
_WARM_UP_FRAMES = 6
"""How often a picture is shown to models that remember earlier ones."""


def composites(
    portraits: Path, scenes: Path, every: int, quality: int | None = None
) -> Iterator[tuple[U8Array, F32Array]]:
    """Pairs of a composite, (H, W, 3) uint8 RGB, and its exact alpha, (H, W) float32 0..1.

    Args:
        portraits: Folder with NAME.jpg and NAME.png.
        scenes: Folder with .jpg.
        every: Use every n-th portrait.
        quality: Of the JPEG in which a camera would have sent the composite, 1..100; None for no loss.
    """
    backgrounds = sorted(scenes.glob("*.jpg"))
    if not backgrounds:
        raise SystemExit(f"no .jpg in {scenes}")
    paths = sorted(portraits.glob("*.jpg"))
    if not paths:
        raise SystemExit(f"no .jpg in {portraits}")
    for index, path in enumerate(paths[::every]):
        try:
            portrait = read_portrait(PortraitFile(path, path.with_suffix(".png")))
            scene = np.ascontiguousarray(read_rgb(backgrounds[index % len(backgrounds)])[..., ::-1])
        except ValueError as error:
            raise SystemExit(str(error)) from None
        person, matte = np.ascontiguousarray(portrait[..., 2::-1]), np.ascontiguousarray(portrait[..., 3])
        size = (round(person.shape[1] * _LINES / person.shape[0]), _LINES)
        person = np.asarray(cv2.resize(person, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        alpha = cv2.resize(matte, size, interpolation=cv2.INTER_CUBIC).astype(np.float32) / np.float32(255)
        scale = max(size[0] / scene.shape[1], size[1] / scene.shape[0])
        wide = scale + 1e-3
        scene = np.asarray(cv2.resize(scene, None, fx=wide, fy=wide, interpolation=cv2.INTER_CUBIC), np.uint8)
        left = (scene.shape[1] - size[0]) // 2
        scene = scene[: size[1], left : left + size[0]]
        mixed = scene + (person.astype(np.float32) - scene) * alpha[..., None]
        bgr = mixed.round().astype(np.uint8)
        if quality is not None:
            sent = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
            bgr = np.asarray(cv2.imdecode(sent, cv2.IMREAD_COLOR), np.uint8)
        yield freeze(np.ascontiguousarray(bgr[..., ::-1])), alpha


def gradient(alpha: F32Array) -> F32Array:
    """Magnitude of the Gaussian gradient, sigma 1.4."""
    smooth = cv2.GaussianBlur(alpha, (0, 0), 1.4)
    dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    return cv2.magnitude(dx, dy).astype(np.float32, copy=False)


def score(alpha: U8Array, true: F32Array) -> tuple[float, float, float, float]:
    """SAD, gradient, band and IoU as at the top of this file."""
    found = alpha.astype(np.float32) / np.float32(255)
    error = np.abs(found - true)
    undecided = ((true > 0.02) & (true < 0.98)).astype(np.uint8)
    band = cv2.dilate(undecided, np.ones((21, 21), np.uint8)) > 0
    slope = float(((gradient(found) - gradient(true)) ** 2).sum())
    both, either = int(((found > 0.5) & (true > 0.5)).sum()), int(((found > 0.5) | (true > 0.5)).sum())
    return float(error.sum()) / 1e3, slope, float(error[band].mean()) * 1e3, both / max(1, either)


def main(arguments: list[str] | None = None) -> None:
    """Print one row a model and way of upsampling."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--portraits", type=Path, required=True, help="folder with NAME.jpg and NAME.png, its matte")
    parser.add_argument("--scenes", type=Path, required=True, help="folder with background pictures, .jpg")
    parser.add_argument("--models", nargs="+", default=["general", "landscape", "both"], choices=list(MATTE_MODELS))
    parser.add_argument("--every", type=positive, default=4, help="use every n-th portrait")
    parser.add_argument("--jpeg", type=int, metavar="QUALITY", help="compress the composites, as a camera does (1-100)")
    options = parser.parse_args(arguments)
    if options.jpeg is not None and not 1 <= options.jpeg <= 100:
        parser.error(f"--jpeg: expected 1 to 100, received {options.jpeg}")
    cv2.setNumThreads(1)
    pairs = list(composites(options.portraits, options.scenes, options.every, options.jpeg))
    print(f"{len(pairs)} composites at {_LINES} lines, one thread\n")
    print("| model | upsampling | SAD | gradient | band | IoU mean | IoU worst | CPU ms |")
    print("|---|---|---|---|---|---|---|---|")
    for name in options.models:
        for way, refine, clear in (
            ("bilinear", False, False),
            ("refined", True, False),
            ("cleared, refined", True, True),
        ):
            if clear and not MATTE_MODELS[name].clear:
                continue
            segmenter = make_segmenter(name, matte_filter=None, refine=refine, clear=clear)
            try:
                segmenter.open()
            except LiveCompError as error:
                raise SystemExit(f"{name}: {error}") from None
            rows, spent = [], 0.0
            for rgb, true in pairs:
                segmenter.reset()
                for repeat in range(_WARM_UP_FRAMES if name == "rvm" else 1):
                    started = time.process_time()
                    frame = segmenter.segment(Frame(rgb, repeat))
                    spent += (time.process_time() - started) if repeat == 0 else 0.0
                rows.append(score(frame.require_alpha(), true))
            segmenter.close()
            mean, worst = np.mean(rows, axis=0), min(row[3] for row in rows)
            print(
                f"| {name} | {way} | {mean[0]:.1f} | {mean[1]:.0f} | {mean[2]:.0f} | {mean[3]:.3f} | {worst:.2f} "
                f"| {spent / len(pairs) * 1e3:.1f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
