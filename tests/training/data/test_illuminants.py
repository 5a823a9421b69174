"""Reading lights, and casting pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.data.illuminants import Lights, cast_picture, load_lights


def test_a_cast_and_its_way_back(lights: Lights) -> None:
    rgb = np.random.default_rng(0).uniform(0.1, 0.6, (9, 7, 3)).astype(np.float32)
    there, clipped = cast_picture(rgb, lights, 0, 1)
    np.testing.assert_allclose(there, rgb * np.array([1.0, 0.85, 0.7]), atol=1e-5)
    assert clipped == 0
    back, _ = cast_picture(there, lights, 1, 0)
    np.testing.assert_allclose(back, rgb, atol=1e-5)


def test_files_are_checked(tmp_path: Path, lights: Lights) -> None:
    path = tmp_path / "lights.npz"
    with pytest.raises(FileNotFoundError, match="no such file"):
        load_lights(path)
    np.savez(path, to_standard=lights.to_standard)
    with pytest.raises(ValueError, match="expected an array 'from_standard'"):
        load_lights(path)
    np.savez(path, to_standard=lights.to_standard, from_standard=lights.from_standard[:2])
    with pytest.raises(ValueError, match=r"expected \(K, 3, 11\), received \(2, 3, 11\)"):
        load_lights(path)
    np.savez(path, to_standard=lights.to_standard, from_standard=lights.from_standard)
    assert len(load_lights(path)) == 4


def test_the_measured_lights(shared: Path) -> None:
    measured = load_lights(shared / "data" / "illuminants" / "ccharmony_train.npz")
    assert len(measured) == 250
    skin = np.full((4, 4, 3), (0.78, 0.6, 0.5), np.float32)
    casts = np.stack([cast_picture(skin, measured, 0, k)[0][0, 0] for k in range(0, 250, 10)])
    assert casts.std(0).min() > 0.02
