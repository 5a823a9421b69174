"""One file a backend; each imports its package only when it is probed or loads a model."""

from __future__ import annotations

from engine.backend import Backend
from engine.backends import onnxruntime, openvino, tensorrt, torch

__all__ = ["BACKENDS", "REFERENCE"]

BACKENDS: dict[str, Backend] = {
    **tensorrt.BACKENDS,
    **openvino.BACKENDS,
    **onnxruntime.BACKENDS,
    **torch.BACKENDS,
}
"""By name."""

REFERENCE = "torch"
"""The one that is only compared with."""
