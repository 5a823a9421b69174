from __future__ import annotations

import numpy as np
import pytest

from engine import ModelFile
from livecomp.frame import U8Array, freeze
from livecomp.gpu.graph import add_pixels, add_planes
from livecomp.gpu.nodes import Nodes
from livecomp.gpu.shrink import Shrinker
from livecomp.segment.shrink import shrink
from tests.livecomp.gpu.graphs import cpu_runner, waves

SIZES = ((1280, 720), (1920, 1080), (1281, 719), (641, 359), (640, 480), (240, 320), (97, 65), (2050, 1026))
WANTED = ((256, 256), (256, 144), (320, 180), (320, 179))


def shrunk(picture: U8Array) -> dict[str, U8Array]:
    """What a graph makes of (H, W, 3) at all wanted sizes."""
    size_wh = picture.shape[1], picture.shape[0]
    nodes = Nodes()
    shrinker = Shrinker(nodes, add_planes(nodes, nodes.input("frame", np.uint8, picture.shape), size_wh), size_wh)
    for wanted in WANTED:
        pixels = add_pixels(nodes, shrinker.shrunk(wanted), wanted)
        nodes.output(f"{wanted}", pixels, np.uint8, (wanted[1], wanted[0], 3))
    with cpu_runner(ModelFile.of(nodes.model("shrink"), "shrink.onnx")) as runner:
        return {name: np.asarray(small, np.uint8) for name, small in runner.infer({"frame": picture}).items()}


@pytest.mark.parametrize("size_wh", SIZES)
def test_a_picture_is_shrunk_to_the_very_level_of_the_cpu(size_wh: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (size_wh[1], size_wh[0], 3)).astype(np.uint8)
    white = np.full_like(noise, 255)
    for picture in (noise, white, waves(size_wh, 4)):
        small = shrunk(freeze(picture))
        for wanted in WANTED:
            np.testing.assert_array_equal(small[f"{wanted}"], shrink(picture, wanted))


def test_the_full_picture_is_halved_once_for_all_sizes() -> None:
    nodes = Nodes()
    shrinker = Shrinker(nodes, nodes.input("frame", np.float32, (1, 3, 720, 1280)), (1280, 720))
    first = shrinker.shrunk((320, 180))
    assert shrinker.shrunk((320, 180)) == first
    assert shrinker.shrunk((640, 360)) == shrinker.shrunk((640, 360)) != first
