"""Reference recipes do what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from livecomp.bench import Case
from livecomp.bench.peers import RECIPES, apply_filters, make_b0_size, measure_peer, plain_composite
from livecomp.config import Config
from livecomp.errors import ConfigError, DependencyError

SIZE_WH = (160, 90)
NAMES = list(RECIPES)


def test_a_recipe_is_measured_stage_by_stage() -> None:
    found = measure_peer(Case(SIZE_WH, what=NAMES[0]), Config(), "demo", "#204060", 0.1)
    assert [stage.stage for stage in found.stages] == ["segment", "background", "composite"]
    assert found.frames == len(found.frame_ms)
    assert found.note == RECIPES[NAMES[0]].does
    assert found.case.name == f"160x90 {NAMES[0]}"


def test_the_recipe_with_filters_predicts_for_each_frame() -> None:
    pytest.importorskip("onnx")
    found = measure_peer(Case(SIZE_WH, what=NAMES[2]), Config(), "demo", "#204060", 0.1)
    stages = {stage.stage: stage for stage in found.stages}
    assert stages["harmonize"].count == stages["filters"].count == found.frames


def test_an_unknown_recipe_and_one_without_its_network_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="known are"):
        measure_peer(Case(SIZE_WH, what="magic"), Config(), "demo", "#204060", 0.1)
    monkeypatch.setenv("XDG_DATA_HOME", "/nonexistent")
    with pytest.raises(DependencyError, match="setup rvm"):
        measure_peer(Case(SIZE_WH, what=NAMES[1]), Config(), "demo", "#204060", 0.1)


def test_the_plain_composite_is_a_blend() -> None:
    rng = np.random.default_rng(0)
    rgb, scene = (rng.integers(0, 256, (9, 7, 3), np.uint8) for _ in range(2))
    alpha = rng.integers(0, 256, (9, 7), np.uint8)
    share = alpha[..., None] / 255
    expected = share * rgb + (1 - share) * scene
    assert np.abs(plain_composite(rgb, scene, alpha) - expected).max() <= 1.01


def test_filters_of_no_strength_change_nothing_and_each_has_its_own_effect() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    assert np.abs(apply_filters(rgb, np.zeros(6, np.float32)).astype(int) - rgb).max() <= 1
    changed = [apply_filters(rgb, strength).astype(int) for strength in np.eye(6, dtype=np.float32) * np.float32(0.3)]
    for index, picture in enumerate(changed):
        assert all(np.abs(picture - other).mean() > 1 for other in [rgb, *changed[:index]])


def test_the_network_has_the_size_of_efficientnet_b0(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    make_b0_size(tmp_path / "net.onnx")
    weights = onnx.load(tmp_path / "net.onnx").graph.initializer
    parameters = sum(int(np.prod(weight.dims)) for weight in weights)
    # 5.3 M with its classifier of 1.28 M and its normalisations
    assert 3.9e6 < parameters < 4.1e6
