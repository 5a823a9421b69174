"""Begin a larger network with the weights of a smaller one: ``python -m training.widen OLD.safetensors CONFIG OUT``.

What both have is taken over. Parts that the old network lacks begin as in any new run, what they add to the statistics
comes last and weighs nothing at first, and parts that the new one lacks are left out. So a network that only gained
parts computes what it did before, and training goes on from there (``training.train --from OUT``). The sizes of what
both have stay: in another size the old weights would mean something else.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, load_weights, save_checkpoint
from training.config import TrainConfigError, load_config
from training.models.live import LiveNet
from training.objectives import build_objective

__all__ = ["Widened", "main", "widen"]

STATISTICS = ("scale.running_mean", "scale.running_var", "enter.weight")
"""What has an input for each of the statistics, of which there may be more."""


@dataclass(frozen=True)
class Widened:
    """What became of the parts.

    Args:
        wider: Names of those that have more inputs now, from `STATISTICS`.
        new: Of those that the old weights lack.
        dropped: Of those that the network lacks.
    """

    wider: list[str]
    new: list[str]
    dropped: list[str]


def widen(network: LiveNet, weights: Mapping[str, Tensor], origin: str) -> Widened:
    """Give a network the weights of a smaller one.

    Args:
        network: Changed.
        weights: By name; half precision is widened.
        origin: For the message.

    Raises:
        CheckpointError: A tensor does not fit into the one of the same name.
    """
    state = {name: value.clone() for name, value in network.state_dict().items()}
    wider = []
    for name, own in state.items():
        old = weights.get(name)
        if old is None:
            continue
        if old.ndim != own.ndim or any(a > b for a, b in zip(old.shape, own.shape, strict=True)):
            raise CheckpointError(
                f"{origin}: {name}: expected at most {tuple(own.shape)}, received {tuple(old.shape)}; only a larger "
                "network can begin with these weights"
            )
        if old.shape != own.shape and (name not in STATISTICS or old.shape[:-1] != own.shape[:-1]):
            raise CheckpointError(
                f"{origin}: {name}: expected {tuple(own.shape)}, received {tuple(old.shape)}; a network can gain "
                "parts, but what both have keeps its size"
            )
        if old.shape != own.shape:
            wider.append(name)
            if old.ndim > 1:  # statistics of the new inputs stay as they are in any new network
                own.zero_()
        own[tuple(slice(length) for length in old.shape)] = old.to(own.dtype)
    load_weights(network, state, origin)
    return Widened(wider, [n for n in state if n not in weights], [n for n in weights if n not in state])


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, 2 for a wrong configuration, 3 for weights that do not fit."""
    parser = argparse.ArgumentParser(prog="python -m training.widen", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path, help="averaged weights of a live model")
    parser.add_argument("config", help="of the larger one: name in training/configs, or path to a .toml")
    parser.add_argument("out", type=Path, help="checkpoint to train on from")
    options = parser.parse_args(argv)
    try:
        config = load_config(options.config)
        network = build_objective(config).build()
        if not isinstance(network, LiveNet):
            raise TrainConfigError(f"{options.config}: expected a configuration of 'live', received {config.model!r}")
        network.load_pretrained()
        found = widen(network, load_checkpoint(options.checkpoint).tensors.get("ema", {}), str(options.checkpoint))
        meta = {"model": config.model, "config": config.model_dump(mode="json"), "samples": 0}
        save_checkpoint(options.out, Checkpoint({"ema": network.state_dict()}, meta))
    except TrainConfigError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except (CheckpointError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 3
    for label, names in (("wider", found.wider), ("new", found.new), ("left out", found.dropped)):
        sys.stdout.write(f"{label}: {len(names)}{': ' * bool(names)}{', '.join(names[:4])}{', …' * (len(names) > 4)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
