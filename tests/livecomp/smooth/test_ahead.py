from __future__ import annotations

import itertools

import numpy as np
import pytest

from livecomp.correction import Correction
from livecomp.frame import U8Array
from livecomp.smooth.ahead import LookAheadSmoother
from tests.livecomp.smooth.test_steady import FRAME_NS, HEIGHT, WIDTH, level, lit_from, noisy, person, read


def run(
    inputs: list[Correction],
    alphas: list[U8Array] | None = None,
    cuts: tuple[int, ...] = (),
    smoother: LookAheadSmoother | None = None,
    steps: tuple[int, ...] = (),
) -> list[Correction]:
    """What comes out at 30 frames a second."""
    smoother = smoother or LookAheadSmoother()
    alphas = alphas or [person()] * len(inputs)
    outputs = []
    for index, (correction, alpha) in enumerate(zip(inputs, alphas, strict=True)):
        smoother.push(correction, index * FRAME_NS, alpha, is_cut=index in cuts, is_step=index in steps)
        while (known := smoother.pop()) is not None:
            outputs.append(known)
    smoother.finish()
    while (known := smoother.pop()) is not None:
        outputs.append(known)
    assert [pts_ns for pts_ns, _ in outputs] == [index * FRAME_NS for index in range(len(inputs))]
    return [correction for _, correction in outputs]


def levels(inputs: list[Correction], **options: object) -> list[float]:
    return [read(correction) for correction in run(inputs, **options)]  # type: ignore[arg-type]


def test_noise_is_all_but_gone_and_nothing_lags() -> None:
    rng = np.random.default_rng(0)
    truth = [1.0 + 0.02 * index / 30 for index in range(240)]
    got = levels([level(value + float(rng.normal(0, 0.01))) for value in truth])
    inner = slice(60, 180)
    error = np.array(got)[inner] - np.array(truth)[inner]
    assert abs(error.mean()) < 0.002  # a lag of 100 ms would be 0.002
    assert np.abs(error).max() < 0.006
    assert max(abs(b - a) for a, b in itertools.pairwise(got[60:180])) < 0.003


@pytest.mark.parametrize("step", [0.25, 0.4, -0.4])
def test_a_step_is_where_it_is_to_within_two_frames_and_never_overshoots(step: float) -> None:
    rng = np.random.default_rng(1)
    got = levels([*noisy(rng, 1.0, 90), *noisy(rng, 1.0 + step, 90)])
    progress = (np.array(got) - 1) / step
    assert np.abs(progress[:88]).max() < 0.1
    assert np.abs(progress[92:] - 1).max() < 0.1
    assert progress.max() < 1.05


def at_once(inputs: list[Correction], alphas: list[U8Array]) -> list[float]:
    """What comes out when everything is known before the first frame is asked for."""
    smoother, found = LookAheadSmoother(), []
    for index, (correction, alpha) in enumerate(zip(inputs, alphas, strict=True)):
        smoother.push(correction, index * FRAME_NS, alpha)
    smoother.finish()
    while (known := smoother.pop()) is not None:
        found.append(read(known[1]))
    return found


