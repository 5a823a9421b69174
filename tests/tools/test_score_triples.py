from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from livecomp.media.image import write_image
from tools import score_triples


def write_triple(folder: Path, name: str) -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(60, 180, (48, 64, 3), np.uint8)
    mask = np.zeros((48, 64, 3), np.uint8)
    mask[10:40, 20:44] = 255
    composite = np.where(mask > 0, truth // 2, truth)
    for kind, picture in (("composite", composite), ("mask", mask), ("gt", truth)):
        write_image(folder / f"{name}-{kind}.png", picture)


def test_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    write_triple(tmp_path, "one [1]")
    arguments = ["score", str(tmp_path), "--models", "identity,reinhard", "--json", str(tmp_path / "out.json")]
    monkeypatch.setattr(sys, "argv", arguments)
    score_triples.main()
    rows = capsys.readouterr().out.splitlines()
    assert rows[0].startswith("| 1 pictures | psnr |")
    scores = json.loads((tmp_path / "out.json").read_text())
    assert scores["reinhard"]["one [1]"]["fmse"] < 0.2 * scores["identity"]["one [1]"]["fmse"]


def test_a_truth_of_another_size_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_triple(tmp_path, "one")
    write_image(tmp_path / "one-gt.png", np.zeros((30, 40, 3), np.uint8))
    monkeypatch.setattr(sys, "argv", ["score", str(tmp_path), "--models", "identity"])
    with pytest.raises(SystemExit, match=r"one-gt\.png has 40x30 pixels, expected 64x48"):
        score_triples.main()


def test_a_folder_without_triples_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["score", str(tmp_path)])
    with pytest.raises(SystemExit, match="no NAME-composite"):
        score_triples.main()
