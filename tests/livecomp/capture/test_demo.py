from __future__ import annotations

import itertools

import numpy as np

from livecomp.capture.demo import DemoSource


def read_all(source: DemoSource) -> list[np.ndarray[tuple[int, ...], np.dtype[np.uint8]]]:
    source.open()
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame.rgb)
    source.close()
    return frames


def test_it_moves_and_its_light_changes_smoothly() -> None:
    frames = read_all(DemoSource((320, 180), seconds=5))
    assert len(frames) == 150
    levels = [float(rgb.mean()) for rgb in frames]
    assert max(levels) - min(levels) > 3
    steps = [np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise(frames)]
    assert 0.5 < float(np.median(steps)) < 12
    assert max(steps) < 20


def test_no_black_border_shows() -> None:
    for rgb in read_all(DemoSource((320, 180), seconds=5))[::10]:
        borders = (rgb[0], rgb[:, 0], rgb[:, -1])
        assert all(float((border.max(axis=-1) < 3).mean()) < 0.5 for border in borders)
