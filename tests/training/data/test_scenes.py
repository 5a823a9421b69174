"""People set into scenes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.cache import list_portraits
from training.data.scenes import fits, list_scenes, place, real_composites


def portrait() -> np.ndarray:
    picture = np.zeros((100, 80, 4), np.uint8)
    picture[..., :3] = (200, 50, 50)
    picture[20:, 20:60, 3] = 255
    return picture


def test_person_stands_on_the_lower_border_and_the_scene_fills_the_frame() -> None:
    scene = np.full((90, 160, 3), (10, 120, 10), np.uint8)
    for seed in range(5):
        rgb, alpha = place(portrait(), scene, (128, 96), np.random.default_rng(seed))
        assert rgb.shape == (96, 128, 3)
        assert alpha[-1].max() == 1
        height = np.flatnonzero(alpha.max(1) > 0.5)
        assert 0.7 * 96 <= len(height) <= 0.99 * 96
        assert np.abs(rgb[alpha == 1] * 255 - (200, 50, 50)).max() < 0.01
        assert np.abs(rgb[alpha == 0] * 255 - (10, 120, 10)).max() < 2


def test_wide_people_are_kept_inside_the_frame() -> None:
    wide = np.zeros((40, 200, 4), np.uint8)
    wide[..., 3] = 255
    _, alpha = place(wide, np.zeros((50, 50, 3), np.uint8), (64, 64), np.random.default_rng(0))
    assert (alpha > 0.5).any(0).sum() <= 0.9 * 64 + 1


def test_empty_matte_is_refused() -> None:
    empty = portrait()
    empty[..., 3] = 0
    with pytest.raises(ValueError, match="empty"):
        place(empty, np.zeros((9, 9, 3), np.uint8), (32, 32), np.random.default_rng(0))


def test_people_cut_by_the_sides_do_not_fit() -> None:
    matte = portrait()[..., 3]
    assert fits(matte)
    matte[30:, :60] = 255
    assert not fits(matte)
    assert not fits(np.zeros((40, 40), np.uint8))


def test_shoulders_may_leave_the_picture_near_the_bottom() -> None:
    matte = portrait()[..., 3]
    matte[70:] = 255
    assert fits(matte)


def test_shoulders_cut_by_the_photograph_stay_below_the_frame() -> None:
    picture = portrait()
    picture[75:, :, 3] = 255  # touches both sides
    _, alpha = place(picture, np.zeros((50, 50, 3), np.uint8), (128, 96), np.random.default_rng(0))
    widths = (alpha > 0.5).sum(1)
    assert widths[-1] > 10
    assert widths[-4:].max() < 1.1 * widths[60], "no row wider than the person above the cut"


def test_each_person_once_and_the_same_every_time(data_folder: Path) -> None:
    people, scenes = list_portraits(data_folder / "portraits" / "val"), list_scenes(data_folder / "backgrounds")
    made, again = (real_composites(people, scenes, 20, size_wh=(96, 64), seed=3) for _ in range(2))
    assert len(made) == 8
    assert len({c.name.split()[0] for c in made}) == 8
    for a, b in zip(made, again, strict=True):
        np.testing.assert_array_equal(a.rgb, b.rgb)


def test_folders_of_scenes_take_turns(data_folder: Path) -> None:
    rooms = data_folder / "backgrounds" / "rooms"
    (data_folder / "backgrounds" / "nature").mkdir()
    (data_folder / "backgrounds" / "nature" / "tree.jpg").write_bytes((rooms / "room0.jpg").read_bytes())
    people = list_portraits(data_folder / "portraits" / "val")
    made = real_composites(people, list_scenes(data_folder / "backgrounds"), 2, size_wh=(96, 64))
    assert sorted(c.name.split()[-1].rstrip("0123456789") for c in made) == ["room", "tree"]


def test_scenes_that_cannot_be_read_are_skipped(data_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    people, scenes = list_portraits(data_folder / "portraits" / "val"), list_scenes(data_folder / "backgrounds")
    scenes[1].write_bytes(b"broken")
    made = real_composites(people, scenes, 8, size_wh=(96, 64))
    assert {c.name.split()[-1] for c in made} == {"room0", "room2"}
    assert caplog.text.count("room1.jpg: cannot be decoded") == 1
    for path in scenes:
        path.write_bytes(b"broken")
    with pytest.raises(ValueError, match="none of the scenes can be read"):
        real_composites(people, scenes, 8, size_wh=(96, 64))


def test_nobody_who_fits_is_told(data_folder: Path) -> None:
    people, scenes = list_portraits(data_folder / "portraits" / "val"), list_scenes(data_folder / "backgrounds")
    for item in people:
        shape = cv2.imread(str(item.matte), cv2.IMREAD_GRAYSCALE).shape
        cv2.imwrite(str(item.matte), np.full(shape, 255, np.uint8))
    with pytest.raises(ValueError, match="none of 8 portraits shows a person who can be cut out"):
        real_composites(people, scenes, 8, size_wh=(96, 64))


def test_folder_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="found none"):
        list_scenes(tmp_path)
