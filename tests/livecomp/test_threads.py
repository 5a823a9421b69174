"""What commands bound for the whole process, seen from a process of its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from livecomp.threads import bound_arenas, trim_heaps

_COUNT_HEAPS = """
import ctypes, sys, tempfile, threading
from livecomp.threads import bound_arenas
if sys.argv[1] == "bounded":
    assert bound_arenas(2)
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
barrier = threading.Barrier(8)
def allocate():
    barrier.wait()
    libc.malloc(1000)
    barrier.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
with tempfile.NamedTemporaryFile() as file:
    stream = ctypes.c_void_p(libc.fopen(file.name.encode(), b"w"))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    print(file.read().count(b"<heap nr="))
"""


def _heaps(how: str) -> int:
    done = subprocess.run([sys.executable, "-c", _COUNT_HEAPS, how], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc has heaps by thread")
def test_threads_share_few_heaps() -> None:
    assert _heaps("unbounded") > 2
    assert _heaps("bounded") <= 2


_TRIM = """
import numpy as np
from pathlib import Path
from livecomp.threads import bound_arenas, trim_heaps
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096
bound_arenas()
# small enough to lie in the heap, and the last one keeps it from shrinking by itself
pictures = [np.ones((100, 1000), np.uint8) for _ in range(400)]
last, pictures = pictures[-1], None
before = resident()
print(trim_heaps(), before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc gives back on request")
def test_holes_in_a_heap_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", _TRIM], capture_output=True, text=True, check=True)
    trimmed, given_back = done.stdout.split()
    assert trimmed == "True"
    assert int(given_back) > 30_000_000


def test_elsewhere_nothing_is_bound_or_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not bound_arenas()
    assert not trim_heaps()
