"""Score harmonizers on composites whose truth is known: ``NAME-composite.*``, ``NAME-mask.*`` and ``NAME-gt.*``.

``python -m tools.score_triples FOLDER`` prints a markdown table. Each picture is harmonized at its own size and scored
there, by the conventions of `training.metrics`: 0..255, blended with the composite by the mask, the mask of the scores
binarised at 0.5, averages over pictures.
"""

from __future__ import annotations

import argparse
from glob import escape
from pathlib import Path

import numpy as np

import livecomp
from livecomp.errors import InputError, LiveCompError
from livecomp.media.image import read_image, read_mask
from training.json_file import write_json
from training.metrics import METRICS, binarize, score_images

TRUTHS = ("gt", "real")


def find_triples(folder: Path) -> list[tuple[str, Path, Path, Path]]:
    """Name, composite, mask and truth of every triple of a folder, in the order of the names."""
    triples = []
    for composite in sorted(folder.glob("*-composite.*")):
        name = composite.name.rsplit("-composite.", 1)[0]
        masks = sorted(folder.glob(f"{escape(name)}-mask.*"))
        truths = [path for kind in TRUTHS for path in sorted(folder.glob(f"{escape(name)}-{kind}.*"))]
        if not masks or not truths:
            raise SystemExit(f"{composite} has no {name}-mask.* or no {name}-gt.* beside it")
        triples.append((name, composite, masks[0], truths[0]))
    if not triples:
        raise SystemExit(f"{folder} holds no NAME-composite.* with its mask and truth")
    return triples


def score(model: str, composite: Path, mask: Path, truth: Path) -> dict[str, float]:
    """The scores of one model on one triple.

    Raises:
        LiveCompError: A picture cannot be read, or the three are not of one size.
    """
    rgb, alpha, target = read_image(composite), read_mask(mask), read_image(truth)
    if target.shape != rgb.shape:
        sizes = [f"{width}x{height}" for height, width in (target.shape[:2], rgb.shape[:2])]
        raise InputError(f"{truth} has {sizes[0]} pixels, expected {sizes[1]} as {composite.name} has")
    shown = livecomp.harmonize(rgb, alpha, model=model)
    binary = binarize(alpha / np.float32(255))
    scores = score_images(shown[None].astype(np.float32), target[None].astype(np.float32), binary[None])
    return {metric: float(values[0]) for metric, values in scores.items()}


def main() -> None:
    """Parse the arguments, score, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("folder", type=Path, help="folder of triples")
    parser.add_argument("--models", default="identity,reinhard,mkl,live", help="harmonizers, separated by commas")
    parser.add_argument("--json", type=Path, help="also write every single score there")
    arguments = parser.parse_args()
    if arguments.json and not arguments.json.parent.is_dir():
        raise SystemExit(f"cannot write {arguments.json}: there is no folder {arguments.json.parent}")
    triples = find_triples(arguments.folder)
    results: dict[str, dict[str, dict[str, float]]] = {}
    for model in arguments.models.split(","):
        try:
            results[model] = {name: score(model, *paths) for name, *paths in triples}
        except LiveCompError as error:
            raise SystemExit(f"{model}: {error}") from None
    print(f"| {len(triples)} pictures | " + " | ".join(METRICS) + " |")
    print("|---" * (len(METRICS) + 1) + "|")
    for model, scores in results.items():
        means = [np.mean([single[metric] for single in scores.values()]) for metric in METRICS]
        print(f"| {model} | " + " | ".join(f"{mean:.2f}" for mean in means) + " |")
    if arguments.json:
        write_json(arguments.json, results)


if __name__ == "__main__":
    main()
