"""Checkpoints without pickle: tensors in one safetensors file, everything else as JSON in its header.

A file is written under another name, synced and moved, so a full disk or a kill leaves the previous checkpoint whole.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

__all__ = ["Checkpoint", "CheckpointError", "load_checkpoint", "load_weights", "optimizer_tensors", "save_checkpoint"]


class CheckpointError(RuntimeError):
    """A checkpoint cannot be read, or belongs to another model."""


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on.

    Args:
        tensors: Groups of named tensors: `model`, `ema`, `optimizer`.
        meta: JSON values: model name and sizes, step, samples seen, learning curve.
    """

    tensors: Mapping[str, Mapping[str, Tensor]]
    meta: Mapping[str, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically; an earlier file of the same name survives a failure.

    Raises:
        OSError: The disk is full or the folder cannot be written; the earlier file is untouched.
    """
    flat = {
        f"{group}/{name}": tensor.detach().cpu().contiguous()
        for group, tensors in checkpoint.tensors.items()
        for name, tensor in tensors.items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    try:
        save_file(flat, partial, metadata={"livecomp": json.dumps(checkpoint.meta)})
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        partial.unlink(missing_ok=True)
        raise OSError(f"{path}: cannot write the checkpoint ({error}); the previous one is untouched") from error


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a whole checkpoint.

    Raises:
        CheckpointError: The file is missing, damaged or not one of ours.
    """
    try:
        with safe_open(path, framework="pt") as file:
            meta = (file.metadata() or {}).get("livecomp")
            tensors: dict[str, dict[str, Tensor]] = {}
            for key in file.keys():  # noqa: SIM118  # not a mapping
                group, _, name = key.partition("/")
                tensors.setdefault(group, {})[name] = file.get_tensor(key)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: cannot read the checkpoint: {error}") from error
    if meta is None:
        raise CheckpointError(f"{path}: expected a checkpoint of this program, received safetensors without its header")
    return Checkpoint(tensors, json.loads(meta))


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], origin: str) -> None:
    """Load parameters and buffers, naming the first differences when they do not fit.

    Args:
        model: Receives them.
        weights: By name; half precision is widened.
        origin: For the message.

    Raises:
        CheckpointError: A tensor is missing, unknown, or of another shape.
    """
    own = model.state_dict()
    problems = [f"{n}: missing" for n in own if n not in weights]
    problems += [f"{n}: unknown" for n in weights if n not in own]
    problems += [
        f"{n}: expected {tuple(own[n].shape)}, received {tuple(weights[n].shape)}"
        for n in own
        if n in weights and own[n].shape != weights[n].shape
    ]
    if problems:
        raise CheckpointError(
            f"{origin}: a checkpoint of another model, {len(problems)} differences, first: {'; '.join(problems[:3])}"
        )
    model.load_state_dict({n: w.to(own[n].dtype) for n, w in weights.items()})


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The state of an optimizer, flattened to ``<parameter number>.<name>``; numbers become tensors."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": value if isinstance(value, Tensor) else torch.tensor(float(value))
        for index, values in state.items()
        for name, value in values.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], origin: str) -> None:
    """Put back what `optimizer_tensors` gave; groups and learning rates stay as they are.

    Values get the strides of their parameters, since fused optimizers walk through both in the order of memory.

    Args:
        optimizer: Receives it.
        tensors: What was saved.
        origin: For the message.

    Raises:
        CheckpointError: It is of other parameters.
    """
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        parameter = parameters[int(index)] if int(index) < len(parameters) else torch.empty(0)
        if value.ndim and value.shape != parameter.shape:
            raise CheckpointError(
                f"{origin}: the optimizer's state is of other parameters; in a stage that has begun, freeze and pfe "
                "cannot change"
            )
        laid = torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
        state.setdefault(int(index), {})[name] = laid.detach()
    whole = optimizer.state_dict()
    optimizer.load_state_dict({"state": state, "param_groups": whole["param_groups"]})