def test_a_frame_comes_out_as_if_the_whole_file_were_known() -> None:
    rng = np.random.default_rng(7)
    inputs = [level(1.3 if index // 50 % 2 else 1.0) for index in range(300)]
    noisy_too = noisy(rng, 1.0, 300)
    for corrections in (inputs, noisy_too):
        alphas = [person()] * len(corrections)
        assert levels(corrections, alphas=alphas) == pytest.approx(at_once(corrections, alphas), abs=1e-6)
    assert levels(inputs) == pytest.approx([read(correction) for correction in inputs], abs=0.01)


@pytest.mark.parametrize("lamp", [141, 157, 161, 165])
def test_a_lamp_soon_after_somebody_comes_back_is_no_accident(lamp: int) -> None:
    nobody = np.zeros((HEIGHT, WIDTH), np.uint8)
    inputs = [level(1.0 if index < lamp else 1.3) for index in range(300)]
    alphas = [nobody if 60 <= index < 140 else person() for index in range(300)]
    got = levels(inputs, alphas=alphas)
    assert got[140:] == pytest.approx(at_once(inputs, alphas)[140:], abs=1e-6)


def test_a_step_that_was_seen_is_sharp_to_the_frame_however_small_and_noisy() -> None:
    rng, step = np.random.default_rng(4), 0.06
    inputs = [*noisy(rng, 1.0, 90), *noisy(rng, 1.0 + step, 90)]
    seen, unseen = (np.array(levels(inputs, steps=steps)) for steps in ((90,), ()))
    assert np.abs(seen[:90] - 1).max() < 0.2 * step
    assert np.abs(seen[90:] - 1 - step).max() < 0.2 * step
    assert np.abs(unseen[:90] - 1).max() > 0.25 * step


def test_a_step_that_was_seen_where_nothing_changes_leaves_no_trace() -> None:
    rng = np.random.default_rng(5)
    inputs = noisy(rng, 1.0, 180)
    assert np.abs(np.array(levels(inputs, steps=(60, 120))) - 1).max() < 0.006


@pytest.mark.parametrize("frames", [1, 3, 8])
def test_an_accident_leaves_no_trace(frames: int) -> None:
    inputs = [level(1.0)] * 90 + [level(1.5)] * frames + [level(1.0)] * 90
    assert max(abs(value - 1) for value in levels(inputs)) < 1e-3


def test_what_lasts_is_no_accident() -> None:
    got = levels([level(1.0)] * 90 + [level(1.5)] * 20 + [level(1.0)] * 90)
    assert min(got[93:107]) > 1.45
    assert max(got[:88] + got[112:]) < 1.05


def test_a_fade_of_a_second_stays_a_fade() -> None:
    fade = [1.0] * 60 + [1 + 0.4 * index / 30 for index in range(30)] + [1.4] * 60
    got = levels([level(value) for value in fade])
    assert np.abs(np.array(got) - fade).max() < 0.13  # a third of a second at its ends
    assert max(abs(b - a) for a, b in itertools.pairwise(got)) < 0.05


def test_less_time_is_averaged_over_while_a_fade_lasts() -> None:
    fade = [1.0] * 60 + [1 + 1.2 * index / 60 for index in range(60)] + [2.2] * 60
    got = levels([level(value) for value in fade])
    assert np.abs(np.array(got) - fade).max() < 0.04  # without that, 0.07


def test_nothing_is_averaged_across_a_cut() -> None:
    got = levels([level(1.0)] * 60 + [level(1.03)] * 60, cuts=(60,))
    assert max(got[:60]) == pytest.approx(1.0, abs=1e-4)
    assert min(got[60:]) == pytest.approx(1.03, abs=1e-4)


def test_frames_without_a_person_count_for_nothing() -> None:
    nobody = np.zeros((HEIGHT, WIDTH), np.uint8)
    inputs = [level(1.2)] * 60 + [level(0.6)] * 60 + [level(1.2)] * 60
    alphas = [person()] * 60 + [nobody] * 60 + [person()] * 60
    got = levels(inputs, alphas=alphas)
    assert max(abs(value - 1.2) for value in got[:60] + got[120:]) < 1e-4
    alone = run([level(0.6)] * 10, alphas=[nobody] * 10)
    np.testing.assert_array_equal(alone[5].matrix, np.eye(3, dtype=np.float32))


def test_shading_is_averaged_where_the_person_is() -> None:
    places = [0.35 + 0.3 * index / 90 for index in range(90)]
    got = run([lit_from(x) for x in places], alphas=[person(x) for x in places])
    for index in (20, 45, 70):
        inside = person(places[index])[HEIGHT // 2 :: 12, ::20] > 127
        rows, columns = np.nonzero(inside)
        error = np.abs(got[index].log_gain[8, columns] - lit_from(places[index]).log_gain[8, columns])
        assert len(rows)
        assert error.mean() < 0.05


def test_shading_is_averaged_where_the_person_is_shown_also_in_another_size() -> None:
    shown = [0.45 + 0.1 * index / 60 for index in range(60)]
    outputs = {}
    for magnified in (0.25, 1.0):
        smoother = LookAheadSmoother()
        for index, x in enumerate(shown):
            filmed = person(0.5 + (x - 0.5) / 0.25)
            smoother.push(lit_from(x), index * FRAME_NS, filmed, magnified=magnified)
        smoother.finish()
        outputs[magnified] = [known[1].log_gain for known in iter(smoother.pop, None)]
    errors = {
        magnified: np.mean(
            [np.abs(gain - lit_from(x).log_gain)[:, 5:11].mean() for gain, x in zip(gains, shown, strict=True)]
        )
        for magnified, gains in outputs.items()
    }
    assert errors[0.25] < 0.03
    assert errors[0.25] < 0.5 * errors[1.0]


@pytest.mark.parametrize("frame_ms", [[10], [100], [5, 80, 33, 12, 60]])
def test_it_knows_seconds_and_not_frames(frame_ms: list[int]) -> None:
    smoother = LookAheadSmoother()
    times_ms = list(
        itertools.accumulate(itertools.islice(itertools.cycle(frame_ms), 6000 // (sum(frame_ms) // len(frame_ms))))
    )
    step_ms = times_ms[len(times_ms) // 2]
    for now_ms in times_ms:
        smoother.push(level(1.0 if now_ms < step_ms else 1.3), now_ms * 1_000_000, person())
    smoother.finish()
    while (known := smoother.pop()) is not None:
        pts_ns, correction = known
        if abs(pts_ns / 1e6 - step_ms) > 2.5 * max(frame_ms):
            assert read(correction) == pytest.approx(1.0 if pts_ns < step_ms * 1e6 else 1.3, abs=0.02)


def test_memory_is_bounded_by_seconds() -> None:
    smoother = LookAheadSmoother()
    correction, alpha = level(1.0), person()
    most = 0
    for index in range(900):
        smoother.push(correction, index * FRAME_NS, alpha)
        while smoother.pop() is not None:
            pass
        most = max(most, len(smoother._entries))
    assert most < 2.5 * smoother.ahead_s * 30


def test_one_frame_and_none() -> None:
    only = level(1.3)
    assert levels([only]) == [pytest.approx(1.3)]
    empty = LookAheadSmoother()
    empty.finish()
    assert empty.pop() is None


def test_predictions_that_wander_within_seconds_do_not_take_the_person_along() -> None:
    rng = np.random.default_rng(6)
    wandering = 0.05 * np.sign(np.sin(2 * np.pi * np.arange(240) / 45))
    got = levels([level(1 + float(offset + rng.normal(0, 0.003))) for offset in wandering])
    assert np.std(got[60:180]) < 0.3 * np.std(wandering)
