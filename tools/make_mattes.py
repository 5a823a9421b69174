"""Make mattes for photographs of people, so that they can be trained on.

Writes NAME.png beside each NAME.jpg, 8 bits, 255 = person; those that are there stay as they are::

    python -m tools.make_mattes portraits/train --segmenter rvm

A photograph gets no matte, and is named, where the person fills too little or too much of it or has no sure outline.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
from rich.progress import track

from livecomp.errors import InputError, LiveCompError, MatteError
from livecomp.frame import Frame, U8Array
from livecomp.media.image import read_image, write_image
from livecomp.paths import exists
from livecomp.segment import Segmenter
from livecomp.segment.registry import make_segmenter

__all__ = ["main", "make_matte"]

_LOOKS = 2  # rvm, made for video, has a better matte of a picture that it has seen before
_PERSON = (0.04, 0.95)
_MOST_UNSURE = 0.5


def make_matte(segmenter: Segmenter, rgb: U8Array) -> U8Array:
    """The matte of one photograph.

    Args:
        segmenter: Open.
        rgb: (H, W, 3) uint8 sRGB, read-only.

    Returns:
        (H, W) uint8, 255 = person.

    Raises:
        MatteError: There is none that could be trained on.
    """
    segmenter.reset()
    for look in range(_LOOKS):
        alpha = segmenter.segment(Frame(rgb, look)).require_alpha()
    share = float((alpha > 127).mean())
    if not _PERSON[0] <= share <= _PERSON[1]:
        raise MatteError(f"the person fills {share:.1%} of the picture; expected {_PERSON[0]:.0%} to {_PERSON[1]:.0%}")
    unsure = float(((alpha > 25) & (alpha < 230)).mean()) / share
    if unsure > _MOST_UNSURE:
        raise MatteError(f"{unsure:.0%} as much as the person is undecided; expected at most {_MOST_UNSURE:.0%}")
    return alpha


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns 0, 3 when no photograph has a matte, or the exit code of `livecomp` for an error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photographs", type=Path, help="folder with .jpg and .jpeg")
    parser.add_argument("--segmenter", default="both", choices=["both", "general", "landscape", "rvm"])
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    photographs = sorted(p for p in options.photographs.glob("*") if p.suffix.lower() in (".jpg", ".jpeg"))
    if not photographs:
        parser.error(f"no .jpg and no .jpeg in {options.photographs}")
    wanted = [path for path in photographs if not exists(path.with_suffix(".png"))]
    segmenter = make_segmenter(options.segmenter, matte_filter=None)
    try:
        segmenter.open()
        skipped = _make_all(segmenter, wanted)
    except LiveCompError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    finally:
        segmenter.close()
    made = len(wanted) - len(skipped)
    print(f"{made} mattes made, {len(photographs) - len(wanted)} were there, {len(skipped)} photographs have none")
    for path, reason in skipped.items():
        print(f"  {path.name}: {reason}")
    return 0 if len(skipped) < len(photographs) else 3


def _make_all(segmenter: Segmenter, photographs: list[Path]) -> dict[Path, str]:
    """Photographs that get no matte, with the reason."""
    skipped: dict[Path, str] = {}
    for path in track(photographs, "mattes", disable=not sys.stderr.isatty()):
        try:
            alpha = make_matte(segmenter, read_image(path))
        except (InputError, MatteError) as error:
            skipped[path] = str(error)
        else:
            write_image(path.with_suffix(".png"), np.repeat(alpha[..., None], 3, axis=2))
    return skipped


if __name__ == "__main__":
    sys.exit(main())
