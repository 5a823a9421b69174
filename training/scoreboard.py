"""Scores gathered over the pairs of a benchmark, as tables: numbers for JSON, and markdown."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from training.benchmarks import BenchmarkPair
from training.metrics import (
    MIN_SHIFT,
    RATIO_BINS,
    Summary,
    binarize,
    blend,
    by_group,
    join,
    ratio_bin,
    score_images,
    summarize,
)
from training.predictors import PHNetFitted, Predictor
from training.skin import SKIN_GROUPS, UNKNOWN

__all__ = ["Collected", "Shift", "Table", "chroma_shift", "markdown", "shift_summary", "tabulate"]

F32Array = NDArray[np.float32]
F64Array = NDArray[np.float64]

MAX_ANGLE = 25.0
"""Degrees between the predicted and the true shift of chroma that count as agreement."""

SHIFT_RATIO = (0.6, 1.4)
"""Predicted length over true length that counts as agreement."""

SHIFT_LENGTHS = (("3 to 6", 6.0), ("6 to 10", 10.0), ("10 to 15", 15.0), ("15 to 25", 25.0), ("over 25", np.inf))
"""Groups by the length of the true shift, each up to this one."""

SCENE_SPREADS = (("even", 5.0), ("some detail", 13.0), ("rich", np.inf))
"""Groups by the standard deviation of L* in the scene, each up to this one: a wall of one colour shows no light."""


@dataclass(frozen=True)
class Shift:
    """Mean change of a* and b* over the person, from the composite.

    Args:
        predicted: (a*, b*) of the prediction minus the composite.
        true: (a*, b*) of the truth minus the composite.
        scene_spread: Standard deviation of L* outside the person, 0..50.
    """

    predicted: tuple[float, float]
    true: tuple[float, float]
    scene_spread: float = 0.0

    @property
    def angle(self) -> float:
        """Degrees between the two, 0..180."""
        p, t = np.array(self.predicted), np.array(self.true)
        cosine = float(p @ t) / max(float(np.linalg.norm(p) * np.linalg.norm(t)), 1e-9)
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))

    @property
    def ratio(self) -> float:
        """Length of the predicted over that of the true."""
        return float(np.linalg.norm(self.predicted) / max(self.length, 1e-9))

    @property
    def length(self) -> float:
        """Of the true one."""
        return float(np.linalg.norm(self.true))


@dataclass
class Table:
    """All scores of one predictor on one benchmark with one mask.

    Args:
        benchmark: Name in `BENCHMARKS`.
        mask: Name in `MASKS`.
        predictor: Its name.
        overall: Averages, medians, standard errors.
        improved: Share of pictures with a lower fMSE than the composite, 0..1.
        gain: Composite's mean fMSE over this one's.
        by_ratio: Summary for each bin of foreground share.
        by_skin: Summary for each skin-tone group.
        shift: Agreement of the chroma shift, on `scene_cast` and `scene_planck` only.
        shift_by_length: The same for each group of `SHIFT_LENGTHS`.
        shift_by_scene: The same for each group of `SCENE_SPREADS`.
        ms: Mean time of a prediction in milliseconds, this machine, for orientation only.
        fit_psnr: Mean PSNR of the person between a fitted picture and the network's own, dB; NaN for others.
    """

    benchmark: str
    mask: str
    predictor: str
    overall: Summary
    improved: float
    gain: float
    by_ratio: dict[str, Summary]
    by_skin: dict[str, Summary]
    shift: Summary = field(default_factory=dict)
    shift_by_length: dict[str, Summary] = field(default_factory=dict)
    shift_by_scene: dict[str, Summary] = field(default_factory=dict)
    ms: float = float("nan")
    fit_psnr: float = float("nan")


def chroma_shift(composite: F32Array, other: F32Array, mask: F32Array) -> tuple[float, float]:
    """Mean change of a* and b* over the mask; pictures (H, W, 3) float32, encoded sRGB, 0..1."""
    inside = mask > 0.5
    before, after = (cv2.cvtColor(p, cv2.COLOR_RGB2LAB)[inside] for p in (composite, other))
    change = after[:, 1:].mean(0) - before[:, 1:].mean(0)
    return float(change[0]), float(change[1])


def _lightness_spread(composite: F32Array, mask: F32Array) -> float:
    """Standard deviation of L* outside the mask, 0 where nothing is outside."""
    outside = cv2.cvtColor(composite, cv2.COLOR_RGB2LAB)[mask <= 0.5, 0]
    return float(outside.std()) if outside.size else 0.0


def shift_summary(shifts: Sequence[Shift]) -> Summary:
    """How often the predicted shift of chroma agrees with the true one, over shifts of at least `MIN_SHIFT`.

    Returns:
        ``count`` of shifts compared, ``agree`` share within angle and length, ``angle_ok`` and ``ratio_ok`` shares,
        ``angle_median`` degrees and ``ratio_median``; NaN without shifts.
    """
    kept = [s for s in shifts if s.length >= MIN_SHIFT]
    angles, ratios = np.array([s.angle for s in kept]), np.array([s.ratio for s in kept])
    if not kept:
        return {"count": 0.0}
    angle_ok, ratio_ok = angles <= MAX_ANGLE, (ratios >= SHIFT_RATIO[0]) & (ratios <= SHIFT_RATIO[1])
    return {
        "count": float(len(kept)),
        "agree": float((angle_ok & ratio_ok).mean()),
        "angle_ok": float(angle_ok.mean()),
        "ratio_ok": float(ratio_ok.mean()),
        "angle_median": float(np.median(angles)),
        "ratio_median": float(np.median(ratios)),
    }


def _shift_groups(
    shifts: Sequence[Shift], values: Sequence[float], groups: Sequence[tuple[str, float]]
) -> dict[str, Summary]:
    """`shift_summary` of each group, by a value of each shift and the least upper bound above it."""
    names = [next(name for name, most in groups if value <= most) for value in values]
    return {
        group: shift_summary([s for s, name in zip(shifts, names, strict=True) if name == group]) for group, _ in groups
    }


@dataclass
class Collected:
    """Scores of one predictor while a benchmark runs.

    Args:
        scores: Of each pair.
        shifts: Of chroma, where they are asked for.
        fit_psnr: What each fit of a dense picture lost, dB.
        groups: Skin-tone group of each pair.
        seconds: Spent predicting.
    """

    scores: list[dict[str, F64Array]] = field(default_factory=list)
    shifts: list[Shift] = field(default_factory=list)
    fit_psnr: list[float] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, predictor: Predictor, pair: BenchmarkPair, shift: bool) -> None:
        """Predict a pair and score it; `shift` asks for the change of chroma as well.

        Raises:
            ValueError: The prediction holds NaN or infinity, which averages would leave out.
        """
        started = time.perf_counter()
        prediction = blend(predictor.predict(pair), pair.composite, pair.mask)
        self.seconds += time.perf_counter() - started
        if not np.isfinite(prediction).all():
            raise ValueError(f"evaluate: {predictor.name} gave values that are not finite for {pair.name}")
        self.groups.append(pair.group)
        self.scores.append(score_images(prediction[None] * 255, pair.truth[None] * 255, binarize(pair.mask[None])))
        if isinstance(predictor, PHNetFitted) and predictor.last_fit is not None:
            self.fit_psnr.append(predictor.last_fit.psnr)
        if shift:
            true = chroma_shift(pair.composite, pair.truth, pair.mask)
            predicted = chroma_shift(pair.composite, prediction, pair.mask)
            self.shifts.append(Shift(predicted, true, _lightness_spread(pair.composite, pair.mask)))


def tabulate(benchmark: str, mask: str, collected: Mapping[str, Collected]) -> list[Table]:
    """The tables of a benchmark, one for each predictor, the composite first."""
    tables = []
    composite: F64Array | None = None
    for name, found in collected.items():
        scores = join(found.scores)
        composite = scores["fmse"] if composite is None else composite
        ratios = [ratio_bin(float(r)) for r in scores["ratio"]]
        overall = summarize(scores)
        tables.append(
            Table(
                benchmark=benchmark,
                mask=mask,
                predictor=name,
                overall=overall,
                improved=float((scores["fmse"] < composite).mean()),
                gain=float(np.nanmean(composite)) / max(overall["fmse"], 1e-9),
                by_ratio=by_group(scores, ratios, [b[0] for b in RATIO_BINS]),
                by_skin=by_group(scores, found.groups, [*(g[0] for g in SKIN_GROUPS), UNKNOWN]),
                shift=shift_summary(found.shifts) if found.shifts else {},
                shift_by_length=_shift_groups(found.shifts, [s.length for s in found.shifts], SHIFT_LENGTHS),
                shift_by_scene=_shift_groups(found.shifts, [s.scene_spread for s in found.shifts], SCENE_SPREADS),
                ms=1000 * found.seconds / len(found.scores),
                fit_psnr=float(np.mean(found.fit_psnr)) if found.fit_psnr else float("nan"),
            )
        )
    return tables


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows), ""]


def _pm(summary: Summary, name: str, digits: int) -> str:
    return f"{summary[name]:.{digits}f} ± {summary[f'{name}_se']:.{digits}f}"


def _main_rows(tables: Sequence[Table]) -> list[list[str]]:
    rows = []
    for t in tables:
        s = t.overall
        rows.append(
            [t.predictor, _pm(s, "psnr", 2), f"{s['psnr_maxtarget']:.2f}", f"{s['mse']:.1f}", _pm(s, "fmse", 0),
             f"{s['fmse_median']:.0f}", f"{s['fpsnr']:.2f}", f"{t.gain:.2f}x", f"{t.improved:.0%}"]
        )  # fmt: skip
    return rows


def _group_rows(tables: Sequence[Table], attribute: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows of mean / median fMSE for each group that occurs."""
    names = list(getattr(tables[0], attribute))
    counts = [int(getattr(tables[0], attribute)[n]["count"]) for n in names]
    rows = []
    for t in tables:
        groups: dict[str, Summary] = getattr(t, attribute)
        cells = [f"{groups[n]['fmse']:.0f} / {groups[n]['fmse_median']:.0f}" for n in names]
        rows.append([t.predictor, *cells])
    return ["", *(f"{n} ({c})" for n, c in zip(names, counts, strict=True))], rows


