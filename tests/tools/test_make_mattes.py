from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from livecomp.media.image import read_image, write_image
from tools import make_mattes
from training.data.cache import list_portraits, read_portrait

ASTRONAUT = Path(make_mattes.__file__).parents[1] / "livecomp" / "assets" / "astronaut.jpg"


def test_people_get_mattes_that_can_be_trained_on_and_others_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.jpg", "b.JPEG", "own.jpg"):
        (tmp_path / name).write_bytes(ASTRONAUT.read_bytes())
    write_image(tmp_path / "own.png", np.full((4, 4, 3), 200, np.uint8))
    write_image(tmp_path / "wall.jpg", np.full((90, 160, 3), 180, np.uint8))
    (tmp_path / "cut.jpg").write_bytes(b"\xff\xd8 no picture")
    assert make_mattes.main([str(tmp_path)]) == 0
    first, *reasons = capsys.readouterr().out.splitlines()
    assert first == "2 mattes made, 1 were there, 2 photographs have none"
    assert "cut.jpg" in reasons[0]
    assert "wall.jpg: the person fills 0.0% of the picture" in reasons[1]
    found = {item.photo.name: item for item in list_portraits(tmp_path)}
    assert sorted(found) == ["a.jpg", "b.JPEG", "own.jpg"]
    matte = read_portrait(found["b.JPEG"])[..., 3]
    assert matte.shape == read_image(ASTRONAUT).shape[:2]
    middle, corner = matte[matte.shape[0] // 2, matte.shape[1] // 2], matte[0, 0]
    assert (middle, corner) == (255, 0)
    assert cv2.imread(str(tmp_path / "own.png"), cv2.IMREAD_GRAYSCALE).shape == (4, 4)


def test_an_undecided_outline_gives_no_matte(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jpg").write_bytes(ASTRONAUT.read_bytes())
    monkeypatch.setattr(make_mattes, "_MOST_UNSURE", 0.001)
    assert make_mattes.main([str(tmp_path)]) == 3
    assert not (tmp_path / "a.png").exists()


def test_a_folder_without_photographs_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        make_mattes.main([str(tmp_path)])
    assert "no .jpg and no .jpeg" in capsys.readouterr().err


def test_a_network_that_is_not_installed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jpg").write_bytes(ASTRONAUT.read_bytes())
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert make_mattes.main([str(tmp_path), "--segmenter", "rvm"]) == 7
    assert "livecomp setup rvm" in capsys.readouterr().err
