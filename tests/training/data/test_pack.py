"""The pack: same layout, smaller pictures, and it can be trained on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from training.data.cache import list_portraits, read_portrait
from training.data.illuminants import load_lights
from training.data.pack import main, make_pack
from training.validation import scene_files


def test_the_pack_has_the_layout_of_the_data(data_folder: Path, tmp_path: Path) -> None:
    report = make_pack(data_folder, tmp_path / "pack", short_side=48)
    assert report.pictures == 8 + 8 + 3
    assert report.skipped == []
    for part in ("train", "val"):
        large, small = (list_portraits(root / "portraits" / part) for root in (data_folder, tmp_path / "pack"))
        assert [p.photo.name for p in large] == [p.photo.name for p in small]
        before, after = read_portrait(large[3]), read_portrait(small[3])
        assert min(after.shape[:2]) == 48
        back = cv2.resize(np.ascontiguousarray(after[..., :4]), before.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        assert np.abs(back.astype(int) - before[..., :4]).mean() < 8
    assert len(scene_files(tmp_path / "pack", ("backgrounds/rooms",))) == 3
    assert len(load_lights(tmp_path / "pack" / "illuminants" / "ccharmony_train.npz")) == 4
    written = sum(p.stat().st_size for p in (tmp_path / "pack").rglob("*") if p.is_file())
    assert report.size == written


def test_damage_is_skipped_and_named(data_folder: Path, tmp_path: Path) -> None:
    (data_folder / "portraits" / "train" / "p4.jpg").write_bytes(b"broken")
    (data_folder / "backgrounds" / "rooms" / "room1.jpg").write_bytes(b"broken")
    report = make_pack(data_folder, tmp_path / "pack")
    assert [line.split(":")[0] for line in report.skipped] == ["p4.jpg", "room1.jpg"]
    assert report.pictures == 17


def test_it_overwrites_nothing_and_needs_portraits(
    data_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(data_folder), str(tmp_path / "pack")]) == 0
    assert "19 pictures" in capsys.readouterr().out
    assert main([str(data_folder), str(tmp_path / "pack")]) == 3
    assert "exists already" in capsys.readouterr().err
    assert main([str(tmp_path / "nothing"), str(tmp_path / "other")]) == 3
    assert "no such folder" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([str(data_folder), str(tmp_path / "other"), "--short-side", "0"])
    assert not (tmp_path / "other").exists()


def test_pictures_that_differ_by_their_suffix_alone_stay_two(data_folder: Path, tmp_path: Path) -> None:
    rooms = data_folder / "backgrounds" / "rooms"
    cv2.imwrite(str(rooms / "room1.png"), np.full((60, 90, 3), 200, np.uint8))
    report = make_pack(data_folder, tmp_path / "pack")
    assert report.pictures == 20
    assert len(scene_files(tmp_path / "pack", ("backgrounds/rooms",))) == 4
