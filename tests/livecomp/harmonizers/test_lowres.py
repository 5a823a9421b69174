from __future__ import annotations

import cv2
import numpy as np
import pytest

from livecomp.harmonizers.lowres import make_input


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (37, 91), (720, 1280), (1281, 723)])
def test_sizes_and_ends(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (*shape, 3), np.uint8)
    scene = np.full((*shape, 3), 77, np.uint8)
    composite, alpha = make_input(rgb, scene, np.zeros(shape, np.uint8), 32)
    assert composite.shape == (32, 32, 3)
    assert alpha.shape == (32, 32)
    assert not alpha.any()
    assert np.abs(composite.astype(int) - 77).max() <= 1
    composite, alpha = make_input(scene, rgb, np.full(shape, 255, np.uint8), 32)
    assert (alpha == 255).all()
    assert np.abs(composite.astype(int) - 77).max() <= 1


def test_it_is_close_to_blending_at_full_size_and_averaging() -> None:
    rng = np.random.default_rng(1)
    smooth = lambda: np.kron(rng.integers(0, 256, (9, 16, 3)), np.ones((80, 80, 1))).astype(np.uint8)  # noqa: E731
    rgb, scene = smooth(), smooth()
    alpha = np.zeros((720, 1280), np.uint8)
    alpha[200:, 300:900] = 255
    composite, _ = make_input(rgb, scene, alpha, 64)
    full = np.where(alpha[..., None] > 0, rgb, scene).astype(np.float32)
    expected = cv2.resize(full, (64, 64), interpolation=cv2.INTER_AREA)
    assert np.abs(composite - expected).mean() < 3


@pytest.mark.parametrize(("shape", "size"), [((256, 256), 128), ((256, 256), 64), ((240, 256), 128)])
def test_halves_are_rounded_up_whatever_is_averaged(shape: tuple[int, int], size: int) -> None:
    rgb = np.full((*shape, 3), 10, np.uint8)
    rgb[:, 1::2] = 11
    small, alpha = make_input(rgb, rgb, np.full(shape, 255, np.uint8), size)
    assert (small == 11).all()
    assert (alpha == 255).all()


def test_a_frame_that_is_lower_than_the_square_is_averaged_across_all_the_same() -> None:
    stripes = np.random.default_rng(3).integers(0, 256, (1, 213, 1), np.uint8)
    picture = np.tile(stripes, (100, 1, 3))
    composite, _ = make_input(picture, picture, np.full((100, 213), 255, np.uint8), 128)
    means = np.repeat(stripes[0, :, 0], 128).reshape(128, 213).mean(1)
    assert np.abs(composite - means[None, :, None]).max() <= 1
