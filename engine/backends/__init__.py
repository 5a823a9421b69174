"""One file a backend; each imports its package only when it is probed or loads a model."""

from __future__ import annotations

from engine.backend import Backend
from engine.backends import onnxruntime, openvino, tensorrt

__all__ = ["BACKENDS"]

BACKENDS: dict[str, Backend] = {**tensorrt.BACKENDS, **openvino.BACKENDS, **onnxruntime.BACKENDS}
"""By name, the most specialised first."""
