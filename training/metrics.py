"""Scores of harmonized pictures (PHNet, arXiv 2402.17561, eq 16-17), with every convention named.

All errors are on 0..255 floats, after the prediction has been blended with the untouched background, at the size of the
arrays given. Each image gets its own scores and tables are averages over images; nothing is pooled.

==================  =====================================================================================
``mse``             mean squared error over all pixels and channels
``psnr``            from ``mse`` with peak 255
``psnr_maxtarget``  from ``mse`` with the largest value of the target as peak (PHNet and others)
``fmse``            ``Σ M·d² / (3·ΣM)``, eq 16
``fmse_iharmony``   ``Σ (M·d)² / (3·ΣM)``, as iHarmony4 and its followers compute it, eq 17
``fpsnr``           from ``fmse`` with peak 255
==================  =====================================================================================

The two forms of fMSE agree for binary masks; scores that are published here binarise masks at 0.5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "METRICS",
    "MIN_MSE",
    "MIN_SHIFT",
    "RATIO_BINS",
    "Summary",
    "binarize",
    "blend",
    "by_group",
    "join",
    "ratio_bin",
    "score_images",
    "summarize",
]

FloatArray = NDArray[np.floating]
F64Array = NDArray[np.float64]

METRICS = ("psnr", "psnr_maxtarget", "mse", "fmse", "fmse_iharmony", "fpsnr")

MIN_MSE = 1e-3
"""Floor of the squared error inside PSNR, on 0..255: identical pictures score 78 dB instead of infinity."""

MIN_SHIFT = 3.0
"""True shifts of the mean chroma shorter than this, in a* b*, have no direction worth comparing."""

RATIO_BINS = (("0-5 %", 0.0, 0.05), ("5-15 %", 0.05, 0.15), ("15-100 %", 0.15, 1.0))
"""Bins of the foreground's share of the picture: name, above, up to and including."""

Summary = dict[str, float]


def binarize(mask: FloatArray) -> NDArray[np.float32]:
    """1 where the mask is above one half."""
    return (mask > 0.5).astype(np.float32)


def blend(prediction: FloatArray, composite: FloatArray, mask: FloatArray) -> NDArray[np.float32]:
    """The prediction inside the mask, the composite outside (eq 1).

    Args:
        prediction: (..., H, W, 3).
        composite: Like `prediction`.
        mask: (..., H, W), 0..1.
    """
    m = mask[..., None]
    return (prediction * m + composite * (1 - m)).astype(np.float32)


def _psnr(mse: F64Array, peak: F64Array | float) -> F64Array:
    return np.asarray(10 * np.log10(np.square(peak) / np.maximum(mse, MIN_MSE)))


def score_images(prediction: FloatArray, target: FloatArray, mask: FloatArray) -> dict[str, F64Array]:
    """Every metric of every image of a batch.

    Args:
        prediction: (N, H, W, 3), 0..255, already blended.
        target: (N, H, W, 3), 0..255.
        mask: (N, H, W), 0..1.

    Returns:
        An array of N values for each name in `METRICS`, and ``ratio``, the foreground's share of the picture. The
        foreground scores of an image with an empty mask are NaN.

    Raises:
        ValueError: The shapes do not belong together, or values look like 0..1.
    """
    if prediction.ndim != 4 or prediction.shape != target.shape or prediction.shape[:3] != mask.shape:
        raise ValueError(
            "score_images: expected prediction and target (N, H, W, 3) and mask (N, H, W), "
            f"received {prediction.shape}, {target.shape} and {mask.shape}"
        )
    if target.size and 0 < float(target.max()) <= 1:
        raise ValueError("score_images: expected values in 0..255, received a target that ends at 1; multiply by 255")
    squared = np.square(prediction.astype(np.float64) - target)
    mse = squared.mean((1, 2, 3))
    weight = mask.astype(np.float64)
    area = weight.sum((1, 2))
    by_pixel = squared.sum(3)
    values = 3 * np.where(area > 0, area, np.nan)
    fmse = (by_pixel * weight).sum((1, 2)) / values
    return {
        "psnr": _psnr(mse, 255.0),
        "psnr_maxtarget": _psnr(mse, np.maximum(target.max((1, 2, 3)), 1).astype(np.float64)),
        "mse": mse,
        "fmse": fmse,
        "fmse_iharmony": (by_pixel * np.square(weight)).sum((1, 2)) / values,
        "fpsnr": _psnr(fmse, 255.0),
        "ratio": weight.mean((1, 2)),
    }


def ratio_bin(ratio: float) -> str:
    """Name of the bin of `RATIO_BINS` that a foreground share falls in; an empty mask counts to the first."""
    for name, _, high in RATIO_BINS:
        if ratio <= high:
            return name
    raise ValueError(f"ratio_bin: expected a share in 0..1, received {ratio}")


def summarize(scores: Mapping[str, F64Array], select: NDArray[np.bool_] | None = None) -> Summary:
    """Average, median and standard error of each metric over images; NaN scores are left out.

    Args:
        scores: As from `score_images`, joined over batches.
        select: (N,) which images to count; all when None.

    Returns:
        ``count``, and for each metric NAME: ``NAME``, ``NAME_median`` and ``NAME_se`` (NaN below two images).
    """
    summary: Summary = {}
    for name in METRICS:
        values = scores[name] if select is None else scores[name][select]
        summary.setdefault("count", float(len(values)))
        values = values[np.isfinite(values)]
        count = len(values)
        summary[name] = float(values.mean()) if count else float("nan")
        summary[f"{name}_median"] = float(np.median(values)) if count else float("nan")
        summary[f"{name}_se"] = float(values.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
    return summary


def by_group(scores: Mapping[str, F64Array], labels: Sequence[str], names: Sequence[str]) -> dict[str, Summary]:
    """A summary for each group that has images, in the order of `names`."""
    array = np.array(labels)
    return {name: summarize(scores, array == name) for name in names if (array == name).any()}


def join(batches: Sequence[Mapping[str, F64Array]]) -> dict[str, F64Array]:
    """The scores of several batches as one."""
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
