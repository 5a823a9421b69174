"""A process of a training run takes no more of the machine than it is given."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from training.world import join_world

REPOSITORY = Path(__file__).resolve().parents[2]

SCRIPT = """
import numba, torch
from training.world import limit_threads
limit_threads(1)
print(torch.get_num_threads(), numba.get_num_threads())
"""


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core: there are no more threads to be kept to")
def test_both_libraries_keep_to_their_threads() -> None:
    """In a process of its own, since numba starts its threads once."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    environment.pop("OMP_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["1", "1"]


def test_processes_wait_for_the_one_that_decodes_a_large_data_set(monkeypatch: pytest.MonkeyPatch) -> None:
    store = dist.HashStore()
    monkeypatch.setenv("WORLD_SIZE", "2")
    begin = dist.init_process_group

    def alone(backend: str, timeout: timedelta = timedelta(minutes=30)) -> None:
        begin("gloo", store=store, rank=0, world_size=1, timeout=timeout)

    monkeypatch.setattr(dist, "init_process_group", alone)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with join_world() as world:
        assert (world.rank, world.size) == (0, 2)
        patience = dist.distributed_c10d._get_default_group()._get_backend(torch.device("cpu")).options._timeout
    assert patience >= timedelta(hours=6)
