r"""Score what segmentation models take for a person in pictures with nobody in them, which would show the room.

Each picture is cut out as a first frame at 720 lines, as in files and as in calls, where what neither has a face nor
moves is hidden. With `--people`, portraits are cut out too, to see whom calls hide until they move::

    python -m tools.score_rooms ../shared/data/backgrounds/houses ../shared/data/backgrounds/scenes --every 3 \
        --people ../shared/data/portraits/val

The share of a picture that is shown is the mean of its alpha; refused are pictures that a call answers with the slate.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np

from livecomp.errors import LiveCompError, MatteError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.media.image import read_image
from livecomp.segment.presence import PresenceFilter
from livecomp.segment.registry import MATTE_MODELS, make_segmenter
from training.arguments import positive

_LINES = 720
_SOMETHING = 0.001


def shares(name: str, pictures: Iterable[U8Array], presence: PresenceFilter | None = None) -> list[float | None]:
    """The share of each picture that is shown, 0..1; None where the matte is refused.

    Args:
        name: Of the segmentation model.
        pictures: Each (H, W, 3) uint8 sRGB.
        presence: As in calls, open; None as in files.
    """
    segmenter = make_segmenter(name, matte_filter=None, presence=presence)
    segmenter.open()
    found: list[float | None] = []
    try:
        for rgb in pictures:
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
    parser.add_argument("--people", type=Path, nargs="+", default=[], help="folders with portraits, .jpg")
    parser.add_argument("--models", nargs="+", default=["landscape", "both"], choices=list(MATTE_MODELS))
    parser.add_argument("--every", type=positive, default=1, help="use every n-th picture")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    rooms, people = _paths(options.folders, "*.jpg", "*.png")[:: options.every], _paths(options.people, "*.jpg")
    if not rooms:
        parser.error("no .jpg and no .png in the folders")
    if options.people and not people:
        parser.error("no .jpg in the folders of --people")
    presence = PresenceFilter()
    try:
        with closing(presence):
            presence.open()
            _score_rooms(rooms, options.models, presence)
            if people:
                _score_people(people, options.models, presence)
    except LiveCompError as error:
        raise SystemExit(str(error)) from None


def _paths(folders: list[Path], *kinds: str) -> list[Path]:
    return sorted(path for folder in folders for kind in kinds for path in folder.glob(kind))


def _score_rooms(paths: list[Path], models: list[str], presence: PresenceFilter) -> None:
    print(f"{len(paths)} pictures at {_LINES} lines\n")
    print("| model | in | shows over 0.1 % | over 5 % | most | refused |")
    print("|---|---|---|---|---|---|")
    for name in models:
        for where, used in (("files", None), ("calls", presence)):
            found = shares(name, _pictures(paths), used)
            shown = np.array([share for share in found if share is not None])
            print(
                f"| {name} | {where} | {(shown > _SOMETHING).sum()} | {(shown > 0.05).sum()} "
                f"| {shown.max(initial=0):.0%} | {len(found) - len(shown)} |",
                flush=True,
            )


def _score_people(paths: list[Path], models: list[str], presence: PresenceFilter) -> None:
    print("\n| model | portraits | hidden until they move |")
    print("|---|---|---|")
    for name in models:
        cut_out = [share or 0 for share in shares(name, _pictures(paths))]
        shown = [share or 0 for share in shares(name, _pictures(paths), presence)]
        pairs = [(before, after) for before, after in zip(cut_out, shown, strict=True) if before > _SOMETHING]
        print(f"| {name} | {len(pairs)} | {sum(after < before / 2 for before, after in pairs)} |", flush=True)


def _pictures(paths: list[Path]) -> Iterator[U8Array]:
    return (_at_720_lines(read_image(path)) for path in paths)


def _at_720_lines(rgb: U8Array) -> U8Array:
    size = (round(rgb.shape[1] * _LINES / rgb.shape[0]), _LINES)
    return freeze(np.ascontiguousarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8))


if __name__ == "__main__":
    main()
