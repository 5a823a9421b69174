"""The FFHQH builder: the recipe, the layout, the split, and folders that are not as they should be."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import kornia.enhance
import numpy as np
import pytest
import torch

from training.data import ffhqh
from training.data.iharmony4 import Harmony4

PLAIN = ffhqh.Jitter((0, 1, 2, 3), 1, 1, 1, 0, posterize=False, sharpen=False, autocontrast=False)


def picture(seed: int = 0, side: int = 48) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0.1, 0.9, (6, 6, 3)).astype(np.float32)
    return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC).clip(0, 1)


def portrait(folder: Path, name: str, seed: int = 0, side: int = 48) -> None:
    """A photograph NAME.jpg with a matte NAME.png that covers its lower middle."""
    folder.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(folder / f"{name}.jpg"), picture(seed, side) * 255)
    matte = np.zeros((side, side), np.uint8)
    matte[side // 4 :, side // 4 : 3 * side // 4] = 255
    cv2.imwrite(str(folder / f"{name}.png"), matte)


def kornia_of(rgb: np.ndarray, operation: str, value: float) -> np.ndarray:
    image = torch.from_numpy(rgb.transpose(2, 0, 1))[None]
    out = {
        "brightness": lambda: kornia.enhance.adjust_brightness_accumulative(image, value),
        "contrast": lambda: kornia.enhance.adjust_contrast_with_mean_subtraction(image, value),
        "saturation": lambda: kornia.enhance.adjust_saturation_with_gray_subtraction(image, value),
        "hue": lambda: kornia.enhance.adjust_hue(image, value * 2 * np.pi),
        "sharpness": lambda: kornia.enhance.sharpness(image, value),
    }[operation]()
    return out[0].numpy().transpose(1, 2, 0).clip(0, 1)


@pytest.mark.parametrize(
    ("operation", "value", "tolerance"),
    [("brightness", 1.4, 1e-5), ("contrast", 0.7, 2e-3), ("saturation", 1.06, 1e-3), ("hue", 0.05, 1e-3)],
)
def test_jitter_does_what_kornia_does(operation: str, value: float, tolerance: float) -> None:
    rgb = picture()
    jitter = ffhqh.Jitter(**{**PLAIN.__dict__, operation: value})
    out = ffhqh.augment(rgb, jitter)
    assert np.abs(out - rgb).max() > 0.005
    np.testing.assert_allclose(out, kornia_of(rgb, operation, value), atol=tolerance)


def test_sharpening_is_fourfold() -> None:
    rgb = picture()
    out = ffhqh.augment(rgb, ffhqh.Jitter(**{**PLAIN.__dict__, "sharpen": True}))
    np.testing.assert_allclose(out, kornia_of(rgb, "sharpness", 4.0), atol=1e-4)


def test_posterize_keeps_six_bits() -> None:
    out = ffhqh.augment(picture(), ffhqh.Jitter(**{**PLAIN.__dict__, "posterize": True}))
    levels = np.unique(np.rint(out * 255).astype(int))
    assert (levels % 4 == 0).all()


def test_autocontrast_uses_the_whole_range() -> None:
    rgb = picture() * 0.5 + 0.2
    out = ffhqh.augment(rgb, ffhqh.Jitter(**{**PLAIN.__dict__, "autocontrast": True}))
    np.testing.assert_allclose(out.min((0, 1)), 0, atol=1e-6)
    np.testing.assert_allclose(out.max((0, 1)), 1, atol=1e-6)


def test_draws_stay_in_the_published_ranges_and_use_them() -> None:
    rng = np.random.default_rng(0)
    draws = [ffhqh.Jitter.draw(rng) for _ in range(400)]
    ranges = {"brightness": (0.5, 1.5), "contrast": (0.6, 1.4), "saturation": (0.94, 1.06), "hue": (-0.05, 0.05)}
    for name, (low, high) in ranges.items():
        values = np.array([getattr(d, name) for d in draws])
        assert values.min() >= low
        assert values.max() <= high
        assert np.ptp(values) > 0.95 * (high - low)
    for name in ("posterize", "sharpen", "autocontrast"):
        assert 0.4 < np.mean([getattr(d, name) for d in draws]) < 0.6
    assert len({d.order for d in draws}) == 24


def test_pair_keeps_the_background_and_is_reproducible(tmp_path: Path) -> None:
    portrait(tmp_path, "a")
    (item,) = ffhqh.find_portraits(tmp_path, None, ffhqh.Report())
    first, again, other = (ffhqh.make_pair(item, 32, variant) for variant in (0, 0, 1))
    outside = first.matte == 0
    np.testing.assert_array_equal(first.composite[outside], first.real[outside])
    assert np.abs(first.composite.astype(int) - first.real)[first.matte == 255].max() > 3
    np.testing.assert_array_equal(first.composite, again.composite)
    assert (first.composite != other.composite).any()


def test_split_is_by_name_and_has_the_published_shares() -> None:
    names = [ffhqh.split_of(f"{i:05d}") for i in range(7000)]
    shares = {name: names.count(name) / 7000 for name, _ in ffhqh.SPLITS}
    assert shares["train"] == pytest.approx(6 / 7, abs=0.015)
    assert shares["val"] == pytest.approx(0.5 / 7, abs=0.01)
    assert ffhqh.split_of("00017") == ffhqh.split_of("00017")


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    for index in range(6):
        portrait(tmp_path / "in", f"p_{index}", index)
    assert ffhqh.main(["--portraits", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--variants", "2"]) == 0
    samples = [s for split, _ in ffhqh.SPLITS for s in Harmony4(tmp_path / "out", split, size=None)]
    assert len(samples) == 12
    assert len({s.name for s in samples}) == 12
    for sample in samples:
        inside = sample.mask > 127
        change = np.abs(sample.composite.astype(int) - sample.real)
        assert change[inside].mean() > change[~inside].mean() + 2


def test_bad_files_are_skipped_counted_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "in"
    for name in ("good", "truncated", "mismatched", "nobody", "matteless"):
        portrait(folder, name)
    whole = (folder / "truncated.jpg").read_bytes()
    (folder / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    cv2.imwrite(str(folder / "mismatched.png"), np.full((20, 20), 255, np.uint8))
    cv2.imwrite(str(folder / "nobody.png"), np.zeros((48, 48), np.uint8))
    (folder / "matteless.png").unlink()
    assert ffhqh.main(["--portraits", str(folder), "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["made"] == 1
    assert set(report["skipped"]) == {"truncated.jpg", "mismatched.jpg", "nobody.jpg", "matteless.jpg"}
    assert "empty" in report["skipped"]["nobody.jpg"]
    assert "(20, 20)" in report["skipped"]["mismatched.jpg"]
    assert "skipped 4" in capsys.readouterr().out


def test_photographs_of_one_name_do_not_replace_one_another(tmp_path: Path) -> None:
    for index, path in enumerate(("x/1", "y/1", "y/a_b", "y/a-b")):
        portrait(tmp_path / "in" / path.split("/")[0], path.split("/")[1], index)
    out = tmp_path / "out"
    assert ffhqh.main(["--portraits", str(tmp_path / "in"), "--out", str(out)]) == 0
    report = json.loads((out / "report.json").read_text())
    samples = [s for split, _ in ffhqh.SPLITS for s in Harmony4(out, split, size=None)]
    assert report["made"] == len(samples) == len(list((out / "real_images").iterdir())) == 2
    assert sorted(Path(name).relative_to(tmp_path / "in").as_posix() for name in report["skipped"]) == [
        "y/1.jpg",
        "y/a_b.jpg",
    ]
    for sample in samples:
        outside = sample.mask == 0
        assert np.abs(sample.composite.astype(int) - sample.real)[outside].mean() < 3


def test_mattes_in_their_own_tree(tmp_path: Path) -> None:
    """As FFHQ has it: PNG photographs in numbered folders."""
    portrait(tmp_path / "x", "00001")
    for kind, suffix in (("images", "jpg"), ("mattes", "png")):
        (tmp_path / kind / "00000").mkdir(parents=True)
        picture = cv2.imread(str(tmp_path / "x" / f"00001.{suffix}"), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(tmp_path / kind / "00000" / "00001.png"), picture)
    items = ffhqh.find_portraits(tmp_path / "images", tmp_path / "mattes", ffhqh.Report())
    assert [i.photo.stem for i in items] == ["00001"]
    assert ffhqh.make_pair(items[0], None).composite.shape == (48, 48, 3)


def test_mattes_in_the_folder_of_the_photographs_are_no_photographs(tmp_path: Path) -> None:
    portrait(tmp_path, "a")
    portrait(tmp_path, "orphan")
    (tmp_path / "orphan.jpg").unlink()
    report = ffhqh.Report()
    assert [i.photo.name for i in ffhqh.find_portraits(tmp_path, tmp_path, report)] == ["a.jpg"]
    assert report.skipped == {}


def test_a_person_who_vanishes_at_the_size_of_the_set_is_skipped_and_named(tmp_path: Path) -> None:
    portrait(tmp_path / "in", "a")
    portrait(tmp_path / "in", "far")
    matte = np.zeros((48, 48), np.uint8)
    matte[20, 20] = 255
    cv2.imwrite(str(tmp_path / "in" / "far.png"), matte)
    assert ffhqh.main(["--portraits", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--size", "16"]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["made"] == 1
    assert report["skipped"] == {"far.jpg": "far.png: the matte is empty at 16 pixels"}


def test_folder_without_mattes_says_what_is_expected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    portrait(tmp_path / "in", "a")
    (tmp_path / "in" / "a.png").unlink()
    assert ffhqh.main(["--portraits", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 3
    assert "1 photographs, but no matte for any; expected NAME.png" in capsys.readouterr().err
    assert ffhqh.main(["--portraits", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out")]) == 3
    assert "no such folder" in capsys.readouterr().err
