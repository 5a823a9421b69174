from __future__ import annotations

import logging
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, features

from livecomp.background import open_background
from livecomp.capture.registry import open_source
from livecomp.errors import DependencyError, InputError
from livecomp.frame import Frame, U8Array, freeze
from livecomp.media import heif
from livecomp.media.image import read_image
from livecomp.media.video import VideoReader

pytestmark = pytest.mark.skipif(not features.check("avif"), reason="this Pillow has been built without AVIF")

HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"

ORIENTATION = 0x0112


def corners() -> U8Array:
    """40x24: red at the upper left, green at the upper right, blue below."""
    rgb = np.full((24, 40, 3), (20, 30, 200), np.uint8)
    rgb[:12, :20], rgb[:12, 20:] = (220, 30, 20), (20, 200, 40)
    return rgb


def saved(path: Path, *, orientation: int = 1, mode: str = "RGB") -> Path:
    image = Image.fromarray(corners()).convert(mode)
    exif = image.getexif()
    exif[ORIENTATION] = orientation
    image.save(path, "AVIF", quality=95, subsampling="4:4:4", exif=exif)
    return path


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_an_avif_is_read(tmp_path: Path, mode: str) -> None:
    rgb = read_image(saved(tmp_path / "beach.avif", mode=mode))
    assert np.abs(rgb.astype(int) - corners()).mean() < 4
    assert not rgb.flags.writeable


@pytest.mark.parametrize(("orientation", "turns"), [(3, 2), (6, -1), (8, 1)])
def test_it_is_turned_as_it_is_meant_to_be_seen(tmp_path: Path, orientation: int, turns: int) -> None:
    rgb = read_image(saved(tmp_path / "beach.avif", orientation=orientation))
    expected = np.rot90(corners(), turns)
    assert rgb.shape == expected.shape
    assert np.abs(rgb.astype(int) - expected).mean() < 4


def test_it_is_a_scene_and_a_picture_to_process(tmp_path: Path) -> None:
    path = saved(tmp_path / "Beach.AVIF")
    scene = open_background(path)
    scene.open()
    assert np.abs(scene.render(Frame(freeze(np.zeros((24, 40, 3), np.uint8)), 0)).astype(int) - corners()).mean() < 4
    scene.close()
    source = open_source(path)
    source.open()
    assert source.info.size_wh == (40, 24)
    source.close()


def test_of_an_animation_the_first_picture_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Image.fromarray(corners())
    first.save(tmp_path / "a.avif", save_all=True, append_images=[Image.new("RGB", first.size)], subsampling="4:4:4")
    with caplog.at_level(logging.WARNING):
        assert np.abs(read_image(tmp_path / "a.avif").astype(int) - corners()).mean() < 4
    assert "a.avif is an animation" in caplog.text


def for_display(path: Path, primaries: int, transfer: int) -> Path:
    """The same numbers, said to be for another display."""
    data = path.read_bytes()
    place = data.index(b"colrnclx") + len("colrnclx")
    path.write_bytes(data[:place] + primaries.to_bytes(2, "big") + transfer.to_bytes(2, "big") + data[place + 4 :])
    return path


@pytest.mark.parametrize(("suffix", "kind"), [("avif", "AVIF"), ("heic", "HEIF")])
@pytest.mark.parametrize(
    ("primaries", "transfer", "name", "red"),
    [(9, 16, "PQ", (255, 0, 0)), (9, 18, "HLG", (253, 0, 0)), (12, 13, "", (240, 0, 0)), (1, 13, "", (220, 30, 20))],
)
def test_colors_for_another_display_are_brought_into_srgb(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    suffix: str,
    kind: str,
    primaries: int,
    transfer: int,
    name: str,
    red: tuple[int, int, int],
) -> None:
    if kind == "HEIF":
        pytest.importorskip("pillow_heif", reason="the extra 'heif' is not installed").register_heif_opener()
    path = tmp_path / f"beach.{suffix}"
    Image.fromarray(corners()).save(path, kind, quality=95)
    with caplog.at_level(logging.WARNING):
        rgb = read_image(for_display(path, primaries, transfer))
    assert np.abs(rgb[4, 4].astype(int) - red).max() <= 12
    assert (f"has a high dynamic range ({name})" in caplog.text) == bool(name)
    assert not rgb.flags.writeable


def test_an_embedded_profile_goes_before_what_the_container_says(tmp_path: Path) -> None:
    path = tmp_path / "beach.avif"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(corners()).save(path, quality=95, subsampling="4:4:4", icc_profile=profile)
    rgb = read_image(for_display(path, 9, 18))
    assert np.abs(rgb.astype(int) - corners()).mean() < 4


def test_what_cannot_be_read_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "beach.avif")
    whole = path.read_bytes()
    for length in (40, len(whole) // 2):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"beach\.avif (is no picture, or is damaged|cannot be decoded)"):
            read_image(path)
    (tmp_path / "beach.mp4").write_bytes(whole)
    with pytest.raises(InputError, match=r"is a picture, not a video; give it a name that ends with \.avif"):
        VideoReader(tmp_path / "beach.mp4").open()
    path.write_bytes(whole)
    monkeypatch.setattr(heif.features, "check", lambda name: False)
    with pytest.raises(DependencyError, match="this Pillow cannot read"):
        read_image(path)


def test_a_heic_is_read_where_there_is_what_reads_it(tmp_path: Path) -> None:
    pillow_heif = pytest.importorskip("pillow_heif", reason="the extra 'heif' is not installed")
    pillow_heif.register_heif_opener()
    path = tmp_path / "beach.heic"
    Image.fromarray(corners()).save(path, quality=95, chroma=444)
    scene = open_background(path)
    scene.open()
    assert np.abs(read_image(path).astype(int) - corners()).mean() < 4
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError, match=r"beach\.heic (is no picture|cannot be decoded)"):
        read_image(path)


def test_without_it_is_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "beach.heic").write_bytes(HEIC)
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(DependencyError, match=r"beach\.heic is a HEIC picture.*livecomp\[heif\]"):
        read_image(tmp_path / "beach.heic")
