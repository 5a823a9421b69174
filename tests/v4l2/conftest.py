"""Fixtures for tests with virtual devices."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.v4l2 import shim


@pytest.fixture(scope="session")
def fake_v4l2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The preloaded library of cameras and virtual cameras, built once."""
    if reason := shim.why_not():
        pytest.skip(reason)
    return shim.build(tmp_path_factory.mktemp("shim"))
