"""torch module -> ONNX file, compared with the module before it is kept."""

from __future__ import annotations

import hashlib
import logging
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine.backend import Options
from engine.backends import BACKENDS
from engine.errors import BackendError, ModelFileError, TensorError
from engine.model_runner import ModelRunner
from engine.spec import TensorMap
from engine.timing import relative_difference

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["ExportReport", "export_onnx", "weights_sha256"]

OPSET = 18
PREFIX = "livecomp."
"""Before each key of the metadata written here."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written.

    Args:
        path: The file.
        nodes: How many nodes the graph has.
        operators: How many of each operator.
        difference: Largest relative difference from the module, over all inputs tried.
        weights_sha256: See `weights_sha256`.
    """

    path: Path
    nodes: int
    operators: Mapping[str, int]
    difference: float
    weights_sha256: str


def weights_sha256(module: nn.Module) -> str:
    """SHA-256, in hexadecimal, of all parameters and buffers with their names, types and shapes."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(_bytes()).numpy().tobytes())
    return digest.hexdigest()


def export_onnx(
    module: nn.Module,
    path: Path,
    *,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    model: str,
    version: str,
    meaning: Mapping[str, str],
    dynamic_batch: bool = False,
    tolerance: float = 1e-4,
) -> ExportReport:
    """Write a module as ONNX through torch's dynamo exporter, simplified, with its metadata.

    Args:
        module: In evaluation mode; takes the inputs in order, returns a tensor or a tuple of them.
        path: The file; replaced only by one that passed.
        inputs: Example tensors, whose shapes the file keeps.
        outputs: Names for what the module returns.
        model: The model's name.
        version: The model's version.
        meaning: What each input holds: shape, range, colour order.
        dynamic_batch: Leave the first side of every input open; otherwise everything is static.
        tolerance: Largest relative difference from the module that is accepted.

    Raises:
        TensorError: A name in `meaning` is no input.
        BackendError: torch, onnx or onnxscript is missing.
        ModelFileError: ONNX Runtime's results differ from the module's; nothing is written.
    """
    if set(meaning) != set(inputs):
        raise TensorError(f"expected a meaning for the inputs {sorted(inputs)}, received {sorted(meaning)}")
    if module.training:
        raise TensorError("expected a module in evaluation mode; call eval() first")
    digest = weights_sha256(module)
    notes = {"model": model, "version": version, "weights_sha256": digest}
    notes |= {f"input.{name}": text for name, text in meaning.items()}
    data, operators = _convert(module, inputs, outputs, notes, dynamic_batch=dynamic_batch)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(data)
        difference = _difference(module, partial, inputs, outputs, dynamic_batch=dynamic_batch)
        if not difference <= tolerance:
            raise ModelFileError(
                f"{path.name} differs from its module by {difference:.1e} (relative), expected at most {tolerance:.0e}"
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return ExportReport(path, sum(operators.values()), operators, difference, digest)


def _bytes() -> object:
    import torch

    return torch.uint8


def _convert(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    notes: Mapping[str, str],
    *,
    dynamic_batch: bool,
) -> tuple[bytes, dict[str, int]]:
    try:
        import onnxscript  # noqa: F401 - the exporter needs it, and says so less clearly
        import torch
    except ImportError as error:
        raise BackendError(
            f"export needs torch, onnx and onnxscript ({error}); pip install 'livecomp[train]'"
        ) from error
    arguments = tuple(inputs.values())
    shapes = tuple({0: torch.export.Dim("batch")} for _ in arguments) if dynamic_batch else None
    if dynamic_batch:  # a batch of one would be taken for a constant
        arguments = tuple(torch.cat([tensor, tensor]) for tensor in arguments)
    loud = logging.getLogger("torch.onnx")
    level = loud.level
    loud.setLevel(logging.ERROR)  # it complains about torchvision, which is not used
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own parts, about one another
            program = torch.onnx.export(
                module, arguments, input_names=list(inputs), output_names=list(outputs), opset_version=OPSET,
                dynamo=True, optimize=True, dynamic_shapes=shapes, verbose=False,
            )  # fmt: skip
    finally:
        loud.setLevel(level)
    assert program is not None
    proto = program.model_proto
    proto.graph.name = notes["model"]
    del proto.graph.value_info[:]
    for node in proto.graph.node:  # stack traces, which name the files of whoever exports
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer, proto.graph, proto):
        del value.metadata_props[:]
    for key, text in notes.items():
        entry = proto.metadata_props.add()
        entry.key, entry.value = PREFIX + key, text
    return proto.SerializeToString(), dict(Counter(node.op_type for node in proto.graph.node))


def _difference(
    module: nn.Module, path: Path, inputs: Mapping[str, Tensor], outputs: Sequence[str], *, dynamic_batch: bool
) -> float:
    """The largest relative difference between ONNX Runtime and the module."""
    import torch

    worst = 0.0
    with ModelRunner(BACKENDS["onnxruntime"], path, Options()) as runner:
        for feed in _feeds(inputs, dynamic_batch=dynamic_batch):
            with torch.inference_mode():
                found = module(*(torch.from_numpy(array) for array in feed.values()))
            values = found if isinstance(found, (tuple, list)) else (found,)
            expected = {name: value.numpy() for name, value in zip(outputs, values, strict=True)}
            worst = max(worst, relative_difference(runner.infer(feed), expected))
    return worst


def _feeds(inputs: Mapping[str, Tensor], *, dynamic_batch: bool) -> Iterator[TensorMap]:
    """The example itself, noise, all zero, all one, and one input alone zero or one with noise in the others."""
    rng = np.random.default_rng(0)
    example = {name: tensor.detach().cpu().numpy().copy() for name, tensor in inputs.items()}

    def noise() -> TensorMap:
        return {name: rng.random(array.shape).astype(array.dtype) for name, array in example.items()}

    yield example
    for _ in range(3):
        yield noise()
    for value in (0, 1):
        yield {name: np.full_like(array, value) for name, array in example.items()}
        for name, array in example.items():
            yield {**noise(), name: np.full_like(array, value)}
    if dynamic_batch:
        yield {name: np.concatenate([array, noise()[name], array]) for name, array in example.items()}
