"""Wrong arguments of all tools: wrong usage, or one line, and never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from livecomp.media.image import write_image
from tools import compare_backends, score_mattes, score_rooms, score_triples, temporal

NETWORK = Path(score_rooms.__file__).parents[1] / "livecomp" / "models" / "selfie_landscape_144x256.onnx"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Folders and a ``file``.

    There is a picture with its matte in ``good``, one with a matte of another size in ``uneven``, what is no picture in
    ``bad``, and nothing in ``empty``.
    """
    for name in ("good", "uneven", "bad", "empty"):
        (tmp_path / name).mkdir()
    write_image(tmp_path / "good" / "a.jpg", np.full((40, 30, 3), 90, np.uint8))
    write_image(tmp_path / "good" / "a.png", np.full((40, 30, 3), 255, np.uint8))
    write_image(tmp_path / "uneven" / "a.jpg", np.full((40, 30, 3), 90, np.uint8))
    write_image(tmp_path / "uneven" / "a.png", np.full((30, 40, 3), 255, np.uint8))
    (tmp_path / "bad" / "a.jpg").write_text("text")
    (tmp_path / "file").write_text("text")
    return tmp_path


@pytest.mark.parametrize(
    ("main", "line"),
    [
        (score_mattes.main, "--portraits @/good --scenes @/good --every 0"),
        (score_rooms.main, "@/good --every 0"),
        (temporal.main, "demo --frames 0 --output @"),
        (temporal.main, "demo --lines 0 --output @"),
        (compare_backends.main, f"{NETWORK} --rounds 0 --output @"),
        (compare_backends.main, f"{NETWORK} --threads 0 --output @"),
        (compare_backends.main, f"{NETWORK} --backend nonsense --output @"),
    ],
)
def test_what_cannot_be_is_wrong_usage(main: Callable[[list[str]], object], line: str, folder: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.replace("@", str(folder)).split())
    assert ended.value.code == 2


@pytest.mark.parametrize(
    ("main", "line", "words"),
    [
        (score_mattes.main, "--portraits @/empty --scenes @/good", "no .jpg in"),
        (score_mattes.main, "--portraits @/none --scenes @/good", "no .jpg in"),
        (score_mattes.main, "--portraits @/good --scenes @/good --models mediapipe", "needs a model file"),
        (score_mattes.main, "--portraits @/bad --scenes @/good", "cannot be decoded"),
        (score_mattes.main, "--portraits @/good --scenes @/bad", "cannot be decoded"),
        (score_mattes.main, "--portraits @/uneven --scenes @/good", r"\(40, 30\) and matte \(30, 40\) differ in size"),
        (score_rooms.main, "@/bad", "is no picture"),
        (score_rooms.main, "@/good --models mediapipe", "needs a model file"),
    ],
)
def test_what_cannot_be_used_is_told(main: Callable[[list[str]], object], line: str, words: str, folder: Path) -> None:
    with pytest.raises(SystemExit, match=words):
        main(line.replace("@", str(folder)).split())


def test_scores_that_cannot_be_written_are_told_before_the_work(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["score", str(folder / "good"), "--json", str(folder / "none" / "x.json")])
    with pytest.raises(SystemExit, match="there is no folder"):
        score_triples.main()
    assert temporal.main(["demo", "--output", str(folder / "file")]) == 3
    assert compare_backends.main([str(NETWORK), "--output", str(folder / "file")]) == 3
    assert "File exists" in capsys.readouterr().err
