"""Fixtures for the whole suite."""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import platformdirs
import pytest

# Measured choices and built engines of the tests stay out of the user's cache; compiled loops are worth keeping.
os.environ.setdefault("NUMBA_CACHE_DIR", str(platformdirs.user_cache_path("livecomp") / "numba"))
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # for tests that import ONNX Runtime themselves
os.environ["XDG_CACHE_HOME"] = tempfile.mkdtemp(prefix="livecomp-tests-")

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with portraits, clips and triples for evaluation, which is not part of the repository."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the evaluation data is not at {SHARED}")
    return SHARED


@pytest.fixture(autouse=True)
def no_leftover_threads() -> Iterator[None]:
    """Fail a test that leaves one of LiveComp's own threads running."""
    yield
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        left = [thread.name for thread in threading.enumerate() if thread.name.startswith("livecomp")]
        if not left:
            return
        time.sleep(0.02)
    pytest.fail(f"threads left running: {left}")


@pytest.fixture(autouse=True)
def no_error_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail a test during which LiveComp logged an error."""
    yield
    errors = [
        record.getMessage()
        for record in caplog.get_records("call")
        if record.levelno >= logging.ERROR and record.name.split(".")[0] in ("livecomp", "engine", "training")
    ]
    if errors:
        pytest.fail(f"logged as errors: {errors}")
