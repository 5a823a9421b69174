"""Counts multiply-adds by running a network once: ``python -m training.models.count phnet_10m --size 256``.

``--onnx FILE`` also writes it, untrained, so that ``python -m tools.compare_backends FILE`` can time it.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import EngineError
from engine.export import export_onnx
from training.models.phnet import DIVISOR, PHNET_CONFIGS, build_phnet, parameter_count

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


TOLERANCE = 1e-2
"""Largest relative difference of the file from the network: deep statistics of noise, in another order of sums."""


def main(argv: list[str] | None = None) -> None:
    """Write parameters and multiply-adds of a PHNet to the terminal, and the network to a file if asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(PHNET_CONFIGS))
    parser.add_argument("--size", type=int, default=256, help="side of the square input, pixels")
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="write the network, untrained, as ONNX")
    options = parser.parse_args(argv)
    size = options.size
    if size < 2 * DIVISOR or size % DIVISOR:
        parser.error(f"--size: expected a multiple of {DIVISOR} from {2 * DIVISOR} on, received {size}")
    model = build_phnet(options.name).eval()
    composite, mask = torch.rand(1, 3, size, size), torch.zeros(1, 1, size, size)
    mask[..., size // 4 :, size // 4 : -size // 4] = 1
    macs = count_macs(model, composite, mask)
    sys.stdout.write(
        f"{options.name}: {parameter_count(model) / 1e6:.2f} M parameters, "
        f"{macs / 1e9:.1f} G multiply-adds at {size} x {size}\n"
    )
    if options.onnx is None:
        return
    try:
        export_onnx(
            model,
            options.onnx,
            inputs={"composite": composite, "mask": mask},
            outputs=["harmonized"],
            model=options.name,
            version="untrained",
            meaning={"composite": "(1, 3, S, S), RGB 0..1", "mask": "(1, 1, S, S), 1 = person"},
            tolerance=TOLERANCE,
        )
    except (EngineError, OSError) as error:
        sys.exit(f"{options.onnx}: not written: {error}")


if __name__ == "__main__":
    main()
