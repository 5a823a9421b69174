from __future__ import annotations

import numpy as np
import pytest

from livecomp.errors import ContractError, MatteError
from livecomp.frame import Composite, Frame, freeze


def rgb(height: int = 4, width: int = 6) -> np.ndarray:
    return freeze(np.zeros((height, width, 3), np.uint8))


def test_a_frame_knows_its_size_and_keeps_its_pixels() -> None:
    frame = Frame(rgb(), 5)
    matted = frame.with_alpha(np.zeros((4, 6), np.uint8))
    assert frame.size_wh == (6, 4)
    assert matted.rgb is frame.rgb
    assert matted.pts_ns == 5
    assert not matted.require_alpha().flags.writeable


def test_a_frame_without_alpha_cannot_be_shown() -> None:
    with pytest.raises(MatteError, match="no matte"):
        Frame(rgb(), 1_500_000_000).require_alpha()


@pytest.mark.parametrize("kind", [Frame, Composite])
@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((4, 6), np.uint8),
        np.zeros((4, 6, 4), np.uint8),
        np.zeros((0, 6, 3), np.uint8),
        np.zeros((4, 6, 3), np.float32),
        [[1, 2, 3]],
    ],
)
def test_anything_but_a_colour_picture_is_refused(kind: type, picture: object) -> None:
    if isinstance(picture, np.ndarray):
        freeze(picture)
    with pytest.raises(ContractError, match=r"expected a non-empty uint8 array of shape \(H, W, 3\), received"):
        kind(picture, 0)


@pytest.mark.parametrize("kind", [Frame, Composite])
def test_a_writable_picture_is_refused(kind: type) -> None:
    with pytest.raises(ContractError, match="read-only"):
        kind(np.zeros((4, 6, 3), np.uint8), 0)


@pytest.mark.parametrize("alpha", [np.zeros((6, 4), np.uint8), np.zeros((4, 6), np.float32)])
def test_an_alpha_that_does_not_fit_is_refused(alpha: np.ndarray) -> None:
    with pytest.raises(ContractError, match=r"expected uint8 \(4, 6\) like the picture, received"):
        Frame(rgb(), 0).with_alpha(alpha)


def test_frames_and_composites_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Frame(rgb(), 0).pts_ns = 3  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        Composite(rgb(), 0).rgb[0] = 1
