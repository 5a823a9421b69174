"""The yardsticks in tables and the runtime's harmonizers of the same name do the same to a picture."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from livecomp.harmonizers.registry import make_harmonizer
from training.baselines import mkl, reinhard_lab


def composite() -> tuple[np.ndarray, np.ndarray]:
    """A cool, dark person in a warm, bright scene; smooth colours, far from the ends of the range."""
    rng = np.random.default_rng(4)
    mask = np.zeros((96, 128), np.uint8)
    mask[24:, 36:96] = 255
    person = cv2.resize(rng.normal((0.35, 0.4, 0.45), 0.06, (8, 10, 3)), (128, 96), interpolation=cv2.INTER_CUBIC)
    scene = cv2.resize(rng.normal((0.6, 0.52, 0.45), 0.08, (8, 10, 3)), (128, 96), interpolation=cv2.INTER_CUBIC)
    rgb = np.where(mask[..., None] > 0, person, scene)
    return np.rint(255 * rgb.clip(0, 1)).astype(np.uint8), mask


@pytest.mark.parametrize(("name", "function"), [("reinhard", reinhard_lab), ("mkl", mkl)])
def test_same_transfer(name: str, function: Callable[..., np.ndarray]) -> None:
    rgb, mask = composite()
    picture, inside = rgb.astype(np.float32) / 255, mask > 0
    ours = function(picture, inside.astype(np.float32))
    harmonizer = make_harmonizer(name)
    harmonizer.open()
    theirs = harmonizer.predict(rgb, mask).apply(picture)
    harmonizer.close()
    moved = 255 * np.abs(ours - picture)[inside].mean()
    apart = 255 * np.abs(ours - theirs)[inside].mean()
    assert moved > 25
    assert apart < 0.08 * moved, f"{apart:.1f} of {moved:.1f}"
