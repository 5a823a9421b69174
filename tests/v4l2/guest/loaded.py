"""Importing this loads compiled loops, and with them the many modules that numba needs for it: 15 s in the guest."""

from __future__ import annotations

from livecomp.segment.chroma import ChromaKey

__all__: list[str] = []

ChromaKey().open()
