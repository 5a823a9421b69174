"""Pictures and mattes of every kind that lies beside a photograph."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.cache import PortraitFile, read_portrait
from training.data.iharmony4 import Harmony4
from training.data.pack import make_pack
from training.data.pictures import read_matte, read_rgb, write_picture
from training.evaluate import main as evaluate
from training.sheets import main as sheets

RGB = np.random.default_rng(0).integers(0, 256, (12, 9, 3), np.uint8)
MATTE = np.linspace(0, 255, 108).reshape(12, 9).round().astype(np.uint8)

KINDS = {
    "grey": MATTE,
    "grey, 16 bits": MATTE.astype(np.uint16) * 257,
    "colour": np.repeat(MATTE[..., None], 3, axis=2),
    "colour, opaque": np.dstack([MATTE, MATTE, MATTE, np.full_like(MATTE, 255)]),
    "a cut-out": np.dstack([RGB, MATTE]),
    "a cut-out, 16 bits": np.dstack([RGB, MATTE]).astype(np.uint16) * 257,
    "white, with opacity": np.dstack([np.full_like(RGB, 255), MATTE]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_matte_is_its_opacity_or_its_grey(tmp_path: Path, kind: str) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), KINDS[kind])
    np.testing.assert_array_equal(read_matte(tmp_path / "a.png"), MATTE)


def test_cut_outs_serve_as_mattes_and_masks(tmp_path: Path) -> None:
    for folder in ("composite_images", "masks", "real_images"):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / "real_images" / "a.jpg"), RGB)
    cv2.imwrite(str(tmp_path / "composite_images" / "a_1_1.jpg"), RGB)
    cv2.imwrite(str(tmp_path / "masks" / "a_1.png"), KINDS["a cut-out"])
    (tmp_path / "a_train.txt").write_text("a_1_1.jpg\n")
    portrait = read_portrait(PortraitFile(tmp_path / "real_images" / "a.jpg", tmp_path / "masks" / "a_1.png"))
    np.testing.assert_array_equal(portrait[..., 3], MATTE)
    (sample,) = Harmony4(tmp_path, size=None)
    np.testing.assert_array_equal(sample.mask, MATTE)


def test_a_file_without_a_byte_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(ValueError, match=r"^a\.jpg: cannot be decoded as a picture$"):
        read_rgb(tmp_path / "a.jpg")


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    write_picture(tmp_path / "ü 日本.png", RGB)
    write_picture(tmp_path / "matte.png", MATTE)
    np.testing.assert_array_equal(read_rgb(tmp_path / "ü 日本.png"), RGB)
    np.testing.assert_array_equal(read_matte(tmp_path / "matte.png"), MATTE)
    with pytest.raises(OSError, match=r"a\.png: cannot be written: No such file or directory"):
        write_picture(tmp_path / "nowhere" / "a.png", RGB)


@pytest.mark.skipif(sys.platform != "linux", reason="only there may a name be no UTF-8")
def test_names_that_are_no_utf_8_are_names(
    data_folder: Path, tmp_path: Path, live_onnx: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    name = os.fsdecode(b"caf\xe9")
    for part in ("train", "val"):
        for path in sorted((data_folder / "portraits" / part).iterdir()):
            if path.stem == "p0":
                path.rename(path.with_stem(name))
            elif part == "val":
                path.unlink()
    assert make_pack(data_folder, tmp_path / "pack").skipped == []
    assert (tmp_path / "pack" / "portraits" / "val" / f"{name}.jpg").exists()
    given = ["--data", str(data_folder), "--out", str(tmp_path / "out"), str(live_onnx())]
    assert evaluate([*given, "--size", "64", "--masks", "call", "--no-oracle", "--no-baselines", "--sheets", "1"]) == 0
    assert sheets([*given, "--count", "1"]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 6
    capsys.readouterr()
