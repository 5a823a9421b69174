"""The cache: what it holds, what it skips and names, and that it is built once."""

from __future__ import annotations

import shutil
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data import cache
from training.data.cache import CacheSpec, PortraitFile, build_cache, default_cache_dir, list_portraits
from training.data.pictures import read_rgb

SPEC = CacheSpec(size=32, crops=2, far_crops=2, scene_crops=3)


def test_shapes_and_contents(data_folder: Path, tmp_path: Path) -> None:
    files = list_portraits(data_folder / "portraits" / "train")
    scenes = sorted((data_folder / "backgrounds" / "rooms").glob("*.jpg"))
    crops = build_cache(files, scenes, SPEC, tmp_path / "cache")
    assert crops.portraits.shape == (8, 4, 32, 32, 5)
    assert crops.scenes.shape == (9, 32, 32, 3)
    assert crops.skipped == ()
    whole = cv2.imread(str(files[0].photo))[..., ::-1]
    expected = cv2.resize(whole, (32, 32), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(crops.portraits[0, 0, ..., :3], expected)
    matte, grown = crops.portraits[..., 3].astype(int), crops.portraits[..., 4].astype(int)
    assert (grown >= matte - 1).all()
    # people seen from afar stand on the lower border, with nothing above them
    far = crops.portraits[:, 2:, ..., 3]
    assert (far[:, :, 0] == 0).all()
    assert (far[:, :, -1].max(-1) > 200).all()


def test_the_light_of_some_scenes_is_made_neutral(data_folder: Path, tmp_path: Path) -> None:
    files = list_portraits(data_folder / "portraits" / "train")
    blue = np.random.default_rng(1).uniform(0.2, 1, (80, 80, 1)) * np.array([220, 120, 60])  # in OpenCV's order
    cv2.imwrite(str(tmp_path / "blue.png"), blue.astype(np.uint8))

    def spreads(neutral: float) -> np.ndarray:
        spec = CacheSpec(size=32, crops=1, far_crops=0, scene_crops=40, neutral=neutral)
        scenes = build_cache(files, [tmp_path / "blue.png"], spec, tmp_path / "cache").scenes
        return np.ptp(scenes.mean((1, 2)), axis=1)

    untouched, half, every = spreads(0.0), spreads(0.5), spreads(1.0)
    assert (untouched > 80).all()
    assert every.max() < untouched.min()
    assert 8 <= np.count_nonzero(half < untouched.min()) <= 32


def test_a_second_opening_decodes_nothing(data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = list_portraits(data_folder / "portraits" / "train")
    first = build_cache(files, [], SPEC, tmp_path / "cache")
    monkeypatch.setattr("training.data.cache.read_portrait", lambda item: pytest.fail(f"decoded {item} again"))
    second = build_cache(files, [], SPEC, tmp_path / "cache")
    np.testing.assert_array_equal(first.portraits, second.portraits)


def test_other_files_of_the_same_names_are_decoded_anew(data_folder: Path, tmp_path: Path) -> None:
    folder = data_folder / "portraits" / "train"
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(folder, elsewhere)
    first = build_cache(list_portraits(folder), [], SPEC, tmp_path / "cache")
    cv2.imwrite(str(elsewhere / "p0.jpg"), np.full((120, 108, 3), 200, np.uint8))
    other = build_cache(list_portraits(elsewhere), [], SPEC, tmp_path / "cache")
    assert not np.array_equal(first.portraits[0], other.portraits[0])
    # and so is one file that changes where it lies
    cv2.imwrite(str(folder / "p1.png"), np.full((120, 104), 255, np.uint8))
    again = build_cache(list_portraits(folder), [], SPEC, tmp_path / "cache")
    assert first.portraits[1, 0, ..., 3].min() < 255 == again.portraits[1, 0, ..., 3].min()


def test_bad_files_are_skipped_and_named(data_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = data_folder / "portraits" / "train"
    jpeg = (folder / "p0.jpg").read_bytes()
    (folder / "p0.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    cv2.imwrite(str(folder / "p1.png"), np.full((10, 10), 255, np.uint8))
    cv2.imwrite(str(folder / "p2.png"), np.zeros((120, 108), np.uint8))
    (folder / "p3.png").write_bytes(b"no picture")
    whole = bytearray((folder / "p4.jpg").read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 400] = np.random.default_rng(0).integers(0, 256, 400, np.uint8).tobytes()
    (folder / "p4.jpg").write_bytes(whole)
    crops = build_cache(list_portraits(folder), [], SPEC, tmp_path / "cache")
    assert len(crops.portraits) == 3
    told = "\n".join(crops.skipped)
    assert "p0.jpg: cannot be decoded" in told
    assert "p1.jpg: photograph (120, 104) and matte (10, 10) differ" in told
    assert "p2.png: the matte is empty" in told
    assert "p3.png: cannot be decoded as a picture" in told
    assert "p4.jpg: cannot be decoded as a picture without faults" in told
    assert len(caplog.records) >= 5
    # a cache that is opened again still says what is missing
    assert build_cache(list_portraits(folder), [], SPEC, tmp_path / "cache").skipped == crops.skipped
    caplog.clear()


@pytest.mark.parametrize("shape", [(1, 1, 3), (7, 1, 3), (15, 17), (120, 90, 3)])
@pytest.mark.parametrize("option", [[], [cv2.IMWRITE_JPEG_PROGRESSIVE, 1], [cv2.IMWRITE_JPEG_RST_INTERVAL, 2]])
def test_jpegs_of_every_kind_can_be_read(tmp_path: Path, shape: tuple[int, ...], option: list[int]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    cv2.imwrite(str(tmp_path / "a.jpg"), picture, option)
    whole = (tmp_path / "a.jpg").read_bytes()
    for rest in (b"", bytes(500), whole):  # some cameras add a preview
        (tmp_path / "a.jpg").write_bytes(whole + rest)
        assert read_rgb(tmp_path / "a.jpg").shape == (*shape[:2], 3)


@pytest.mark.parametrize("short_side", [256, 1024, 2560])
def test_the_grown_matte_holds_all_of_the_person_in_photographs_of_any_size(tmp_path: Path, short_side: int) -> None:
    small = cv2.GaussianBlur(cv2.circle(np.zeros((256, 256), np.uint8), (128, 128), 70, 255, -1), (0, 0), 1.5)
    matte = cv2.resize(small, (short_side, short_side), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(tmp_path / "a.png"), matte)
    cv2.imwrite(str(tmp_path / "a.jpg"), np.full((*matte.shape, 3), 90, np.uint8))
    whole = cache.squash(cache.read_portrait(PortraitFile(tmp_path / "a.jpg", tmp_path / "a.png")), 128) / 255
    outside = (1 - whole[..., 4]) * whole[..., 3]
    assert outside.sum() < 3
    assert whole[..., 4].sum() < 1.2 * whole[..., 3].sum()


@pytest.mark.parametrize("size", [(1, 1), (9, 12), (30, 600)])
def test_pictures_of_any_size_have_crops(tmp_path: Path, size: tuple[int, int]) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.full((*size, 3), 90, np.uint8))
    cv2.imwrite(str(tmp_path / "a.png"), np.full(size, 255, np.uint8))
    crops = build_cache(list_portraits(tmp_path), [tmp_path / "a.jpg"], SPEC, tmp_path / "cache")
    assert crops.skipped == ()
    assert crops.portraits.shape == (1, 4, 32, 32, 5)
    assert (crops.portraits[0, :2, ..., 3] == 255).all()
    assert crops.scenes.shape == (3, 32, 32, 3)


def test_a_folder_without_mattes_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder"):
        list_portraits(tmp_path / "nothing")
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(FileNotFoundError, match=r"1 photographs but no matte.*NAME\.png"):
        list_portraits(tmp_path)


def test_photographs_without_a_matte_are_counted_and_named(data_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = data_folder / "portraits" / "train"
    assert not caplog.records
    for index in (2, 5):
        (folder / f"p{index}.png").unlink()
    assert len(list_portraits(folder)) == 6
    (record,) = caplog.records
    assert "left out 2 of 8 photographs, which have no matte NAME.png: p2.jpg, p5.jpg" in record.message


@pytest.mark.parametrize("name", ["portraits.npy", "scenes.npy", "skipped.json"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_cache_that_was_cut_short_is_made_anew(
    data_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, share: float
) -> None:
    files = list_portraits(data_folder / "portraits" / "train")
    scenes = sorted((data_folder / "backgrounds" / "rooms").glob("*.jpg"))
    first = build_cache(files, scenes, SPEC, tmp_path / "cache")
    expected = np.array(first.portraits), np.array(first.scenes)
    (target,) = (tmp_path / "cache").iterdir()
    whole = (target / name).read_bytes()
    (target / name).write_bytes(whole[: int(share * len(whole))])
    again = build_cache(files, scenes, SPEC, tmp_path / "cache")
    np.testing.assert_array_equal(again.portraits, expected[0])
    np.testing.assert_array_equal(again.scenes, expected[1])
    assert "damaged, so it is made anew" in caplog.text
    assert list((tmp_path / "cache").iterdir()) == [target]


def test_two_builds_at_once_do_not_disturb_each_other(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = list_portraits(data_folder / "portraits" / "train")
    read, second = cache.read_portrait, []

    def read_and_build(item: PortraitFile) -> np.ndarray:
        if not second and item is files[3]:
            second.append(True)
            second.append(build_cache(files, [], SPEC, tmp_path / "cache"))
        return read(item)

    monkeypatch.setattr(cache, "read_portrait", read_and_build)
    first = build_cache(files, [], SPEC, tmp_path / "cache")
    np.testing.assert_array_equal(first.portraits, second[1].portraits)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_full_disk_leaves_no_part_of_a_cache(
    data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, text: str, encoding: str = "") -> None:
        path.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match=r"the crops cannot be kept: .*No space left on device"):
        build_cache(list_portraits(data_folder / "portraits" / "train"), [], SPEC, tmp_path / "cache")
    assert not list((tmp_path / "cache").iterdir())


def test_the_crops_of_a_folder_are_not_held_in_memory(data_folder: Path, tmp_path: Path) -> None:
    files = 8 * list_portraits(data_folder / "portraits" / "train")
    spec = CacheSpec(size=128, crops=3, far_crops=1, scene_crops=1)
    build_cache(files[:2], [], spec, tmp_path / "cache")
    tracemalloc.start()
    crops = build_cache(files, [], spec, tmp_path / "cache")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < crops.portraits.nbytes / 4


def test_nothing_readable_is_an_error(data_folder: Path, tmp_path: Path) -> None:
    folder = data_folder / "portraits" / "train"
    for path in folder.glob("*.png"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="none of 8 portraits could be read"):
        build_cache(list_portraits(folder), [], SPEC, tmp_path / "cache")


def test_the_cache_folder_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_dir() == tmp_path / "livecomp" / "training"
