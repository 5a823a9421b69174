"""The metrics, by numbers worked out by hand, in batches of more than one."""

from __future__ import annotations

import numpy as np
import pytest

from training import metrics


def batch() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two 2x2 images: errors of 10 in one pixel and of 20 in two pixels, in all three channels."""
    target = np.full((2, 2, 2, 3), 100, np.float32)
    target[1, 0, 0, 0] = 200
    prediction = target.copy()
    prediction[0, 0, 0] += 10
    prediction[1, 0] += 20
    mask = np.zeros((2, 2, 2), np.float32)
    mask[0, 0, 0] = 1
    mask[1, 0] = 1
    return prediction, target, mask


def test_values_by_hand() -> None:
    scores = metrics.score_images(*batch())
    np.testing.assert_allclose(scores["mse"], [25, 200])
    np.testing.assert_allclose(scores["fmse"], [100, 400])
    np.testing.assert_allclose(scores["fmse_iharmony"], [100, 400])
    np.testing.assert_allclose(scores["psnr"], [20 * np.log10(255 / 5), 10 * np.log10(255**2 / 200)])
    np.testing.assert_allclose(scores["psnr_maxtarget"], [20 * np.log10(100 / 5), 10 * np.log10(200**2 / 200)])
    np.testing.assert_allclose(scores["fpsnr"], [20 * np.log10(255 / 10), 20 * np.log10(255 / 20)])
    np.testing.assert_allclose(scores["ratio"], [0.25, 0.5])


def test_the_two_forms_of_fmse_differ_for_soft_masks() -> None:
    target = np.full((1, 1, 2, 3), 100, np.float32)
    prediction = target + np.array([10, 20], np.float32)[None, None, :, None]
    mask = np.array([[[1.0, 0.5]]], np.float32)
    scores = metrics.score_images(prediction, target, mask)
    assert scores["fmse"][0] == pytest.approx(3 * (100 + 200) / (3 * 1.5))
    assert scores["fmse_iharmony"][0] == pytest.approx(3 * (100 + 100) / (3 * 1.5))


def test_a_batch_scores_as_its_images() -> None:
    prediction, target, mask = batch()
    together = metrics.score_images(prediction, target, mask)
    apart = metrics.join(
        [metrics.score_images(prediction[i : i + 1], target[i : i + 1], mask[i : i + 1]) for i in (0, 1)]
    )
    for name, values in together.items():
        np.testing.assert_allclose(values, apart[name])


def test_identical_pictures_score_high_and_finite() -> None:
    _, target, mask = batch()
    scores = metrics.score_images(target, target, mask)
    assert (scores["psnr"] > 75).all()
    assert np.isfinite(scores["fpsnr"]).all()
    assert (scores["fmse"] == 0).all()


def test_empty_mask_has_no_foreground_score_and_does_not_poison_the_average() -> None:
    prediction, target, mask = batch()
    mask[0] = 0
    scores = metrics.score_images(prediction, target, mask)
    assert np.isnan(scores["fmse"][0])
    summary = metrics.summarize(scores)
    assert summary["fmse"] == pytest.approx(400)
    assert summary["mse"] == pytest.approx(112.5)
    assert summary["count"] == 2


def test_summary_averages_images_not_pixels() -> None:
    summary = metrics.summarize(metrics.score_images(*batch()))
    assert summary["fmse"] == pytest.approx(250), "pooling over pixels would give 300"
    assert summary["fmse_median"] == pytest.approx(250)
    assert summary["fmse_se"] == pytest.approx(np.std([100, 400], ddof=1) / np.sqrt(2))


def test_groups_are_summarised_apart() -> None:
    groups = metrics.by_group(metrics.score_images(*batch()), ["light", "dark"], ["dark", "brown", "light"])
    assert list(groups) == ["dark", "light"]
    assert groups["dark"]["fmse"] == pytest.approx(400)
    assert np.isnan(groups["light"]["fmse_se"])


@pytest.mark.parametrize(
    ("ratio", "name"), [(0.0, "0-5 %"), (0.05, "0-5 %"), (0.0501, "5-15 %"), (0.15, "5-15 %"), (1.0, "15-100 %")]
)
def test_ratio_bins(ratio: float, name: str) -> None:
    assert metrics.ratio_bin(ratio) == name


def test_blend_keeps_the_background() -> None:
    prediction, target, mask = batch()
    out = metrics.blend(prediction + 50, target, mask)
    np.testing.assert_array_equal(out[mask == 0], target[mask == 0])
    np.testing.assert_array_equal(out[mask == 1], (prediction + 50)[mask == 1])


def test_masks_are_binarised_at_one_half() -> None:
    np.testing.assert_array_equal(metrics.binarize(np.array([0.0, 0.5, 0.51, 1.0])), [0, 0, 1, 1])


def test_wrong_shapes_and_ranges_are_named() -> None:
    prediction, target, mask = batch()
    with pytest.raises(ValueError, match=r"received \(2, 2, 2, 3\), \(1, 2, 2, 3\)"):
        metrics.score_images(prediction, target[:1], mask)
    with pytest.raises(ValueError, match=r"0\.\.255"):
        metrics.score_images(prediction / 255, target / 255, mask)
