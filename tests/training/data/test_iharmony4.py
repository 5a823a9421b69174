"""The iHarmony4 reader on a small folder of the standard layout."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.iharmony4 import Harmony4


def write(path: Path, picture: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), picture)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two subsets; the composite of HCOCO is blue-tinted where the mask is set."""
    mask = np.zeros((30, 40), np.uint8)
    mask[10:, 10:30] = 255
    for subset, photo in (("HCOCO", "c41"), ("HAdobe5k", "a0001")):
        real = np.full((30, 40, 3), (60, 120, 180), np.uint8)  # BGR
        composite = real.copy()
        composite[mask > 0] = (200, 120, 60)
        write(tmp_path / subset / "real_images" / f"{photo}.jpg", real)
        write(tmp_path / subset / "masks" / f"{photo}_35.png", mask)
        write(tmp_path / subset / "composite_images" / f"{photo}_35_1.jpg", composite)
    lines = [f"{subset}/composite_images/{name}_35_1.jpg" for subset, name in (("HCOCO", "c41"), ("HAdobe5k", "a0001"))]
    (tmp_path / "IHD_train.txt").write_text("\n".join(lines) + "\n\n")
    (tmp_path / "HCOCO" / "HCOCO_train.txt").write_text("c41_35_1.jpg\n")
    return tmp_path


def test_whole_set(root: Path) -> None:
    data = Harmony4(root, size=None)
    assert len(data) == 2
    sample = next(iter(data))
    assert sample.name == "HCOCO/composite_images/c41_35_1.jpg"
    assert sample.composite.shape == sample.real.shape == (30, 40, 3)
    np.testing.assert_allclose(sample.real[2, 2], (180, 120, 60), atol=4)
    np.testing.assert_allclose(sample.composite[20, 20], (60, 120, 200), atol=4)
    assert sample.mask[20, 20] == 255
    assert sample.mask[2, 2] == 0


def test_single_subset(root: Path) -> None:
    (sample,) = Harmony4(root / "HCOCO", size=64)
    assert sample.composite.shape == (64, 64, 3)
    assert sample.mask.shape == (64, 64)


def test_unreadable_composites_are_skipped_and_named(root: Path) -> None:
    broken = root / "HCOCO" / "composite_images" / "c41_35_1.jpg"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    data = Harmony4(root)
    assert [s.name for s in data] == ["HAdobe5k/composite_images/a0001_35_1.jpg"]
    assert "cannot be decoded" in data.skipped["HCOCO/composite_images/c41_35_1.jpg"]


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda r: (r / "HCOCO/masks/c41_35.png").unlink(), "masks/c41_35.png is missing"),
        (lambda r: write(r / "HCOCO/masks/c41_35.png", np.zeros((30, 40), np.uint8)), "mask is empty"),
        (lambda r: write(r / "HCOCO/masks/c41_35.png", np.ones((9, 9), np.uint8)), "differ in size"),
        (lambda r: write(r / "HCOCO/real_images/c41.jpg", np.zeros((31, 40, 3), np.uint8)), "differ in size"),
        (lambda r: (r / "HCOCO/HCOCO_train.txt").write_text("c41.jpg\n"), "PHOTO_OBJECT_VARIANT"),
    ],
)
def test_reasons_are_told(root: Path, harm: object, reason: str) -> None:
    harm(root)  # type: ignore[operator]
    data = Harmony4(root / "HCOCO")
    assert list(data) == []
    assert reason in next(iter(data.skipped.values()))


def test_lists_that_windows_wrote(root: Path) -> None:
    lines = (root / "IHD_train.txt").read_text().split()
    text = "\r\n".join(line.replace("/", "\\") for line in lines)
    (root / "IHD_train.txt").write_bytes(text.encode("utf-8-sig"))
    assert [s.name for s in Harmony4(root)] == lines
    (root / "IHD_train.txt").write_bytes(text.encode("utf-16"))
    with pytest.raises(ValueError, match=r"IHD_train\.txt: expected a list of names in UTF-8"):
        Harmony4(root)


def test_missing_list_names_what_is_expected(root: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"IHD_test\.txt"):
        Harmony4(root, "test")
    with pytest.raises(FileNotFoundError, match="no such folder"):
        Harmony4(root / "nowhere")
