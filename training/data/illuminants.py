"""Measured lights as polynomial colour maps, and pairs of photographs under two of them.

The 350 lights of ccHarmony (Niu et al., MIT licence): for each a map from its colours to those under standard light and
one back, over the features ``r g b rg rb gb r² g² b² rgb 1`` of values 0..255. A person under light A, brought to
standard light and from there to light B, has a cast that no jitter produces.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.kernels import apply_lights

__all__ = ["Lights", "cast_picture", "load_lights"]

F32 = NDArray[np.float32]

FEATURES = 11


@dataclass(frozen=True)
class Lights:
    """Colour maps of K lights.

    Args:
        to_standard: (K, 3, 11) float32.
        from_standard: (K, 3, 11) float32.
    """

    to_standard: F32
    from_standard: F32

    def __len__(self) -> int:
        return int(self.to_standard.shape[0])


def load_lights(path: Path) -> Lights:
    """Read the ``.npz`` with arrays `to_standard` and `from_standard`.

    Raises:
        FileNotFoundError: No such file.
        ValueError: An array is missing or has another shape.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; expected the .npz of measured lights")
    with np.load(path, allow_pickle=False) as archive:
        maps = {}
        for name in ("to_standard", "from_standard"):
            if name not in archive.files:
                raise ValueError(f"{path}: expected an array {name!r}, received {archive.files}")
            maps[name] = np.ascontiguousarray(archive[name], np.float32)
    for name, value in maps.items():
        if value.ndim != 3 or value.shape[1:] != (3, FEATURES) or value.shape != maps["to_standard"].shape:
            raise ValueError(f"{path}: {name}: expected (K, 3, {FEATURES}), received {value.shape}")
    return Lights(maps["to_standard"], maps["from_standard"])


def cast_picture(rgb: F32, lights: Lights, source: int, target: int) -> tuple[F32, float]:
    """A picture taken under light `source`, as it would look under light `target`.

    Args:
        rgb: (H, W, 3) float32, encoded sRGB, 0..1.
        lights: The maps.
        source: Index of the light it was taken under.
        target: Index of the other light.

    Returns:
        The new picture, like `rgb`, and the share of its values that had to be clipped, 0..1.
    """
    planar = np.ascontiguousarray(rgb.reshape(-1, 3).T, np.float32)
    into = np.empty_like(planar)
    clipped = apply_lights(planar, into, lights.to_standard[source], lights.from_standard[target])
    return np.ascontiguousarray(into.T).reshape(rgb.shape), float(clipped)
