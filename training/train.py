"""The training program: ``python -m training.train CONFIG --data DATA --out RUN``, or the same under ``torchrun``.

A run is resumed by starting it again with the same ``--out``; a batch depends on seed, process and step alone, so the
run goes on as if it had never stopped, but for the steps since the last checkpoint. ``--from`` begins a new run with
the weights of another, whose batches it does not draw again.
"""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

import torch

from training.checkpoint import CheckpointError
from training.config import TrainConfig, TrainConfigError, load_config
from training.data.cache import default_cache_dir
from training.trainer import LAST, DivergedError, Progress, Trainer
from training.world import join_world, limit_threads

__all__ = ["main", "train"]


def train(
    config: TrainConfig, data: Path, out: Path, *, cache: Path | None = None, start: Path | None = None
) -> Progress:
    """Run, or resume, a training run in this process and its siblings under torchrun.

    Args:
        config: What to do.
        data: Folder with portraits, backgrounds and illuminants.
        out: Folder of the run; a checkpoint in it is continued.
        cache: Folder of decoded crops, by default the user's cache.
        start: Checkpoint whose averaged weights a *new* run begins with.

    Raises:
        CheckpointError: A checkpoint is damaged or of another model.
        DivergedError: Loss or gradient is not finite.
        OSError: Data are missing, or the folder of the run or the last checkpoint cannot be written.
    """
    out.mkdir(parents=True, exist_ok=True)  # told now, not after all pictures were decoded
    torch.set_flush_denormal(True)
    limit_threads(config.run.threads)
    with join_world() as world:
        trainer = Trainer(config, data, out, cache=cache or default_cache_dir(), world=world)
        if (out / LAST).exists():
            trainer.restore(out / LAST, weights_only=False)
        elif start is not None:
            trainer.restore(start, weights_only=True)
        else:
            trainer.begin()
        return trainer.run()


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, 2 for a wrong configuration, 3 for data, checkpoint or disk, 4 for a diverged loss."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description="Train PHNet or the live model.")
    parser.add_argument("config", help="name in training/configs, or path to a .toml")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cache", type=Path, help="folder of decoded crops")
    parser.add_argument("--from", dest="start", type=Path, help="begin with the weights of this checkpoint")
    options = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        train(load_config(options.config), options.data, options.out, cache=options.cache, start=options.start)
    except TrainConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except DivergedError as error:
        sys.stderr.write(f"{error}\n")
        return 4
    except (CheckpointError, OSError, ValueError) as error:
        sys.stderr.write(f"{error}\n")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
