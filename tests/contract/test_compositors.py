"""One suite over the fast compositor and its reference."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from livecomp.composite.fused import FusedCompositor
from livecomp.composite.reference import ReferenceCompositor
from livecomp.correction import Correction
from livecomp.frame import Frame, freeze

OPTIONS = [
    {"light_wrap": wrap, "decontaminate": clean, "linear_light": linear}
    for wrap, clean, linear in itertools.product((0.0, 1.0), (False, True), (False, True))
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("compositor", [FusedCompositor, ReferenceCompositor])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (120, 213)], ids=str)
def test_an_empty_matte_shows_the_scene_exactly(compositor: type, size: tuple[int, int], options: dict) -> None:
    rng = np.random.default_rng(0)
    room, scene = (freeze(rng.integers(0, 256, (*size, 3), np.uint8)) for _ in range(2))
    bright = Correction(Correction.identity().matrix, Correction.identity().curves, np.full((16, 16), 1.0, np.float32))
    shown = compositor(**options).compose(Frame(room, 7).with_alpha(np.zeros(size, np.uint8)), scene, bright)
    np.testing.assert_array_equal(shown.rgb, scene)
    assert not shown.rgb.flags.writeable
    assert not np.shares_memory(shown.rgb, scene)
    assert (shown.pts_ns, shown.kind) == (7, "composite")


@pytest.mark.parametrize(("edge", "left"), [(4, 0.35), (8, 0.6), (80, 1.0)])
@pytest.mark.parametrize("compositor", [FusedCompositor, ReferenceCompositor])
def test_decontamination_never_adds_room(compositor: type, edge: int, left: float) -> None:
    """A grey person, a room of any colour, exact mattes: the edge comes nearer to the person, or stays.

    Args:
        compositor: Its class.
        edge: Width of the ramp in pixels, in a picture 200 wide; the means reach 4 pixels to either side.
        left: The share of the room's trace that may be left at the worst pixel; much of it in the widest ramp.
    """
    ramp = np.clip((np.arange(200) - 100) / edge * 255 + 127, 0, 255).astype(np.uint8)
    alpha = np.tile(ramp, (60, 1))
    share = alpha[..., None] / np.float32(255)
    scene = freeze(np.full((60, 200, 3), 110, np.uint8))
    for room in ((255, 0, 255), (0, 255, 0), (0, 0, 0), (255, 255, 255)):
        rgb = freeze(np.round(share * 110 + (1 - share) * np.float32(room)).astype(np.uint8))
        frame = Frame(rgb, 0).with_alpha(alpha.copy())
        plain, clean = (
            compositor(decontaminate=on).compose(frame, scene, Correction.identity()).rgb.astype(int) - 110
            for on in (False, True)
        )
        assert np.abs(clean).max() <= left * np.abs(plain).max()
        assert (np.abs(clean) <= np.abs(plain) + 1).all()
