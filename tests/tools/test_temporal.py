from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from livecomp.composite.fused import FusedCompositor
from livecomp.errors import InputError
from livecomp.frame import Frame, freeze
from livecomp.media.image import write_image
from tests.livecomp.clips import write_clip
from tools import temporal
from tools.temporal_clips import SCRIPTS, Portrait, demo_portrait, play
from tools.temporal_metrics import flicker, flows, mean_lab, step_response, temporal_loss
from tools.temporal_play import Take, play_takes
from tools.temporal_record import record_clip, record_takes
from tools.temporal_stages import STAGES, judge

SHAPE = (90, 120)


def textured(shift: int, brightness: float = 0.0) -> Frame:
    """A smooth random texture that has moved to the right."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(40, 200, (12, 20, 3)).astype(np.uint8)
    picture = coarse.repeat(12, 0).repeat(12, 1)[: SHAPE[0], 40 - shift : 40 - shift + SHAPE[1]]
    shown = np.clip(picture.astype(np.float32) + brightness, 0, 255).astype(np.uint8)
    return Frame(freeze(shown), shift).with_alpha(np.full(SHAPE, 255, np.uint8))


def test_motion_is_no_temporal_loss_but_flicker_of_the_output_is() -> None:
    frames = [textured(0), textured(3)]
    (flow,) = flows(frames)
    steady = temporal_loss(frames[0].rgb, frames[1].rgb, flow)
    brighter = np.clip(frames[1].rgb.astype(np.int32) + 12, 0, 255).astype(np.uint8)
    flickering = temporal_loss(frames[0].rgb, brighter, flow)
    assert flickering > steady + 0.5 * 3 * 12**2
    unmoved = float(np.square(frames[0].rgb.astype(np.float32) - frames[1].rgb).sum(axis=2).mean())
    assert steady < 0.5 * unmoved


def test_flicker_is_the_energy_of_what_is_quick() -> None:
    seconds = np.arange(150) / 30
    slow = np.stack([50 + 2 * seconds, np.zeros(150), np.zeros(150)], axis=1)
    assert flicker(slow, seconds).max() < 0.01
    quick = slow.copy()
    quick[:, 1] += np.where(np.arange(150) % 2, 0.5, -0.5)
    np.testing.assert_allclose(flicker(quick, seconds)[1], 0.25, rtol=0.2)
    quick[10] = np.nan
    assert np.isfinite(flicker(quick, seconds)).all()


def test_mean_colour_is_of_the_person_alone() -> None:
    rgb = np.zeros((4, 4, 3), np.uint8)
    rgb[:, 2:] = 255
    alpha = np.zeros((4, 4), np.uint8)
    assert np.isnan(mean_lab(rgb, alpha)).all()
    alpha[:, 2:] = 255
    np.testing.assert_allclose(mean_lab(rgb, alpha), [100, 0, 0], atol=0.05)


def test_the_answer_to_a_step_is_measured_where_it_was_put() -> None:
    seconds = np.arange(120) / 30
    uncorrected = np.tile([40.0, 0, 0], (120, 1))
    ideal = uncorrected + np.where(seconds >= 2, 10.0, 0.0)[:, None] * [1, 0, 0]
    late = uncorrected.copy()
    late[seconds >= 2.3 - 1e-6, 0] = 50.8
    late[seconds >= 3 - 1e-6, 0] = 50.0
    answer = step_response(late, ideal, uncorrected, seconds, 2.0)
    assert answer.size == pytest.approx(10)
    assert answer.lag_ms == pytest.approx(300)
    assert answer.overshoot == pytest.approx(0.08)
    assert answer.settling_ms == pytest.approx(300)
    assert answer.early_ms == 0
    early = uncorrected.copy()
    early[seconds >= 1.8 - 1e-6, 0] = 50
    assert step_response(early, ideal, uncorrected, seconds, 2.0).early_ms == pytest.approx(200)
    never = step_response(uncorrected, ideal, uncorrected, seconds, 2.0)
    assert never.lag_ms is None
    assert never.settling_ms is None


@pytest.mark.parametrize("name", SCRIPTS)
def test_clips_do_what_their_script_says(name: str) -> None:
    script = SCRIPTS[name]
    portrait = demo_portrait() if name == "lamp on" else Portrait(*_plain())
    takes = list(play(portrait, script, fps=5))
    assert len(takes) == round(script.seconds * 5)
    for take in takes:
        assert take.frame.require_alpha().any()
        assert take.truth is not None
        assert take.truth.shape == take.scene.shape == take.frame.rgb.shape
    if script.step_s is not None and script.scene_light is None:
        after = round(script.step_s * 5)
        before_step, after_step = (
            mean_lab(takes[i].frame.rgb, takes[i].frame.require_alpha()) for i in (after - 1, after)
        )
        assert np.linalg.norm(after_step - before_step) > 5
        truths = [takes[i].truth for i in (after - 1, after)]
        assert truths[0] is not None
        assert truths[1] is not None
        assert np.abs(truths[0].astype(np.int32) - truths[1]).mean() < 2


def _plain() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    photo = rng.uniform(0.3, 0.7, (48, 64, 3)).astype(np.float32)
    alpha = np.zeros((48, 64), np.float32)
    alpha[12:, 20:44] = 1
    return photo, alpha, np.full((48, 64, 3), 0.5, np.float32)


@pytest.mark.slow
def test_the_command_writes_numbers_and_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = np.full((90, 160, 3), (60, 80, 140), np.uint8)
    write_image(tmp_path / "blue.png", picture)
    arguments = ["demo", "-b", "demo", "-b", str(tmp_path / "blue.png"), "--frames", "6", "--lines", "120"]
    assert temporal.main([*arguments, "--output", str(tmp_path), "--plots", "-"]) == 0
    result = json.loads((tmp_path / "temporal--demo.json").read_text())
    assert result["frames"] == 6
    assert {row["background"] for row in result["rows"]} == {"demo", "blue"}
    for row in result["rows"]:
        assert row["tl_input"] >= 0
    assert str(tmp_path) not in json.dumps(result)
    assert "| demo | live |" in capsys.readouterr().out
    assert not list(tmp_path.glob("temporal*.png"))


def test_a_clip_that_is_not_there_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert temporal.main([str(tmp_path / "none.mp4"), "--output", str(tmp_path)]) == 3
    assert "none.mp4" in capsys.readouterr().err


def test_a_clip_without_motion_is_told_before_the_work(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["demo", "-b", "#204060", "--frames", "1", "--output", str(tmp_path / "out"), "--plots", "-"]
    assert temporal.main(arguments) == 3
    assert "expected two frames without a cut between them, received 1 with none" in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("folder", ["none", "empty", "nobody"])
def test_portraits_that_cannot_be_used_are_an_error(
    tmp_path: Path, folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "nobody").mkdir()
    for name in ("a.jpg", "a.png"):
        write_image(tmp_path / "nobody" / name, np.zeros((40, 30, 3), np.uint8))
    given = ["synthetic", "--portraits", str(tmp_path / folder), "--script", "hand", "--output", str(tmp_path / "out")]
    assert temporal.main([*given, "--plots", "-"]) == 3
    assert {"nobody": "nobody is in its matte"}.get(folder, "found none") in capsys.readouterr().err


def test_noise_that_the_correction_makes_stronger_is_taken_away_live_and_from_files() -> None:
    rng = np.random.default_rng(0)
    scene, takes = freeze(textured(0).rgb.copy()), []
    alpha = np.zeros(SHAPE, np.uint8)
    alpha[:, 20:100] = 255
    for index in range(24):
        noisy = textured(0).rgb * 0.5 + rng.normal(0, 3, (*SHAPE, 3))
        rgb = freeze(np.clip(np.round(noisy), 0, 255).astype(np.uint8))
        takes.append(Take(Frame(rgb, index * 40_000_000).with_alpha(alpha), scene))
    (found,) = judge([record_takes("noise", takes, model="mkl", lines=SHAPE[0])])
    losses = {stage: found[stage].tl_input or 0.0 for stage in STAGES}
    assert losses["unharmonized"] < 0.7 * losses["raw"]
    for stage in ("live", "offline"):
        assert losses[stage] < 0.6 * losses["raw"]
    assert found["live"].smooth_ms


def test_each_stage_is_what_the_pipeline_shows() -> None:
    portrait = Portrait(*_plain())
    takes = list(play(portrait, SCRIPTS["lamp on"], fps=6))
    recording = record_takes("lamp on", takes, model="mkl", lines=48)
    assert len(recording.truths) == len(takes)
    (found,) = judge([recording], with_motion=False)
    assert {stage: len(judged.labs) for stage, judged in found.items()} == dict.fromkeys(STAGES, len(takes))
    assert (found["raw"].fmse or 0) < 0.7 * (found["unharmonized"].fmse or 0)
    last = found["live"].corrections[-1]
    shown = FusedCompositor(threads=1).compose(takes[-1].frame, takes[-1].scene, last).rgb
    np.testing.assert_allclose(mean_lab(shown, takes[-1].frame.require_alpha()), found["live"].labs[-1], atol=0.2)


def test_a_clip_that_has_become_shorter_is_an_error() -> None:
    takes = list(play(Portrait(*_plain()), SCRIPTS["cloud"], fps=1))
    with play_takes(takes[:1], "live", model="mkl", lines=48) as player:
        assert set(player.next().pictures) == {"live"}
        with pytest.raises(InputError, match="fewer frames"):
            player.next()


def test_a_cut_is_no_temporal_loss() -> None:
    takes = list(play(Portrait(*_plain()), SCRIPTS["lamp on"], fps=6))
    recording = record_takes("lamp on", takes, model="mkl", lines=48)
    (jumping,) = judge([recording])
    starts = [False] * len(takes)
    starts[12] = True  # where the lamp goes on
    (cut,) = judge([replace(recording, starts=starts)])
    assert (cut["input"].tl_input or 0) < 0.9 * (jumping["input"].tl_input or 0)


def test_cuts_of_the_clip_and_of_the_scene_are_marked(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scenes = [rng.integers(0, 256, (6, 8, 3), np.uint8).repeat(20, 0).repeat(20, 1) for _ in range(2)]
    clip = write_clip(tmp_path / "cut.mp4", [scenes[index >= 3] for index in range(6)], time_base=Fraction(1, 30))
    itself, plain = record_clip(clip, [str(clip), "#c8b48c"], frames=6, lines=90)
    over_cut, steady = record_clip("demo", [str(clip), "#c8b48c"], frames=6, lines=90)
    marked = [False, False, False, True, False, False]
    assert [list(one.starts) for one in (itself, plain, over_cut)] == [marked] * 3
    assert not any(steady.starts)
