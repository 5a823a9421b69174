from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from livecomp.media.image import write_image
from tools import score_rooms

ASTRONAUT = Path(score_rooms.__file__).parents[1] / "livecomp" / "assets" / "astronaut.jpg"


def test_a_person_counts_as_shown_and_a_wall_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_image(tmp_path / "wall.png", np.full((90, 160, 3), 180, np.uint8))
    (tmp_path / "somebody.jpg").write_bytes(ASTRONAUT.read_bytes())
    score_rooms.main([str(tmp_path), "--models", "both"])
    first, *_, row = capsys.readouterr().out.splitlines()
    assert first == "2 pictures at 720 lines"
    name, slightly, much, most, refused = (cell.strip() for cell in row.strip("|").split("|"))
    assert (name, slightly, much, refused) == ("both", "1", "1", "0")
    assert 20 < int(most.rstrip("%")) < 90


def test_a_folder_without_pictures_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        score_rooms.main([str(tmp_path)])
    assert "no .jpg and no .png" in capsys.readouterr().err
