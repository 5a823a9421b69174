"""Pairs: what the composite, the truth and the mask must have to do with each other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from training.data.augment import TASKS, PairBatch, PairMaker, PairRecipe, TaskRecipe
from training.data.cache import CacheSpec, CropCache, build_cache, list_portraits
from training.data.illuminants import Lights
from training.data.pair_kernel import clear_person

SPEC = CacheSpec(size=32, crops=2, far_crops=1, scene_crops=2)


@pytest.fixture
def crops(data_folder: Path, tmp_path: Path) -> CropCache:
    scenes = sorted((data_folder / "backgrounds" / "rooms").glob("*.jpg"))
    return build_cache(list_portraits(data_folder / "portraits" / "train"), scenes, SPEC, tmp_path / "cache")


def only(task: str, **options: float) -> PairRecipe:
    return PairRecipe({task: TaskRecipe(1.0, **options)}, world=0.0)


def inside_error(batch: PairBatch) -> np.ndarray:
    return (np.abs(batch.composite - batch.truth) * batch.mask).sum((1, 2, 3)) / batch.mask.sum((1, 2, 3))


def test_a_batch_depends_on_seed_process_and_step_alone(crops: CropCache, lights: Lights) -> None:
    def make(seed: int, step: int, rank: int) -> np.ndarray:
        return PairMaker(crops, lights, PairRecipe(), seed).batch(6, step, rank).composite

    first = make(1, 5, 0)
    np.testing.assert_array_equal(first, make(1, 5, 0))
    for other in (make(2, 5, 0), make(1, 6, 0), make(1, 5, 1)):
        assert not np.array_equal(first, other)


def test_only_the_person_differs_and_everything_is_in_range(crops: CropCache, lights: Lights) -> None:
    batch = PairMaker(crops, lights, PairRecipe(), 0).batch(64, 0)
    outside = np.broadcast_to(batch.mask == 0, batch.truth.shape)
    np.testing.assert_array_equal(batch.composite[outside], batch.truth[outside])
    for values in (batch.composite, batch.truth, batch.mask):
        assert values.dtype == np.float32
        assert values.min() >= 0
        assert values.max() <= 1 + 1e-6
    assert set(batch.task) == set(range(len(TASKS)))


def test_untouched_pairs_are_untouched(crops: CropCache, lights: Lights) -> None:
    batch = PairMaker(crops, lights, only("same", swap=0.5), 0).batch(16, 0)
    np.testing.assert_array_equal(batch.composite, batch.truth)


@pytest.mark.parametrize("task", ["jitter", "lights", "tone"])
def test_changed_pairs_are_changed(crops: CropCache, lights: Lights, task: str) -> None:
    batch = PairMaker(crops, lights, only(task), 0).batch(32, 0)
    assert np.median(inside_error(batch)) > 0.01


@pytest.mark.parametrize("task", ["lights", "tone"])
def test_mild_changes_are_smaller_but_there(crops: CropCache, lights: Lights, task: str) -> None:
    strong, mild = (PairMaker(crops, lights, replace(only(task), mild=m), 0).batch(64, 0) for m in (0.0, 1.0))
    assert 0.005 < np.median(inside_error(mild)) < 0.7 * np.median(inside_error(strong))


def test_wide_variation_reaches_night_and_leaves_untouched_pairs_untouched(crops: CropCache, lights: Lights) -> None:
    recipe = replace(only("same"), world=1.0)
    little, wide = (PairMaker(crops, lights, replace(recipe, wide=share), 0).batch(64, 0) for share in (0.0, 1.0))
    np.testing.assert_array_equal(wide.composite, wide.truth)
    darkest, dark = (batch.truth.mean((1, 2, 3)).min() for batch in (wide, little))
    assert darkest < 0.7 * dark


def test_people_can_be_drawn_evenly_over_skin_tones(crops: CropCache, lights: Lights) -> None:
    """Seven people of light skin and one of dark skin."""
    portraits = crops.portraits.copy()
    portraits[..., :3] = (225, 180, 160)
    portraits[3, ..., :3] = (90, 60, 45)
    unequal = replace(crops, portraits=portraits)
    even, as_they_are = (
        (PairMaker(unequal, lights, replace(only("same"), even_skin=share), 0).batch(256, 0).moments[:, 0] < 0.5).mean()
        for share in (1.0, 0.0)
    )
    assert 0.4 < even < 0.6
    assert 0.06 < as_they_are < 0.2


def test_local_light_changes_and_varies_over_the_person(crops: CropCache, lights: Lights) -> None:
    batch = PairMaker(crops, lights, only("local", local=1.0), 0).batch(32, 0)
    ratio = (batch.composite + 0.01) / (batch.truth + 0.01)
    spread = [r[:, m[0] > 0.5].std() for r, m in zip(ratio, batch.mask, strict=True)]
    assert np.median(spread) > 0.02


def test_the_two_directions_are_the_same_pair_read_both_ways(crops: CropCache, lights: Lights) -> None:
    person = PairMaker(crops, lights, only("tone", scene=0.0), 3).batch(8, 0)
    scene = PairMaker(crops, lights, only("tone", scene=1.0), 3).batch(8, 0)
    core = np.broadcast_to(person.mask == 1, person.truth.shape)
    np.testing.assert_allclose(person.truth[core], scene.composite[core], atol=1e-6)
    np.testing.assert_allclose(person.composite[core], scene.truth[core], atol=1e-6)
    outside = np.broadcast_to(person.mask == 0, person.truth.shape)
    assert np.abs(person.truth[outside] - scene.truth[outside]).mean() > 0.01


def test_a_cleared_background_holds_no_trace_of_the_person() -> None:
    """A black person in a scene of two colours: what fills their place is made of these two."""
    rgb = np.zeros((3, 64, 64), np.float32)
    rgb[0, :, :32], rgb[1, :, 32:] = 0.8, 0.4
    grown = np.zeros((64, 64), np.float32)
    grown[20:, 20:50] = 1
    rgb[:, 21:, 21:49] = 0
    cleared = np.full_like(rgb, np.nan)
    clear_person(rgb, grown, cleared)
    np.testing.assert_array_equal(cleared[:, grown == 0], rgb[:, grown == 0])
    share = cleared[0] / 0.8 + cleared[1] / 0.4
    np.testing.assert_allclose(share, 1, atol=1e-4)
    assert np.abs(cleared[2]).max() == 0
    # near the edge of its place it goes on as it was outside
    assert (cleared[0, 40, 20:23] > 0.7).all()
    assert (cleared[1, 40, 47:50] > 0.35).all()


def test_nothing_but_a_person_is_left_as_it_is() -> None:
    rgb = np.random.default_rng(1).random((3, 32, 32), np.float32)
    cleared = np.full_like(rgb, np.nan)
    clear_person(rgb, np.ones((32, 32), np.float32), cleared)
    np.testing.assert_array_equal(cleared, rgb)


def test_over_a_cleared_background_no_mask_takes_in_a_rim(crops: CropCache, lights: Lights) -> None:
    recipe = replace(only("lights"), cleared=1.0)
    soft, *others = (
        PairMaker(crops, lights, replace(recipe, masks=tuple(np.eye(6)[kind])), 0).batch(16, 0) for kind in (0, 2, 4, 5)
    )
    for other in others:
        np.testing.assert_array_equal(soft.mask, other.mask)
        np.testing.assert_array_equal(soft.composite, other.composite)
    own = PairMaker(crops, lights, replace(recipe, cleared=0.0, masks=tuple(np.eye(6)[2])), 0).batch(16, 0)
    assert own.mask.mean() > 1.05 * soft.mask.mean()


def test_another_scene_replaces_the_background_only(crops: CropCache, lights: Lights) -> None:
    batch = PairMaker(crops, lights, replace(only("same", swap=1.0), masks=(1, 0, 0, 0, 0, 0)), 0).batch(8, 0)
    photos = crops.portraits[..., :3].astype(np.float32) / 255
    for composite, mask in zip(batch.composite, batch.mask, strict=True):
        inside = mask[0] == 1
        picture = composite.transpose(1, 2, 0)
        errors = [
            np.abs(photo - view)[place].max()
            for view, place in ((picture, inside), (picture[:, ::-1], inside[:, ::-1]))
            for photo in photos.reshape(-1, 32, 32, 3)
        ]
        assert min(errors) < 1e-3


def test_grown_masks_leave_no_original_person_outside(crops: CropCache, lights: Lights) -> None:
    grown = replace(only("same"), masks=(0, 0, 1, 0, 0, 0))
    matte = replace(grown, masks=(1, 0, 0, 0, 0, 0))
    large, small = (PairMaker(crops, lights, r, 0).batch(16, 0).mask for r in (grown, matte))
    assert (large[small > 0.2] > 0.95).mean() > 0.97
    assert large.mean() > small.mean() + 0.01


@pytest.mark.parametrize("kind", range(6))
def test_every_kind_of_mask_covers_the_person(crops: CropCache, lights: Lights, kind: int) -> None:
    weights = tuple(1.0 if k == kind else 0.0 for k in range(6))
    batch = PairMaker(crops, lights, replace(only("same"), masks=weights), 0).batch(8, 0)
    matte = PairMaker(crops, lights, replace(only("same"), masks=(1, 0, 0, 0, 0, 0)), 0).batch(8, 0).mask
    overlap = (np.minimum(batch.mask, matte)).sum() / np.maximum(batch.mask, matte).sum()
    assert 0.6 < overlap <= 1
    if kind == 1:
        assert set(np.unique(batch.mask)) <= {0.0, 1.0}


def test_samples_are_pixels_of_the_pair(crops: CropCache, lights: Lights) -> None:
    batch = PairMaker(crops, lights, PairRecipe(), 0, samples=40).batch(8, 0)
    for n in range(8):
        for k, picture in enumerate((batch.composite, batch.truth)):
            np.testing.assert_array_equal(batch.pixels[n, k], picture[n].reshape(3, -1)[:, batch.index[n]])
        np.testing.assert_array_equal(batch.weight[n], batch.mask[n].reshape(-1)[batch.index[n]])


def test_an_unknown_task_is_named(crops: CropCache, lights: Lights) -> None:
    with pytest.raises(ValueError, match=r"unknown tasks \['sepia'\]; known: jitter, lights"):
        PairMaker(crops, lights, PairRecipe({"sepia": TaskRecipe(1.0)}), 0)


def test_without_scenes_other_photographs_serve(data_folder: Path, tmp_path: Path, lights: Lights) -> None:
    crops = build_cache(list_portraits(data_folder / "portraits" / "train"), [], SPEC, tmp_path / "cache2")
    batch = PairMaker(crops, lights, only("same", swap=1.0), 0).batch(8, 0)
    assert np.isfinite(batch.composite).all()
