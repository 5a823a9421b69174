"""Scores models and baselines on the same pairs, in one table: ``python -m training.evaluate --data DATA MODEL ...``.

Writes ``scores.json`` and ``scores.md``: for each benchmark and mask of `training.benchmarks` the metrics of
`training.metrics`, the share of pictures that became better, and scores by foreground share and by skin tone. For a
neutral person in a cast scene it also compares the predicted mean shift of chroma with the true one.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from training.arguments import positive
from training.benchmarks import BENCHMARKS, MASKS, BenchmarkPair, Photo, load_photo, pairs
from training.data.cache import list_portraits
from training.data.iharmony4 import Harmony4
from training.data.illuminants import Lights, load_lights
from training.json_file import write_json
from training.predictors import Predictor, check_names, load_predictors
from training.scoreboard import Collected, Table, markdown, tabulate
from training.sheets import benchmark_sheets
from training.skin import skin_group

__all__ = ["evaluate", "harmony_pairs", "load_photos", "score_pairs"]

log = logging.getLogger(__name__)

F32Array = NDArray[np.float32]

SHIFT_BENCHMARKS = ("scene_cast", "scene_planck")
"""The benchmarks in which the shift of chroma is compared."""


def score_pairs(
    predictors: Sequence[Predictor], made: Iterable[BenchmarkPair], benchmark: str, mask: str, count: int
) -> list[Table]:
    """Score every predictor on the same pairs, each of which is made once and shown to all.

    Args:
        predictors: The first must be the composite itself, against which the others are measured.
        made: The pairs.
        benchmark: Name in tables.
        mask: Name of the kind of mask in tables.
        count: Number of pairs expected, for the progress bar.

    Raises:
        ValueError: The first predictor is not the composite, two have one name, one gave values that are not finite,
            or there are no pairs.
    """
    if not predictors or predictors[0].name != "composite":
        raise ValueError("evaluate: the first predictor must be 'composite', which the others are compared with")
    check_names(predictors)
    collected = {p.name: Collected() for p in predictors}
    for pair in tqdm(made, f"{benchmark}, {mask}", count, leave=False, disable=None):
        for predictor in predictors:
            collected[predictor.name].add(predictor, pair, benchmark in SHIFT_BENCHMARKS)
    if not collected["composite"].scores:
        raise ValueError(f"evaluate: {benchmark} has no pairs that can be read")
    return tabulate(benchmark, mask, collected)


def evaluate(
    predictors: Sequence[Predictor],
    photos: Sequence[Photo],
    lights: Lights,
    *,
    benchmarks: Sequence[str] = tuple(BENCHMARKS),
    masks: Sequence[str] = MASKS,
    seed: int = 0,
) -> list[Table]:
    """Score every predictor on every benchmark and mask.

    Args:
        predictors: The first must be the composite itself.
        photos: What the pairs are made of.
        lights: Measured lights.
        benchmarks: Names in `BENCHMARKS`.
        masks: Names in `MASKS`.
        seed: Of the draws.

    Raises:
        ValueError: As for `score_pairs`.
    """
    tables = []
    for benchmark in benchmarks:
        for mask in masks:
            made = pairs(photos, benchmark, mask, lights, seed)
            tables += score_pairs(predictors, made, benchmark, mask, len(photos))
    return tables


def harmony_pairs(data: Harmony4) -> Iterator[BenchmarkPair]:
    """The composites of a folder laid out like iHarmony4, masks binarised at one half."""
    for sample in data:
        composite, real = (p.astype(np.float32) / np.float32(255) for p in (sample.composite, sample.real))
        mask = (sample.mask > 127).astype(np.float32)
        yield BenchmarkPair(sample.name, composite, real, mask, skin_group(real, mask))


def load_photos(folder: Path, size: int, limit: int | None = None) -> list[Photo]:
    """The portraits of a folder, evenly thinned to `limit`; unreadable ones are logged and left out.

    Raises:
        FileNotFoundError: No portrait with a matte.
        ValueError: Not one could be read.
    """
    items = list_portraits(folder)
    if limit is not None and limit < len(items):
        items = [items[i * len(items) // limit] for i in range(limit)]
    photos = []
    for item in items:
        try:
            photos.append(load_photo(item, size))
        except ValueError as error:
            log.warning("skipped %s", error)
    if not photos:
        raise ValueError(f"{folder}: none of {len(items)} portraits could be read")
    return photos


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.evaluate", description="Score models on fixed pairs.")
    parser.add_argument("models", type=Path, nargs="*", help="live models (.onnx) and PHNet checkpoints (.safetensors)")
    parser.add_argument("--data", type=Path, help="folder with portraits/val and illuminants, for the benchmarks")
    parser.add_argument("--harmony4", type=Path, help="a folder laid out like iHarmony4, scored as well")
    parser.add_argument("--split", default="test", help="which list of that folder")
    parser.add_argument("--out", type=Path, required=True, help="folder for scores.json, scores.md and sheets")
    parser.add_argument("--benchmarks", nargs="+", default=list(BENCHMARKS), choices=list(BENCHMARKS))
    parser.add_argument("--masks", nargs="+", default=list(MASKS), choices=MASKS)
    parser.add_argument("--size", type=positive, default=256, help="side of the pictures, pixels")
    parser.add_argument("--limit", type=positive, help="number of photographs, all when not given")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=positive, default=1)
    parser.add_argument("--no-baselines", action="store_true", help="only the composite and the models")
    parser.add_argument("--no-oracle", action="store_true")
    parser.add_argument("--sheets", type=positive, default=0, help="pictures of each benchmark to show on a sheet")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, or 3 when data, a model or the output cannot be used."""
    options = _parser().parse_args(argv)
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    tables: list[Table] = []
    try:
        options.out.mkdir(parents=True, exist_ok=True)  # told now, not after the work
        if options.data is None and options.harmony4 is None:
            raise ValueError("nothing to score on: give --data, --harmony4 or both")
        predictors = load_predictors(options.models, not options.no_baselines, not options.no_oracle)
        given = None
        if options.harmony4 is not None:
            given = Harmony4(options.harmony4, options.split, options.size)
        if options.data is not None:
            lights = load_lights(options.data / "illuminants" / "ccharmony_train.npz")
            photos = load_photos(options.data / "portraits" / "val", options.size, options.limit)
            chosen = {"benchmarks": options.benchmarks, "masks": options.masks, "seed": options.seed}
            tables += evaluate(predictors, photos, lights, **chosen)
        if given is not None:
            name = f"{options.harmony4.name} {options.split}"
            tables += score_pairs(predictors, harmony_pairs(given), name, "given", len(given))
        text = markdown(tables, options.size, options.seed)
        sys.stdout.write(text + "\n")
        described: dict[str, Any] = {"size": options.size, "seed": options.seed, "tables": [asdict(t) for t in tables]}
        write_json(options.out / "scores.json", described)
        (options.out / "scores.md").write_text(text + "\n", "utf-8")
        if options.data is not None and options.sheets:
            benchmark_sheets(predictors, photos, lights, options.out, options.sheets, seed=options.seed)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
