from __future__ import annotations

import itertools
import math
import time

import cv2
import numpy as np
import pytest

from livecomp.correction import Correction
from livecomp.frame import U8Array
from livecomp.smooth.steady import SteadySmoother

FRAME_NS = 33_333_333
WIDTH, HEIGHT = 320, 180
PLAIN = Correction.identity()


def level(value: float) -> Correction:
    """A correction that multiplies all colours by `value`."""
    return Correction(PLAIN.matrix * np.float32(value), PLAIN.curves, PLAIN.log_gain)


def bluer(value: float) -> Correction:
    """A correction of the matrix's blue alone."""
    matrix = np.diag([1, 1, value]).astype(np.float32)
    return Correction(matrix, PLAIN.curves, PLAIN.log_gain)


def read(correction: Correction) -> float:
    return float(correction.matrix[2, 2])


def person(x: float = 0.5, radius: float = 0.15) -> U8Array:
    """A matte: a disc around the place `x`, parts of the width."""
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(alpha, (round(x * WIDTH), HEIGHT // 2), round(radius * WIDTH), 255, -1)
    return alpha


def run(
    smoother: SteadySmoother, inputs: list[Correction], *, start: int = 0, alpha: U8Array | None = None
) -> list[float]:
    """What comes out at 30 frames a second, from frame number `start` on."""
    alpha = person() if alpha is None else alpha
    return [
        read(smoother.update(correction, (start + index) * FRAME_NS, alpha)) for index, correction in enumerate(inputs)
    ]


def noisy(rng: np.random.Generator, value: float, count: int) -> list[Correction]:
    return [level(value + float(noise)) for noise in rng.normal(0, 0.01, count)]


def test_at_rest_the_noise_of_predictions_all_but_disappears() -> None:
    rng = np.random.default_rng(0)
    inputs = noisy(rng, 1.2, 200)
    outputs = run(SteadySmoother(), inputs)
    steps_in = np.std([b - a for a, b in itertools.pairwise(map(read, inputs))])
    steps_out = np.std([b - a for a, b in itertools.pairwise(outputs[40:])])
    assert steps_out < 0.01 * steps_in
    assert np.std(outputs[40:]) < 0.35 * np.std([read(c) for c in inputs])


@pytest.mark.parametrize("make", [level, bluer])
@pytest.mark.parametrize("every", [1, 3])
def test_a_lamp_that_is_switched_on_is_followed_within_600_ms_without_overshoot(
    make: type[Correction], every: int
) -> None:
    rng = np.random.default_rng(1)
    smoother = SteadySmoother()
    raw = [1.0 + rng.normal(0, 0.005) for _ in range(60)] + [1.3 + rng.normal(0, 0.005) for _ in range(60)]
    made = [make(value) for value in raw]
    outputs = run(smoother, [made[index - index % every] for index in range(120)])
    reached = next(index for index, value in enumerate(outputs) if value > 1 + 0.9 * 0.3)
    assert reached > 60
    assert (reached - 60) * FRAME_NS <= 600e6
    assert max(outputs) <= 1.3 + 0.05 * 0.3
    assert min(outputs[reached:]) >= 1 + 0.85 * 0.3


@pytest.mark.parametrize("is_seen", [True, False])
def test_a_step_that_was_seen_is_followed_at_once_however_small(is_seen: bool) -> None:
    rng = np.random.default_rng(9)
    smoother, change = SteadySmoother(), 0.06  # the middle greys change by less than predictions at rest may
    run(smoother, noisy(rng, 1.0, 90))
    if is_seen:
        smoother.notice_step()
    outputs = np.array(run(smoother, noisy(rng, 1.0 + change, 30), start=90))
    assert bool(outputs[round(0.25e9 / FRAME_NS)] > 1 + 0.8 * change) == is_seen
    assert outputs.max() < 1 + 1.3 * change


def test_a_prediction_that_goes_too_far_after_a_step_does_not_carry_the_picture_along() -> None:
    """The third after the step, a quarter of a second later, goes a fifth of the way too far."""
    smoother, change = SteadySmoother(), 0.3
    run(smoother, [level(1.0)] * 60)
    smoother.notice_step()
    ways = np.repeat([1.0, 1.0, 1.2, 1.0, 1.0, 1.0, 1.0], 4)  # predicted for every fourth frame
    made = {way: level(1 + change * float(way)) for way in set(ways)}
    progress = (np.array(run(smoother, [made[way] for way in ways], start=60)) - 1) / change
    reached = int(np.argmax(progress >= 0.9))
    assert progress.max() >= 0.9
    assert reached * FRAME_NS <= 600e6
    assert progress.max() < 1.08


@pytest.mark.parametrize("every", [1, 6])
def test_light_that_goes_on_changing_after_it_was_believed_is_followed_to_its_end(every: int) -> None:
    """A camera opens its eye for two seconds, or a video fades in."""
    smoother, rise, frames = SteadySmoother(), 0.6, 60
    ramp = [1.0] * 60 + [1 + rise * index / frames for index in range(1, frames + 1)] + [1 + rise] * 30
    made = [level(value) for value in ramp]
    outputs = np.array(run(smoother, [made[index - index % every] for index in range(len(made))]))
    late = (np.array(ramp) - outputs)[60 + frames :] / rise
    assert late[0] < 0.2
    assert late[round(0.3e9 / FRAME_NS) :].max() < 0.05
    assert outputs.max() < 1 + 1.01 * rise


@pytest.mark.parametrize(("noise", "quick"), [(0.001, True), (0.03, False)])
def test_a_small_change_is_followed_fast_only_where_predictions_are_quiet(noise: float, quick: bool) -> None:
    rng = np.random.default_rng(2)
    change = 0.08  # the middle greys change by 0.023
    raw = [1.0 + rng.normal(0, noise) for _ in range(120)] + [1.0 + change + rng.normal(0, noise) for _ in range(60)]
    outputs = run(SteadySmoother(), [level(value) for value in raw])
    after = np.array(outputs[120 + round(0.6e9 / FRAME_NS) :])
    assert bool((after > 1 + 0.75 * change).all()) == quick


def test_a_spike_of_one_frame_changes_nothing() -> None:
    smoother, calm = SteadySmoother(), SteadySmoother()
    usual = [level(1.0) for _ in range(90)]
    spiked = [*usual[:60], level(1.6), *usual[61:]]
    for got, expected in zip(run(smoother, spiked), run(calm, usual), strict=True):
        assert got == pytest.approx(expected, abs=1e-6)


def test_a_hand_that_passes_before_the_lens_changes_nothing() -> None:
    smoother = SteadySmoother()
    run(smoother, [level(1.0) for _ in range(60)])
    covered = run(smoother, [level(1.5) for _ in range(15)], start=60, alpha=person(radius=0.28))
    after = run(smoother, [level(1.0) for _ in range(30)], start=75)
    assert max(abs(value - 1) for value in covered + after) < 1e-4


def test_someone_who_leans_in_for_good_is_believed_after_a_while() -> None:
    smoother = SteadySmoother()
    run(smoother, [level(1.0) for _ in range(60)])
    outputs = run(smoother, [level(1.3) for _ in range(60)], start=60, alpha=person(radius=0.28))
    reached = next(index for index, value in enumerate(outputs) if value > 1.27)
    assert 0.8 < reached * FRAME_NS / 1e9 < 1.5


def test_suspects_that_contradict_each_other_are_not_followed_one_by_one() -> None:
    smoother = SteadySmoother()
    run(smoother, [level(1.0) for _ in range(60)])
    outputs = run(smoother, [level(1.4 if index % 2 else 0.6) for index in range(90)], start=60)
    assert max(abs(value - 1) for value in outputs[:20]) < 1e-4
    assert max(abs(b - a) for a, b in itertools.pairwise(outputs)) < 0.02


def test_a_slow_drift_is_followed_smoothly_and_without_much_lag() -> None:
    rng = np.random.default_rng(2)
    truth = [1.0 + 0.02 * index / 30 for index in range(300)]  # 20 % in ten seconds
    outputs = run(SteadySmoother(), [level(value + float(rng.normal(0, 0.004))) for value in truth])
    lags = [value - output for value, output in zip(truth, outputs, strict=True)][100:]
    assert 0 < float(np.mean(lags)) / 0.02 < 1.75  # seconds: about the time constant at rest
    assert max(abs(b - a) for a, b in itertools.pairwise(outputs[100:])) < 0.003


def test_a_cut_forgets_everything() -> None:
    smoother = SteadySmoother()
    run(smoother, [level(1.0) for _ in range(60)])
    smoother.reset()
    assert run(smoother, [level(1.5)], start=60) == [1.5]


@pytest.mark.parametrize("frame_ms", [[10], [33], [100], [5, 80, 33, 12, 60]])
def test_it_knows_seconds_and_not_frames(frame_ms: list[int]) -> None:
    smoother = SteadySmoother()
    now_ms, lengths = 0, itertools.cycle(frame_ms)
    reached_ms = math.inf
    while now_ms < 4000:
        value = read(smoother.update(level(1.0 if now_ms < 2000 else 1.3), now_ms * 1_000_000, person()))
        if value > 1.27:
            reached_ms = min(reached_ms, now_ms - 2000)
        now_ms += next(lengths)
    assert 100 <= reached_ms <= 450


def test_a_change_below_the_gate_takes_its_time_at_any_rate() -> None:
    for frame_ms in (10, 40):
        smoother = SteadySmoother(rest_s=1.2, drift_s=1.2)
        smoother.update(level(1.0), 0, person())
        for now_ms in range(frame_ms, 1201, frame_ms):
            value = read(smoother.update(level(1.02), now_ms * 1_000_000, person()))
        assert (value - 1) / 0.02 == pytest.approx(1 - 3 * math.exp(-2), abs=0.03)  # two low-passes of 0.6 s


@pytest.mark.parametrize("frame_ms", [10, 40, 133])
def test_light_that_drifts_is_followed_with_little_delay_and_noise_still_is_not(frame_ms: int) -> None:
    """Predictions rise by 0.06 a second for four seconds, in steps far below the gate, with noise."""
    rng = np.random.default_rng(5)

    def late_s(drift_s: float) -> float:
        smoother = SteadySmoother(drift_s=drift_s)
        delays = []
        for now_ms in range(0, 6001, frame_ms):
            light = 1.0 + 0.06 * max(0.0, now_ms / 1000 - 2)
            noisy_light = level(light + float(rng.normal(0, 0.004)))
            value = read(smoother.update(noisy_light, now_ms * 1_000_000, person()))
            if now_ms > 3500:
                delays.append((light - value) / 0.06)
        return float(np.mean(delays))

    assert late_s(drift_s=0.5) < 0.62 * late_s(drift_s=1.7)
    assert late_s(drift_s=0.5) < 0.65


@pytest.mark.parametrize("every", [1, 4, 12, 27])
def test_noise_is_no_drift_however_rare_predictions_are(every: int) -> None:
    ratios = []
    for seed in range(8):
        inputs = [same for one in noisy(np.random.default_rng(seed), 1.2, 60) for same in [one] * every]
        quick, slow = (np.diff(run(SteadySmoother(drift_s=drift_s), inputs)) for drift_s in (0.5, 1.7))
        ratios.append(float(np.std(quick[len(quick) // 4 :]) / np.std(slow[len(slow) // 4 :])))
    assert float(np.mean(ratios)) < 1.25


def test_with_nobody_there_it_holds_then_fades_to_neutral_and_whoever_comes_is_followed_at_once() -> None:
    smoother, nobody = SteadySmoother(hold_s=2.0, relax_s=1.0), np.zeros((HEIGHT, WIDTH), np.uint8)
    run(smoother, [level(1.4) for _ in range(30)])
    rng = np.random.default_rng(3)
    gone = run(smoother, noisy(rng, 0.7, 240), start=30, alpha=nobody)
    assert gone[58] == pytest.approx(1.4, abs=1e-4)
    assert gone[-1] == pytest.approx(1.0, abs=0.01)
    assert all(b <= a + 1e-6 for a, b in itertools.pairwise(gone))
    back = run(smoother, [level(1.4) for _ in range(15)], start=270)
    assert back[8] > 1.4 - 0.1 * 0.4


@pytest.mark.parametrize("every", [1, 6, 18])
def test_whoever_comes_is_followed_at_once_however_rare_predictions_are(every: int) -> None:
    smoother, nobody = SteadySmoother(), np.zeros((HEIGHT, WIDTH), np.uint8)
    run(smoother, [level(1.4) for _ in range(30)])
    of_nobody = level(1.0)
    run(smoother, [of_nobody] * 240, start=30, alpha=nobody)
    run(smoother, [of_nobody] * (every - 1), start=270)
    back = run(smoother, [same for _ in range(10) for same in [level(1.4)] * every], start=270 + every - 1)
    assert back[8] > 1.4 - 0.1 * 0.4


def test_whoever_comes_back_after_a_minute_is_followed_though_predictions_hardly_change() -> None:
    smoother, nobody = SteadySmoother(), np.zeros((HEIGHT, WIDTH), np.uint8)
    run(smoother, [level(1.01) for _ in range(30)])
    for index in range(2, 62):
        smoother.update(level(1.01), index * 900_000_000, nobody)
    back = run(smoother, [level(1.01) for _ in range(30)], start=1660)
    assert back[-1] == pytest.approx(1.01, abs=2e-3)


def test_a_repeated_prediction_is_no_proof_and_drags_slowly() -> None:
    smoother = SteadySmoother()
    run(smoother, [level(1.0) for _ in range(30)])
    outputs = run(smoother, [level(1.5)] * 40, start=30)
    assert max(abs(value - 1) for value in outputs[:23]) < 1e-4
    assert outputs[-1] < 1.3


def lit_from(x: float) -> Correction:
    """Light from the side on a person at `x`: log-gain falls linearly about them, and is even farther away."""
    across = (np.arange(16, dtype=np.float32) + np.float32(0.5)) / 16 - np.float32(x)
    gain = np.tile(np.clip(-2 * across, -0.5, 0.5), (16, 1)).astype(np.float32)
    return Correction(PLAIN.matrix, PLAIN.curves, gain)


def test_shading_moves_with_the_person_and_does_not_stay_on_the_wall() -> None:
    smoother, still = SteadySmoother(), SteadySmoother()
    places = [0.35] * 30 + [0.35 + 0.3 * index / 60 for index in range(60)]
    before = lit_from(0.35)
    for index, x in enumerate(places):
        # the network is asked only once, so nothing but the motion of the matte can move the pattern
        moved = smoother.update(before, index * FRAME_NS, person(x))
        unmoved = still.update(before, index * FRAME_NS)
    truth = lit_from(places[-1])
    inside = cv2.resize(person(places[-1]), (16, 16), interpolation=cv2.INTER_AREA) > 127
    error = np.abs(moved.log_gain - truth.log_gain)[inside].mean()
    left_behind = np.abs(unmoved.log_gain - truth.log_gain)[inside].mean()
    assert left_behind > 0.3
    assert error < 0.2 * left_behind


@pytest.mark.parametrize("magnified", [0.5, 2.0])
def test_shading_moves_as_far_as_the_person_who_is_shown_in_another_size(magnified: float) -> None:
    smoother, before = SteadySmoother(), lit_from(0.5)
    for index in range(90):
        filmed = person(0.42 + 0.12 * max(0, index - 30) / 60)
        moved = smoother.update(before, index * FRAME_NS, filmed, magnified=magnified)
    shift = 0.12 * 59 / 60 * magnified
    error = np.abs(moved.log_gain - lit_from(0.5 + shift).log_gain)[:, 6:11].mean()
    assert error < 0.25 * np.abs(lit_from(0.5).log_gain - lit_from(0.5 + shift).log_gain)[:, 6:11].mean()


def test_it_costs_less_than_300_microseconds() -> None:
    rng = np.random.default_rng(4)
    smoother = SteadySmoother()
    mattes = [cv2.resize(person(0.5 + 0.05 * math.sin(index)), (1280, 720)) for index in range(10)]
    inputs = noisy(rng, 1.0, 400)
    took_ms = []
    for index, correction in enumerate(inputs):
        start_ns = time.perf_counter_ns()
        smoother.update(correction, index * FRAME_NS, mattes[index % 10])
        took_ms.append((time.perf_counter_ns() - start_ns) / 1e6)
    assert float(np.median(took_ms)) <= 0.3
