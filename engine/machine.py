"""What this machine is, as far as engines and measurements depend on it; read without loading any GPU library."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path

__all__ = ["cpu_features", "cpu_name", "gpu_fingerprint", "process_memory_mib"]

_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8", "asimd", "bf16")


@cache
def _cpuinfo() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    first = path.read_text().split("\n\n")[0]
    pairs = (line.split(":", 1) for line in first.splitlines() if ":" in line)
    return {key.strip(): value.strip() for key, value in pairs}


def cpu_name() -> str:
    """The processor's name and the number of logical cores this process may use."""
    info = _cpuinfo()
    name = info.get("model name") or platform.processor() or platform.machine()
    if "cpu family" in info and "model" in info:
        name += f" family {info['cpu family']} model {info['model']}"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def cpu_features() -> tuple[str, ...]:
    """Those instruction sets that decide which precision is fast; empty where the system does not tell."""
    info = _cpuinfo()
    flags = set((info.get("flags") or info.get("Features") or "").split())
    return tuple(feature for feature in _FEATURES if feature in flags)


def gpu_fingerprint() -> str:
    """The NVIDIA driver and GPUs as the kernel lists them; empty where there are none (or the system is not Linux)."""
    root = Path("/proc/driver/nvidia")
    version = root / "version"
    if not version.is_file():
        return ""
    models = [
        line.split(":", 1)[1].strip()
        for info in sorted(root.glob("gpus/*/information"))
        for line in info.read_text().splitlines()
        if line.startswith("Model")
    ]
    return "; ".join([version.read_text().splitlines()[0], *models])


def process_memory_mib() -> float:
    """Memory of this process that is resident now, in MiB; NaN where the system does not tell."""
    path = Path("/proc/self/statm")
    if not path.is_file():
        return float("nan")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
