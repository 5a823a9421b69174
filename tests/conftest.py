"""Fixtures for the whole suite."""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with portraits, clips and triples for evaluation, which is not part of the repository."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"the evaluation data is not at {SHARED}")
    return SHARED
