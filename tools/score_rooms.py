"""Score what segmentation models take for a person in pictures with nobody in them, which a call would show.

Each picture is cut out as the first frame of a call is, at 720 lines::

    python -m tools.score_rooms ../shared/data/backgrounds/houses ../shared/data/backgrounds/scenes --every 3

The share of a picture that is shown is the mean of its alpha; refused are pictures that a call answers with the slate.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from livecomp.errors import LiveCompError, MatteError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.media.image import read_image
from livecomp.segment.registry import MATTE_MODELS, make_segmenter
from training.arguments import positive

_LINES = 720


def shares(name: str, rooms: list[U8Array]) -> list[float | None]:
    """The share of each picture that is shown, 0..1; None where the matte is refused.

    Args:
        name: Of the segmentation model.
        rooms: Pictures, each (H, W, 3) uint8 sRGB.
    """
    segmenter = make_segmenter(name, matte_filter=None)
    segmenter.open()
    found: list[float | None] = []
    try:
        for rgb in rooms:
            segmenter.reset()
            try:
                found.append(float(segmenter.segment(Frame(rgb, 0)).require_alpha().mean()) / 255)
            except MatteError:
                found.append(None)
    finally:
        segmenter.close()
    return found


def main(arguments: list[str] | None = None) -> None:
    """Print one row a model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders with pictures of empty rooms, .jpg and .png")
    parser.add_argument("--models", nargs="+", default=["landscape", "both"], choices=list(MATTE_MODELS))
    parser.add_argument("--every", type=positive, default=1, help="use every n-th picture")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    paths = sorted(path for folder in options.folders for kind in ("*.jpg", "*.png") for path in folder.glob(kind))
    if not paths:
        parser.error("no .jpg and no .png in the folders")
    try:
        _score([_at_720_lines(read_image(path)) for path in paths[:: options.every]], options.models)
    except LiveCompError as error:
        raise SystemExit(str(error)) from None


def _score(rooms: list[U8Array], models: list[str]) -> None:
    print(f"{len(rooms)} pictures at {_LINES} lines\n")
    print("| model | shows over 0.1 % | over 5 % | most | refused |")
    print("|---|---|---|---|---|")
    for name in models:
        found = shares(name, rooms)
        shown = np.array([share for share in found if share is not None])
        print(
            f"| {name} | {(shown > 0.001).sum()} | {(shown > 0.05).sum()} | {shown.max(initial=0):.0%} "
            f"| {len(found) - len(shown)} |",
            flush=True,
        )


def _at_720_lines(rgb: U8Array) -> U8Array:
    size = (round(rgb.shape[1] * _LINES / rgb.shape[0]), _LINES)
    return freeze(np.ascontiguousarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8))


if __name__ == "__main__":
    main()
