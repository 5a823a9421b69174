from __future__ import annotations

from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path

import pytest

from training import compare, evaluate, export_live, judge
from training.arguments import positive
from training.data import ffhqh


def test_a_whole_number_from_one_on() -> None:
    assert positive("1") == 1
    assert positive("12") == 12
    for text in ("0", "-1", "1.5", "", "many", "²"):
        with pytest.raises(ArgumentTypeError, match="expected a whole number from 1 on"):
            positive(text)


@pytest.mark.parametrize(
    ("main", "line"),
    [
        (evaluate.main, "--out OUT --threads 0"),
        (evaluate.main, "--out OUT --size 0"),
        (judge.main, "score --judge OUT --data OUT --threads 0"),
        (compare.main, "--data OUT --out OUT --processes 0"),
        (export_live.main, "OUT OUT --size -1"),
        (ffhqh.main, "--portraits OUT --out OUT --size 0"),
        (ffhqh.main, "--portraits OUT --out OUT --variants 0"),
    ],
)
def test_numbers_that_cannot_be_are_wrong_usage(
    main: Callable[[list[str]], int], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(line.replace("OUT", str(tmp_path / "out")).split())
    assert ended.value.code == 2
    assert "expected a whole number from 1 on" in capsys.readouterr().err


def test_scores_that_cannot_be_written_are_told_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert evaluate.main(["--out", str(tmp_path / "file"), "--data", str(tmp_path)]) == 3
    assert "File exists" in capsys.readouterr().err
