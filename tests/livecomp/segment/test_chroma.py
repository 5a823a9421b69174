from __future__ import annotations

import numpy as np
import pytest

from livecomp.errors import ConfigError
from livecomp.frame import freeze
from livecomp.segment.chroma import ChromaKey

SKIN = [(224, 172, 138), (141, 85, 54), (255, 219, 197), (72, 45, 34)]


def alpha_of(rgb: tuple[int, int, int], **options: object) -> float:
    key = ChromaKey(**options)  # type: ignore[arg-type]
    key.open()
    return float(key.predict(freeze(np.full((3, 5, 3), rgb, np.uint8)))[1, 2])


@pytest.mark.parametrize("screen", [(0, 177, 64), (20, 160, 70), (0, 140, 50), (40, 200, 90)])
def test_the_screen_is_background_in_light_and_shade(screen: tuple[int, int, int]) -> None:
    assert alpha_of(screen) == 0


@pytest.mark.parametrize("person", [*SKIN, (0, 0, 0), (255, 255, 255), (128, 128, 128), (30, 60, 160), (190, 30, 40)])
def test_skin_hair_and_cloth_are_the_person(person: tuple[int, int, int]) -> None:
    assert alpha_of(person) == 1


def test_a_blue_screen_works_as_well() -> None:
    assert alpha_of((10, 50, 190), key_rgb=(0, 71, 187)) == 0
    assert alpha_of((224, 172, 138), key_rgb=(0, 71, 187)) == 1


def test_between_screen_and_person_alpha_rises_without_a_step() -> None:
    mix = np.linspace(0, 1, 200)[None, :, None]
    strip = np.array([0, 177, 64]) * (1 - mix) + np.array([224, 172, 138]) * mix
    key = ChromaKey()
    matte = key.predict(freeze(strip.round().astype(np.uint8)))[0]
    assert (np.diff(matte) > -0.02).all()
    assert np.diff(matte).max() < 0.06
    assert matte[0] == 0
    assert matte[-1] == 1


def test_the_reference_formula() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (31, 17, 3), np.uint8)
    key = np.array([10, 200, 30]) / 255
    ycc = np.array([[0.299, 0.587, 0.114], [-0.299, -0.587, 0.886], [0.701, -0.587, -0.114]])
    scale = np.array([0.564, 0.713])
    distance = np.linalg.norm(((rgb / 255 - key) @ ycc.T)[..., 1:] * scale, axis=-1)
    found = ChromaKey(key_rgb=(10, 200, 30), tolerance=0.2, softness=0.1).predict(freeze(rgb))
    np.testing.assert_allclose(found, np.clip((distance - 0.2) / 0.1, 0, 1), atol=2e-5)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"key_rgb": (128, 128, 128)}, "grey"),
        ({"key_rgb": (0, 300, 0)}, "300"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"softness": 0.0}, "softness"),
    ],
)
def test_keys_that_cannot_work_are_refused(options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        ChromaKey(**options)  # type: ignore[arg-type]
