"""Fixtures for tests with a desktop."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pipewire.desktop import Desktop, why_not


@pytest.fixture
def short_path() -> Iterator[Path]:
    """An empty folder whose name leaves room for that of a socket."""
    with tempfile.TemporaryDirectory(prefix="lc-") as folder:
        yield Path(folder)


@pytest.fixture
def desktop(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desktop]:
    """A user's session with PipeWire, which this process is in too."""
    if reason := why_not():
        pytest.skip(reason)
    with Desktop(short_path) as running:
        monkeypatch.setenv("XDG_RUNTIME_DIR", running.variables["XDG_RUNTIME_DIR"])
        yield running
