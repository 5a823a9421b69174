"""The averaged weights of a live model as ONNX for the runtime: ``python -m training.export_live CHECKPOINT OUT.onnx``.

Weights are stored in half precision and widened when the file is loaded: the arithmetic stays float32, the file is half
as large.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from torch import Tensor, nn

from engine.errors import EngineError
from engine.export import export_onnx
from training.arguments import positive
from training.checkpoint import Checkpoint, CheckpointError, load_checkpoint, load_weights, save_checkpoint
from training.correction import CURVE_NODES, GAIN_SIZE, CorrectionBatch
from training.models.live import DIVISOR, LiveNet, LiveSpec

__all__ = ["ExportError", "LiveExport", "blend", "export_live", "halved", "load_live", "rounded", "save_weights"]

F32 = NDArray[np.float32]

OUTPUTS = {"matrix": (1, 3, 3), "curves": (1, 3, CURVE_NODES), "log_gain": (1, GAIN_SIZE, GAIN_SIZE)}

TOLERANCE = 1e-3
"""Largest difference of any output between the file and the network with its weights rounded like the file's."""

FLAT_TOLERANCE = 0.05
"""Relative difference allowed before halving, where flat pictures are among the inputs: their spread is the rounding
error of a difference, which no two programs share."""

MEANING = {
    "composite": "(1, 3, S, S), RGB 0..1, the person pasted over the scene, squashed to a square",
    "mask": "(1, 1, S, S), 0..1, 1 = person",
}

HALF_FROM = 1024
"""Matrices and kernels of at least this many values are stored in half precision."""


class ExportError(RuntimeError):
    """The file does not compute what the network computes."""


