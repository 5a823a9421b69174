"""Counts multiply-adds by running a network once: ``python -m training.models.count phnet_10m --size 256``."""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from torch import Tensor, nn

from training.models.phnet import PHNET_CONFIGS, build_phnet, parameter_count

__all__ = ["count_macs"]


def count_macs(model: nn.Module, *inputs: Tensor) -> int:
    """Multiply-adds of all convolutions and linear layers for one forward pass; the rest is not counted.

    Args:
        model: Any network; it is run once, in evaluation mode, without gradients.
        inputs: What its `forward` takes; use a batch of one for the cost per image.
    """
    total = 0

    def count(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.ConvTranspose2d):
            positions = args[0].numel() // args[0].shape[1]
            total += positions * module.weight.numel()
        elif isinstance(module, nn.Conv2d):
            total += output.numel() // output.shape[1] * module.weight.numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() // output.shape[-1] * module.weight.numel()

    kinds = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    handles = [m.register_forward_hook(count) for m in model.modules() if isinstance(m, kinds)]
    training = model.training
    try:
        model.eval()
        with torch.no_grad():
            model(*inputs)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return total


def main(argv: list[str] | None = None) -> None:
    """Write parameters and multiply-adds of a PHNet to the terminal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=sorted(PHNET_CONFIGS))
    parser.add_argument("--size", type=int, default=256, help="side of the square input, pixels")
    options = parser.parse_args(argv)
    model = build_phnet(options.name)
    macs = count_macs(
        model, torch.zeros(1, 3, options.size, options.size), torch.zeros(1, 1, options.size, options.size)
    )
    sys.stdout.write(
        f"{options.name}: {parameter_count(model) / 1e6:.2f} M parameters, "
        f"{macs / 1e9:.1f} G multiply-adds at {options.size} x {options.size}\n"
    )


if __name__ == "__main__":
    main()
