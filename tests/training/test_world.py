"""A process of a training run takes no more of the machine than it is given."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

SCRIPT = """
import numba, torch
from training.world import limit_threads
limit_threads(1)
print(torch.get_num_threads(), numba.get_num_threads())
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core: there are no more threads to be kept to")
def test_both_libraries_keep_to_their_threads() -> None:
    """In a process of its own, since numba starts its threads once."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    environment.pop("OMP_NUM_THREADS", None)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.split() == ["1", "1"]
