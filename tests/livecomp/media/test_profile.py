from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from livecomp.frame import U8Array
from livecomp.media.image import read_image, read_mask

SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
SWAPPED = SRGB.replace(b"rXYZ", b"....").replace(b"gXYZ", b"rXYZ").replace(b"....", b"gXYZ")
"""The first number is green in this space, and the second red."""
LOSSLESS = {".png": {}, ".webp": {"lossless": True, "exact": True}, ".tif": {}}


def picture() -> U8Array:
    return np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)


def saved(path: Path, profile: bytes | None, **options: object) -> Path:
    Image.fromarray(picture()).save(path, icc_profile=profile, **options)
    return path


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_colors_are_those_of_the_embedded_profile(tmp_path: Path, suffix: str) -> None:
    rgb = read_image(saved(tmp_path / f"picture{suffix}", SWAPPED, **LOSSLESS[suffix]))
    assert np.abs(rgb.astype(int) - picture()[..., [1, 0, 2]]).max() <= 2
    assert not rgb.flags.writeable


def test_profile_of_a_jpeg_counts_too(tmp_path: Path) -> None:
    image = Image.new("RGB", (32, 32), (250, 40, 10))
    image.save(tmp_path / "red.jpg", icc_profile=SWAPPED, quality=95)
    assert np.abs(read_image(tmp_path / "red.jpg")[16, 16].astype(int) - (40, 250, 10)).max() <= 4


@pytest.mark.parametrize("profile", [None, SRGB])
def test_srgb_stays_as_stored_to_the_level(tmp_path: Path, profile: bytes | None) -> None:
    assert np.array_equal(read_image(saved(tmp_path / "picture.png", profile)), picture())


@pytest.mark.parametrize("profile", [SRGB[:200], SRGB[:16] + b"R\xd7B " + SRGB[20:]])
def test_damaged_profile_is_named_and_the_picture_taken_for_srgb(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, profile: bytes
) -> None:
    path = saved(tmp_path / "picture.tif", profile)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(read_image(path), picture())
    assert str(path) in caplog.text
    assert "profile" in caplog.text


@pytest.mark.parametrize(("mode", "space"), [("CMYK", b"CMYK"), ("L", b"GRAY")])
def test_profiles_of_other_spaces_than_rgb_change_nothing(tmp_path: Path, mode: str, space: bytes) -> None:
    image = Image.fromarray(picture()).convert(mode)
    image.save(tmp_path / "without.tif")
    image.save(tmp_path / "with.tif", icc_profile=SRGB[:16] + space + SRGB[20:])
    assert np.array_equal(read_image(tmp_path / "with.tif"), read_image(tmp_path / "without.tif"))


def test_mask_is_read_as_stored_whatever_its_profile_says(tmp_path: Path) -> None:
    grey = picture()[..., 0]
    Image.fromarray(np.dstack([grey] * 3)).save(tmp_path / "mask.png", icc_profile=SWAPPED)
    assert np.array_equal(read_mask(tmp_path / "mask.png"), grey)


@pytest.mark.parametrize("suffix", [".jpg", ".avif"])
def test_damaged_notes_are_no_reason_to_complain(tmp_path: Path, suffix: str) -> None:
    if suffix == ".avif" and not features.check("avif"):
        pytest.skip("this Pillow has been built without AVIF")
    path = tmp_path / f"noted{suffix}"
    exif = Image.Exif()
    exif[0x010E] = "what the picture shows"
    whole = exif.tobytes()
    with warnings.catch_warnings(record=True) as complaints:
        warnings.simplefilter("ignore")  # of who writes them
        Image.fromarray(picture()).save(path, exif=whole[: len(whole) // 2], icc_profile=SWAPPED)
        warnings.simplefilter("always")
        assert read_image(path).shape == (30, 40, 3)
    assert not complaints


def test_huge_picture_gives_its_profile_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)  # picture() has 1,200: more than 1, fewer than 2 times as many
    buffer = io.BytesIO()
    Image.fromarray(picture()).save(buffer, "PNG", icc_profile=SWAPPED)
    (tmp_path / "huge.png").write_bytes(buffer.getvalue())
    rgb = read_image(tmp_path / "huge.png")
    assert np.abs(rgb.astype(int) - picture()[..., [1, 0, 2]]).max() <= 2
