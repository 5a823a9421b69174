"""What each part of the live model is worth, and what PHNet learns from as many pairs: one table.

    python -m training.compare --data DATA --out RUNS --samples 60000

Each variant of the live model is trained from scratch on the same pairs in the same order, and PHNet, whose batches
have another size, on as many of the same kind, at 64 pixels, so the scores are far from those of a long training and
only their differences count. A run that was stopped goes on, and one that is finished is not
repeated: the command can be given again with more names.
"""

from __future__ import annotations

import argparse
import logging
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from training.arguments import positive
from training.checkpoint import load_checkpoint
from training.config import TrainConfig, TrainConfigError, load_config
from training.json_file import write_json
from training.models.count import count_macs
from training.models.phnet import parameter_count
from training.objectives import build_objective
from training.train import train
from training.trainer import LAST

__all__ = ["VARIANTS", "Row", "markdown", "variant"]

Row = dict[str, Any]

VARIANTS: dict[str, dict[str, Any]] = {
    "live": {},
    "live without matrix": {"live": {"matrix": False}},
    "live without gain": {"live": {"gain": False}},
    "live without patches": {"live": {"patches": False}},
    "live without PFE": {"live": {"pfe": False}},
    "live without surfaces": {"live": {"surfaces": 0}},
    "live without ImageNet": {"live": {"pretrained": False, "surfaces": 0}},
    "live without parameter targets": {"loss": {"targets": 0.0, "moments": 0.0}},
    "phnet_10m": {"model": "phnet_10m", "optimizer": {"lr": 2e-3, "batch": 32}},
}
"""Name of each network, and what differs from the configuration."""

SHOWN = ("jitter", "person_cast", "scene_cast", "other_scene_cast", "same")
"""The validation sets of the table, see `training.validation`."""

_SIZE = 64
_CROPS = {"size": _SIZE, "sharpness": 1.45, "crops": 4, "far_crops": 2, "scene_crops": 8}
_OPTIMIZER = {"lr": 1.8e-3, "decay": 0.5, "batch": 128}
_TIMED_RUNS = 30


def variant(base: TrainConfig, name: str, samples: int) -> TrainConfig:
    """The configuration of one row.

    Args:
        base: What all have in common.
        name: A key of `VARIANTS`.
        samples: Pairs to see.
    """
    values = base.model_dump(mode="json")
    values["stages"] = [{"name": name, "samples": samples}]
    values["optimizer"] |= _OPTIMIZER
    values["data"] |= _CROPS
    for key, change in VARIANTS[name].items():
        values[key] = values[key] | change if isinstance(change, Mapping) else change
    if values["model"] != "live":
        values["live"] = {}
    return TrainConfig.model_validate(values)


def _folder(out: Path, name: str) -> Path:
    return out / name.replace(" ", "_")


def _train_apart(arguments: Sequence[str], name: str, processes: int) -> None:
    """Train one of the networks in processes of its own, so that nothing of one run reaches the next.

    Raises:
        CalledProcessError: The run failed.
    """
    launch = (
        ["torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), "-m"] if processes > 1 else []
    )
    command = [sys.executable, "-m", *launch, "training.compare", *arguments, "--train", name]
    subprocess.run(command, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})  # noqa: S603  our own arguments


def _network_ms(network: nn.Module, size: int) -> float:
    """Median time of one picture on one thread, in milliseconds."""
    picture, mask = torch.rand(1, 3, size, size), torch.ones(1, 1, size, size)
    times = []
    with torch.inference_mode():
        for _ in range(_TIMED_RUNS):
            before = time.perf_counter()
            network(picture, mask)
            times.append(time.perf_counter() - before)
    return 1e3 * sorted(times)[len(times) // 2]


def _row(config: TrainConfig, name: str, folder: Path) -> Row:
    """Scores, size and cost of a finished run."""
    found = load_checkpoint(folder / LAST)
    network = build_objective(config).build().eval()
    network.load_state_dict(found.tensors["ema"])
    size = config.data.size
    square = (torch.rand(1, 3, size, size), torch.ones(1, 1, size, size))
    return {
        "name": name,
        "samples": found.meta["samples"],
        "parameters": parameter_count(network),
        "gmacs": count_macs(network, *square) / 1e9,
        "ms": _network_ms(network, size),
        "scores": found.meta["curve"][-1][1],
    }


def markdown(rows: Sequence[Row]) -> str:
    """The table: mean fMSE at the training size, foreground PSNR of that in brackets, cost of one picture."""

    def cell(scores: Mapping[str, float]) -> str:
        level = f" ({10 * math.log10(255**2 / scores['fmse']):.1f} dB)" if scores["composite"] else ""
        return f"{scores['fmse']:.0f}{level}"

    heads = ["", "pairs", *SHOWN, "M parameters", "GMAC", "ms"]
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    if rows:
        composite = [f"{rows[0]['scores'][key]['composite']:.0f}" for key in SHOWN]
        lines.append("| " + " | ".join(["composite", "", *composite, "", "", ""]) + " |")
    for row in rows:
        cells = [row["name"], f"{row['samples']:,}", *(cell(row["scores"][key]) for key in SHOWN)]
        cells += [f"{row['parameters'] / 1e6:.2f}", f"{row['gmacs']:.3f}", f"{row['ms']:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, 2 for an unknown name or configuration, 3 when a run failed."""
    arguments = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(prog="python -m training.compare", description="Train variants, and compare them.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True, help="folder for the runs, compare.json and compare.md")
    parser.add_argument("--samples", type=positive, default=60_000, help="pairs that each network sees")
    parser.add_argument("--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--config", default="live_supervised", help="what all have in common")
    parser.add_argument("--cache", type=Path, help="folder of decoded crops")
    parser.add_argument("--processes", type=positive, default=1)
    parser.add_argument("--train", choices=list(VARIANTS), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        base = load_config(options.config)
    except TrainConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    if options.train is not None:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
        config = variant(base, options.train, options.samples)
        train(config, options.data, _folder(options.out, options.train), cache=options.cache)
        return 0
    torch.set_num_threads(1)
    rows: list[Row] = []
    for name in options.only:
        try:
            _train_apart(arguments, name, options.processes)
        except subprocess.CalledProcessError as error:
            sys.stderr.write(f"{name}: the run ended with {error.returncode}\n")
            return 3
        rows.append(_row(variant(base, name, options.samples), name, _folder(options.out, name)))
        write_json(options.out / "compare.json", rows)
        (options.out / "compare.md").write_text(markdown(rows), "utf-8")
    sys.stdout.write(markdown(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