def _agreement_rows(tables: Sequence[Table], attribute: str) -> tuple[list[str], list[list[str]]]:
    """Head and rows of agreement / median length for each group that occurs."""
    first: dict[str, Summary] = getattr(tables[0], attribute)
    names = [name for name, summary in first.items() if summary["count"]]
    rows = []
    for t in tables:
        groups: dict[str, Summary] = getattr(t, attribute)
        rows.append([t.predictor, *(f"{groups[n]['agree']:.0%}, {groups[n]['ratio_median']:.2f}x" for n in names)])
    return ["", *(f"{n} ({first[n]['count']:.0f})" for n in names)], rows


def markdown(tables: Sequence[Table], size: int, seed: int) -> str:
    """All tables as text."""
    lines = [
        f"Pictures at {size}², seed {seed}. Errors on 0..255 after blending, masks binarised for scores,",
        "averages over images ± standard error; PSNR with peak 255 (psnr) and with the target's maximum (psnr max).",
        "fMSE is `Σ M·d² / (3·ΣM)`. *gain* is the composite's mean fMSE over this one's, *better* the share of",
        "pictures whose fMSE is lower than the composite's.",
        "",
        "Masks: *plain* is the matte binarised at one half; *dilated* the matte above 0.1 grown by 3 pixels; *call*",
        "the soft matte over a background cleared of the person: no trace of the original on either side of the edge.",
        "",
    ]
    head = ["", "psnr", "psnr max", "mse", "fMSE", "median", "fPSNR", "gain", "better"]
    for key in dict.fromkeys((t.benchmark, t.mask) for t in tables):
        chosen = [t for t in tables if (t.benchmark, t.mask) == key]
        lines += [f"## {key[0]}, {key[1]} masks", "", f"{chosen[0].overall['count']:.0f} pictures.", ""]
        lines += _grid(head, _main_rows(chosen))
        lines += [
            f"{t.predictor} differs from the network's own picture by {t.fit_psnr:.1f} dB (PSNR of the person).\n"
            for t in chosen
            if np.isfinite(t.fit_psnr)
        ]
        lines += ["Mean / median fMSE by foreground share:", "", *_grid(*_group_rows(chosen, "by_ratio"))]
        lines += [
            "Mean / median fMSE by skin tone (ITA of skin-coloured pixels in the upper half of the matte, by the",
            "photograph's own light, so indicative only):",
            "",
            *_grid(*_group_rows(chosen, "by_skin")),
        ]
        shifted = [t for t in chosen if t.shift.get("count")]
        if shifted:
            lines += [
                "Mean shift of chroma (a*, b*) of the person against the true one, for the",
                f"{shifted[0].shift['count']:.0f} pictures where that is at least {MIN_SHIFT:.0f}; agreement is within",
                f"{MAX_ANGLE:.0f} degrees and {SHIFT_RATIO[0]}-{SHIFT_RATIO[1]} times its length:",
                "",
                *_grid(
                    ["", "agree", "angle within", "length within", "median angle", "median length"],
                    [
                        [t.predictor, f"{t.shift['agree']:.0%}", f"{t.shift['angle_ok']:.0%}",
                         f"{t.shift['ratio_ok']:.0%}", f"{t.shift['angle_median']:.0f}°",
                         f"{t.shift['ratio_median']:.2f}x"]
                        for t in shifted
                    ],
                ),
                "Agreement and median length by the length of the true shift, and by the standard deviation of L* in",
                f"the scene ({', '.join(f'{name} up to {most:.0f}' for name, most in SCENE_SPREADS[:-1])}):",
                "",
                *_grid(*_agreement_rows(shifted, "shift_by_length")),
                *_grid(*_agreement_rows(shifted, "shift_by_scene")),
            ]  # fmt: skip
    return "\n".join(lines)
