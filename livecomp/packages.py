"""Which versions of LiveComp and of the packages that matter are installed."""

from __future__ import annotations

from importlib import metadata

__all__ = ["package_versions"]

_PACKAGES = (
    "livecomp",
    "av",
    "numba",
    "numpy",
    "onnxruntime",
    "opencv-python-headless",
    "openvino",
    "pyvirtualcam",
    "tensorrt",
    "tensorrt-rtx-cu13",
)


def package_versions() -> dict[str, str]:
    """Version by package, of those that are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found
