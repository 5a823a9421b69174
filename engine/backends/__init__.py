"""One file a backend; each imports its package only when it is probed or loads a model."""

from __future__ import annotations

from engine.backend import Backend
from engine.backends import onnxruntime, openvino

__all__ = ["BACKENDS"]

BACKENDS: dict[str, Backend] = {**openvino.BACKENDS, **onnxruntime.BACKENDS}
"""By name, the most specialised first."""
