"""Sheets of pictures to look at: benchmark pairs, and real composites as they are, corrected, and at half strength.

``python -m training.sheets --data DATA --out DIR live.onnx`` makes the second kind.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.arguments import positive
from training.benchmarks import BENCHMARKS, Photo, pairs
from training.data.cache import list_portraits
from training.data.illuminants import Lights
from training.data.pictures import write_picture
from training.data.scenes import RealComposite, list_scenes, real_composites
from training.metrics import binarize, blend, score_images
from training.parameters import Parameters
from training.predictors import LivePredictor, Predictor, load_live

__all__ = ["benchmark_sheets", "composite_sheets", "save_sheet", "weakened"]

F32Array = NDArray[np.float32]

SHEET_MASK = "call"
"""The mask of benchmark sheets."""

MARGIN = 22
"""Pixels above each picture for its name."""

ROWS = 10
"""Rows of a contact sheet."""


def weakened(parameters: Parameters, strength: float) -> Parameters:
    """A correction on the way from the identity, 0, to its whole, 1; as the runtime's strength."""
    neutral = Parameters.identity()
    return Parameters(
        neutral.matrix + strength * (parameters.matrix - neutral.matrix),
        neutral.curves + strength * (parameters.curves - neutral.curves),
        strength * parameters.log_gain,
    )


def _titled(picture: F32Array, title: str) -> F32Array:
    bar = np.full((MARGIN, picture.shape[1], 3), 255, np.uint8)
    shown = title.encode("utf-8", "replace").decode()  # of a file whose name is no UTF-8, which OpenCV does not survive
    cv2.putText(bar, shown, (4, MARGIN - 7), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([bar.astype(np.float32) / np.float32(255), picture])


def save_sheet(path: Path, rows: Sequence[Sequence[tuple[str, F32Array]]]) -> None:
    """Write rows of named pictures, all of one size, as one PNG.

    Args:
        path: Ends in ``.png``.
        rows: Each a sequence of (title, (H, W, 3) float32 0..1 RGB).

    Raises:
        OSError: It cannot be written.
    """
    sheet = np.concatenate([np.concatenate([_titled(p, title) for title, p in row], axis=1) for row in rows])
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picture(path, np.rint(sheet * 255).clip(0, 255).astype(np.uint8))


def benchmark_sheets(
    predictors: Sequence[Predictor], photos: Sequence[Photo], lights: Lights, out: Path, count: int, *, seed: int = 0
) -> list[Path]:
    """One sheet for each benchmark: composite, every prediction with its fMSE, truth.

    Args:
        predictors: The first is the composite itself.
        photos: Evenly thinned to `count`.
        lights: Measured lights.
        out: Folder.
        count: Rows of a sheet.
        seed: Of the benchmark.
    """
    chosen = [photos[i * len(photos) // count] for i in range(min(count, len(photos)))]
    paths = []
    for benchmark in BENCHMARKS:
        rows = []
        for pair in pairs(chosen, benchmark, SHEET_MASK, lights, seed):
            row = []
            for predictor in predictors:
                picture = blend(predictor.predict(pair), pair.composite, pair.mask)
                scores = score_images(picture[None] * 255, pair.truth[None] * 255, binarize(pair.mask[None]))
                row.append((f"{predictor.name} {scores['fmse'][0]:.0f}", picture))
            rows.append([*row, ("truth", pair.truth)])
        paths.append(out / f"sheet-{benchmark}.png")
        save_sheet(paths[-1], rows)
    return paths


def composite_sheets(model: LivePredictor, composites: Sequence[RealComposite], out: Path) -> list[Path]:
    """Contact sheets of real composites: plain, corrected, and corrected at half strength.

    Returns:
        The files, ten composites each.
    """
    rows = []
    for composite in composites:
        parameters = model.parameters(composite.rgb, composite.alpha)
        row = [(composite.name[:48], composite.rgb)]
        for title, strength in ((model.name, 1.0), ("strength 0.5", 0.5)):
            picture = weakened(parameters, strength).apply(composite.rgb)
            row.append((title, blend(picture, composite.rgb, composite.alpha)))
        rows.append(row)
    paths = []
    for start in range(0, len(rows), ROWS):
        paths.append(out / f"composites-{start // ROWS + 1}.png")
        save_sheet(paths[-1], rows[start : start + ROWS])
    return paths


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, or 3 when data or model cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m training.sheets", description="Contact sheets of real composites.")
    parser.add_argument("model", type=Path, help="a live model, .onnx or .safetensors")
    parser.add_argument("--data", type=Path, required=True, help="folder with portraits/val and backgrounds")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=positive, default=40)
    parser.add_argument(
        "--size", type=positive, nargs=2, default=(384, 256), metavar=("WIDTH", "HEIGHT"), help="pixels"
    )
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(argv)
    try:
        model = load_live(options.model)
        people = list_portraits(options.data / "portraits" / "val")
        scenes = list_scenes(options.data / "backgrounds")
        made = real_composites(people, scenes, options.count, size_wh=tuple(options.size), seed=options.seed)
        paths = composite_sheets(model, made, options.out)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 3
    sys.stdout.write("".join(f"{path}\n" for path in paths))
    return 0


if __name__ == "__main__":
    sys.exit(main())
