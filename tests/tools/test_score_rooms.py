from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from livecomp.media.image import read_image, write_image
from tools import score_rooms

ASTRONAUT = Path(score_rooms.__file__).parents[1] / "livecomp" / "assets" / "astronaut.jpg"


def test_a_person_counts_as_shown_and_a_wall_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(tmp_path / "wall.png", np.full((90, 160, 3), 180, np.uint8))
    (tmp_path / "somebody.jpg").write_bytes(ASTRONAUT.read_bytes())
    score_rooms.main([str(tmp_path), "--models", "both", "--people", str(tmp_path)])
    first, _, _, _, *rows, _, _, _, people = capsys.readouterr().out.splitlines()
    assert first == "2 pictures at 720 lines"
    for row, place in zip(rows, ("files", "calls"), strict=True):
        name, where, slightly, much, most, refused = cells(row)
        assert (name, where, slightly, much, refused) == ("both", place, "1", "1", "0")
        assert 20 < int(most.rstrip("%")) < 90
    assert cells(people) == ["both", "1", "0"]


def test_whoever_has_no_face_is_hidden_in_calls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rgb = read_image(ASTRONAUT).copy()
    rgb[60:190, 170:290] = rgb[40, 380]
    write_image(tmp_path / "faceless.png", rgb)
    people = tmp_path / "people"
    people.mkdir()
    write_image(people / "faceless.jpg", rgb)
    score_rooms.main([str(tmp_path), "--models", "both", "--people", str(people)])
    _, _, _, _, files, calls, *_, hidden = capsys.readouterr().out.splitlines()
    assert cells(files)[2] == "1"
    assert cells(calls)[2] == "0"
    assert cells(hidden) == ["both", "1", "1"]


def cells(row: str) -> list[str]:
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_a_folder_without_pictures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        score_rooms.main([str(tmp_path)])
    assert "no .jpg and no .png" in capsys.readouterr().err
    write_image(tmp_path / "room.png", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(SystemExit):
        score_rooms.main([str(tmp_path), "--people", str(tmp_path)])
    assert "no .jpg in the folders of --people" in capsys.readouterr().err