class LiveExport(nn.Module):
    """The network with plain tensors in and out, and without what only training needs.

    Args:
        network: In evaluation mode.
    """

    def __init__(self, network: LiveNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, composite: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Matrix, curves and log-gain of one composite."""
        correction: CorrectionBatch
        correction, _ = self.network(composite, mask)
        return correction.matrix, correction.curves, correction.log_gain


def load_live(path: Path) -> tuple[LiveNet, dict[str, Any]]:
    """A live model with the averaged weights of a checkpoint, ready to run, and what the checkpoint says of itself.

    Raises:
        CheckpointError: It cannot be read, or is of another model.
    """
    found = load_checkpoint(path)
    if found.meta.get("model") != "live":
        raise CheckpointError(f"{path}: expected a checkpoint of 'live', received {found.meta.get('model')!r}")
    changes: dict[str, Any] = found.meta.get("config", {}).get("live", {})
    try:
        network = LiveNet(LiveSpec(**changes))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: a checkpoint of another live model: {error}") from error
    load_weights(network, found.tensors.get("ema", {}), str(path))
    return network.eval(), dict(found.meta)


def halved(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model with large weights stored as float16 and a Cast to float32 behind each."""
    graph = model.graph
    kept, casts = [], []
    for tensor in graph.initializer:
        values = numpy_helper.to_array(tensor)
        # vectors stay: variances would underflow
        if values.dtype != np.float32 or values.ndim < 2 or values.size < HALF_FROM:
            kept.append(tensor)
            continue
        small = numpy_helper.from_array(values.astype(np.float16), f"{tensor.name}.half")
        kept.append(small)
        casts.append(helper.make_node("Cast", [small.name], [tensor.name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.initializer[:]
    del graph.node[:]
    graph.initializer.extend(kept)
    graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model


def rounded(network: LiveNet) -> LiveNet:
    """A copy whose large weights are rounded to half precision."""
    copy = deepcopy(network)
    with torch.no_grad():
        for parameter in copy.parameters():
            if parameter.ndim > 1 and parameter.numel() >= HALF_FROM:
                parameter.copy_(parameter.half().float())
    return copy


def save_weights(network: LiveNet, path: Path, meta: dict[str, Any]) -> None:
    """The same weights as a checkpoint that a new run can begin with, large ones in half precision.

    Args:
        network: With the averaged weights.
        path: Of the safetensors file.
        meta: What the checkpoint said of itself.
    """
    state = {n: v.half() if v.ndim > 1 and v.numel() >= HALF_FROM else v for n, v in network.state_dict().items()}
    save_checkpoint(path, Checkpoint({"ema": state}, meta))


def _examples(size: int) -> list[tuple[F32, F32]]:
    """Composites and masks to compare on: noise, bright and dark, with partial, empty and full masks.

    Not flat colour: there the spread is the rounding error of a difference, which no two programs share.
    """
    rng = np.random.default_rng(0)
    disc = np.hypot(*np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]) < 0.6
    masks = [disc.astype(np.float32), np.zeros((size, size), np.float32), np.ones((size, size), np.float32)]
    pictures = [rng.random((3, size, size), np.float32), 0.3 * rng.random((3, size, size), np.float32)]
    return [(p[None], m[None, None]) for p in pictures for m in masks]


def _check(network: nn.Module, path: Path, size: int) -> float:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for composite, mask in _examples(size):
        with torch.no_grad():
            expected = network(torch.from_numpy(composite), torch.from_numpy(mask))
        received = session.run(list(OUTPUTS), {"composite": composite, "mask": mask})
        for name, mine, theirs in zip(OUTPUTS, expected, received, strict=True):
            if theirs.shape != OUTPUTS[name] or not np.isfinite(theirs).all():
                raise ExportError(f"{path.name}: {name}: expected finite {OUTPUTS[name]}, received {theirs.shape}")
            worst = max(worst, float(np.abs(mine.numpy() - theirs).max()))
    return worst


def export_live(network: LiveNet, path: Path, size: int = 64, meta: dict[str, str] | None = None) -> float:
    """Write the file, and compare it with the network rounded to the file's precision.

    Args:
        network: In evaluation mode.
        path: Of the ONNX file, replaced when it exists.
        size: Side of the input, pixels.
        meta: Written into the file.

    Returns:
        The largest difference of any output.

    Raises:
        ExportError: It is larger than `TOLERANCE`, weights are not finite, or the network takes no input of that size;
            an older file is left as it was.
    """
    if size % DIVISOR:
        raise ExportError(f"{path.name}: the input's side must be a multiple of {DIVISOR} pixels, received {size}")
    wrapped = LiveExport(rounded(network)).eval()
    broken = [name for name, values in wrapped.network.state_dict().items() if not values.isfinite().all()]
    if broken:
        raise ExportError(f"{path.name}: weights are not finite, or not in half precision: {', '.join(broken[:3])}")
    partial = path.with_name(f"{path.stem}.partial.onnx")
    try:
        worst = _write(wrapped, partial, size, meta or {})
        if not worst <= TOLERANCE:
            raise ExportError(
                f"{path.name}: outputs differ by {worst:.2e} from the network's, more than {TOLERANCE:.0e}"
            )
        partial.replace(path)
    except EngineError as error:
        raise ExportError(str(error)) from error
    finally:
        partial.unlink(missing_ok=True)
    return worst


def _write(wrapped: LiveExport, path: Path, size: int, meta: dict[str, str]) -> float:
    """Write the file; the largest difference of any of its outputs from the network's."""
    export_onnx(
        wrapped,
        path,
        inputs={"composite": torch.rand(1, 3, size, size), "mask": torch.zeros(1, 1, size, size)},
        outputs=list(OUTPUTS),
        model="live",
        version=meta.get("samples", "unknown"),
        meaning=MEANING,
        tolerance=FLAT_TOLERANCE,
    )
    model = halved(onnx.load(path))
    for key, value in meta.items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value
    onnx.save(model, path)
    return _check(wrapped, path, size)


def blend(network: nn.Module, other: nn.Module, share: float) -> None:
    """Move the weights of `network` towards those of `other`, which one of them was trained on from.

    The mean of weights from one line of training is often better than each (Wortsman et al., Model soups, ICML 2022).

    Args:
        network: Changed.
        other: Of the same sizes.
        share: How far, 0..1.

    Raises:
        CheckpointError: The two have different weights.
    """
    mine, theirs = network.state_dict(), other.state_dict()
    if {k: v.shape for k, v in mine.items()} != {k: v.shape for k, v in theirs.items()}:
        raise CheckpointError("the checkpoints to blend have different weights; expected two of one configuration")
    network.load_state_dict({k: torch.lerp(v.float(), theirs[k].float(), share).to(v.dtype) for k, v in mine.items()})


def main(argv: list[str] | None = None) -> int:
    """Command line; returns 0, or 3 when the checkpoint cannot be used or the file is wrong."""
    parser = argparse.ArgumentParser(prog="python -m training.export_live", description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--weights", type=Path, help="also write the weights here, as .safetensors to train on from")
    parser.add_argument(
        "--blend", type=Path, help="mix in the weights of this checkpoint, of the same line of training"
    )
    parser.add_argument("--share", type=float, default=0.1, help="weight of that one, 0..1")
    parser.add_argument(
        "--size", type=positive, help="side of the input, pixels; by default that of the training crops"
    )
    options = parser.parse_args(argv)
    if not 0 <= options.share <= 1:
        parser.error(f"--share: expected 0..1, received {options.share}")
    try:
        network, meta = load_live(options.checkpoint)
        if options.blend is not None:
            blend(network, load_live(options.blend)[0], options.share)
        size = options.size or meta.get("config", {}).get("data", {}).get("size", 64)
        worst = export_live(network, options.out, size, {"samples": str(meta.get("samples", "unknown"))})
        if options.weights is not None:
            save_weights(network, options.weights, meta)
    except (CheckpointError, ExportError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 3
    digest = hashlib.sha256(options.out.read_bytes()).hexdigest()
    size_mb = options.out.stat().st_size / 1e6
    sys.stdout.write(f"{options.out}: {size_mb:.2f} MB, largest difference {worst:.1e}, SHA-256 {digest}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
