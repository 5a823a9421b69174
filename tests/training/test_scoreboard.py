"""Tables of scores."""

from __future__ import annotations

import numpy as np
import pytest

from training import scoreboard as board
from training.benchmarks import BenchmarkPair
from training.predictors import Baseline


def pair(group: str, error: float) -> BenchmarkPair:
    """A person of one eighth of the picture who is too bright by `error` (0..255)."""
    mask = np.zeros((16, 16), np.float32)
    mask[:4, :8] = 1
    truth = np.full((16, 16, 3), 0.5, np.float32)
    composite = (truth + mask[..., None] * error / 255).astype(np.float32)
    return BenchmarkPair("x", composite, truth, mask, group)


class Half:
    """Removes half of the error."""

    name = "half"

    def predict(self, pair: BenchmarkPair) -> np.ndarray:
        return (pair.composite + pair.truth) / 2


class Truth:
    """Knows it."""

    name = "truth"

    def predict(self, pair: BenchmarkPair) -> np.ndarray:
        return pair.truth


def tables() -> list[board.Table]:
    collected = {"composite": board.Collected(), "half": board.Collected()}
    for made in (pair("light", 10), pair("dark", 20), pair("dark", 40)):
        collected["composite"].add(Baseline("composite"), made, shift=True)
        collected["half"].add(Half(), made, shift=True)
    return board.tabulate("b", "plain", collected)


def test_tables_by_hand() -> None:
    composite, half = tables()
    assert composite.overall["fmse"] == pytest.approx((100 + 400 + 1600) / 3, rel=1e-4)
    assert half.overall["fmse"] == pytest.approx((25 + 100 + 400) / 3, rel=1e-4)
    assert half.gain == pytest.approx(4, rel=1e-4)
    assert half.improved == 1
    assert list(half.by_ratio) == ["5-15 %"]
    assert half.by_skin["dark"]["fmse"] == pytest.approx(250, rel=1e-4)
    assert half.by_skin["light"]["count"] == 1
    assert half.ms > 0


def test_a_prediction_that_is_not_finite_is_no_score_left_out_of_the_averages() -> None:
    class NotANumber(Half):
        def predict(self, pair: BenchmarkPair) -> np.ndarray:
            return np.full_like(pair.truth, np.nan)

    with pytest.raises(ValueError, match="half gave values that are not finite for x"):
        board.Collected().add(NotANumber(), pair("light", 10), shift=True)


def test_markdown_shows_every_table() -> None:
    text = board.markdown(tables(), 16, 7)
    assert "Pictures at 16², seed 7" in text
    assert "## b, plain masks\n\n3 pictures." in text
    assert "| half | " in text
    assert "4.00x | 100% |" in text
    assert "|  | light (1) | dark (2) |" in text
    assert "| half | 175 / 100 |" in text, "mean and median by foreground share"
    assert "agreement is within" not in text, "a shift without chroma has no direction"


def test_chroma_shift_by_hand() -> None:
    grey = np.full((8, 8, 3), 0.5, np.float32)
    red = grey * np.float32([1.2, 1, 1])
    mask = np.ones((8, 8), np.float32)
    a, b = board.chroma_shift(grey, red, mask)
    assert a > 5
    assert b > 1
    back = board.chroma_shift(red, grey, mask)
    assert back == pytest.approx((-a, -b))


def test_shift_by_hand() -> None:
    right = board.Shift(predicted=(8.0, 0.0), true=(10.0, 0.0))
    turned = board.Shift(predicted=(0.0, 10.0), true=(10.0, 0.0))
    weak = board.Shift(predicted=(3.0, 0.0), true=(10.0, 0.0))
    tiny = board.Shift(predicted=(0.0, 1.0), true=(1.0, 0.0))
    assert turned.angle == pytest.approx(90)
    summary = board.shift_summary([right, turned, weak, tiny])
    assert summary["count"] == 3
    assert summary["agree"] == pytest.approx(1 / 3)
    assert summary["angle_ok"] == pytest.approx(2 / 3)
    assert summary["ratio_ok"] == pytest.approx(2 / 3)
    assert summary["ratio_median"] == pytest.approx(0.8)
    assert board.shift_summary([tiny]) == {"count": 0.0}


def test_agreement_is_told_by_the_length_of_the_shift_and_by_what_the_scene_shows() -> None:
    """A long shift before a rich scene is met, a short one before an even wall is missed."""
    noise = np.random.default_rng(0).random((16, 16, 1), np.float32)
    collected = board.Collected()
    mask = np.zeros((16, 16), np.float32)
    mask[4:12, 4:12] = 1
    for scene, gain, met in ((np.tile(noise, 3), 2.0, True), (np.full((16, 16, 3), 0.5, np.float32), 1.1, False)):
        composite = scene * (1 - mask[..., None]) + 0.4 * mask[..., None]
        truth = composite * (1 + mask[..., None] * np.float32([gain - 1, 0, 0]))
        made = BenchmarkPair("x", composite, truth, mask, "light")
        collected.add(Truth() if met else Baseline("composite"), made, shift=True)
    (table,) = board.tabulate("scene_cast", "plain", {"it": collected})
    assert {n: s.get("agree") for n, s in table.shift_by_scene.items()} == {"even": 0, "some detail": None, "rich": 1}
    lengths = [(n, s["agree"]) for n, s in table.shift_by_length.items() if s["count"]]
    assert lengths == [("3 to 6", 0), ("over 25", 1)]
    text = board.markdown([table], 16, 7)
    assert "|  | 3 to 6 (1) | over 25 (1) |" in text
    assert "L* in\nthe scene (even up to 5, some detail up to 13):\n" in text
    assert "|  | even (1) | rich (1) |" in text
    assert "| it | 0%, 0.00x | 100%, 1.00x |" in text
