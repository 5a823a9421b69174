"""The processes of a run and the devices they compute on."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import numba
import torch
import torch.distributed as dist

from training.config import TrainConfig
from training.objectives import Device

__all__ = ["World", "join_world", "limit_threads", "run_device"]

log = logging.getLogger(__name__)

PATIENCE = timedelta(hours=12)
"""How long a process waits for another. The first one decodes all pictures while the others wait: the 60,000 of FFHQ,
at 43 ms each on one core of an AMD EPYC (Zen 5), take 43 minutes, and PyTorch would wait for 10 or 30."""


@dataclass(frozen=True)
class World:
    """The processes of a run: this one's number, and how many there are."""

    rank: int = 0
    size: int = 1


def limit_threads(count: int) -> None:
    """Let PyTorch and numba use so many CPU threads of this process; numba no more than it has.

    Numba comes first: when it starts its threads, it tells the OpenMP that both share to use every core.
    """
    numba.set_num_threads(min(count, numba.get_num_threads()))
    torch.set_num_threads(count)


@contextmanager
def join_world() -> Iterator[World]:
    """Join the other processes that torchrun started, if it did."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    try:
        yield World(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()


def run_device(config: TrainConfig) -> Device:
    """Where this process computes: its GPU when there is one, and the precision that is asked for."""
    types = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}
    dtype = types[config.run.precision]
    if not torch.cuda.is_available():
        if dtype == torch.float16:
            log.warning("fp16 needs a GPU; this run uses bf16")
            dtype = torch.bfloat16
        return Device("cpu", dtype)
    index = int(os.environ.get("LOCAL_RANK", "0"))
    torch.cuda.set_device(index)
    return Device(f"cuda:{index}", dtype)
