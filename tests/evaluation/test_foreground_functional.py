"""E-measure against pysodmetrics' values, anomaly scores against scikit-learn's definitions and cases by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from scipy import ndimage

from mmsam_ext.evaluation.functional import (
    aupro,
    auroc,
    average_precision,
    e_measure,
    f1_max,
    level_histograms,
    mean_absolute_error,
    region_histogram,
    score_bins,
    score_histogram,
)
from tests.evaluation.anomaly_golden import GOLDEN, pixels
from tests.evaluation.e_measure_golden import FILE, NUMBER, PLACES, case
from tests.naming import raises_naming
from tests.numeric import LAYER, assert_close


def test_e_measure_and_mae_are_pysodmetrics() -> None:
    golden = json.loads(FILE.read_text())
    assert len(golden) == NUMBER
    for index, expected in enumerate(golden):
        pred, target = (torch.from_numpy(array) for array in case(index))
        histograms = level_histograms(pred, target)
        scores = e_measure(histograms)
        ours = [scores.curve.mean(), scores.curve.max(), scores.adaptive, mean_absolute_error(histograms)]
        ours += [scores.curve[place] for place in PLACES]
        assert np.abs(np.array([float(value) for value in ours]) - expected).max() < 1e-9, index


def test_e_measure_by_hand() -> None:
    """Four pixels, half of them foreground. At thresholds above 0 the map is the target: alignment 1 at each pixel; at
    0 all is predicted: the prediction has no contrast, alignment 1/4. Divided by 3 pixels, not 4, as published."""
    target = torch.tensor([[True, True], [False, False]])
    histograms = level_histograms(target.float(), target)
    scores = e_measure(histograms)
    assert_close(scores.curve[:-1], torch.full((255,), 4 / 3, dtype=torch.float64), LAYER)
    assert float(scores.curve[-1]) == pytest.approx(1 / 3) and float(scores.adaptive) == pytest.approx(4 / 3)
    assert float(mean_absolute_error(histograms)) == 0
    grey = level_histograms(torch.full((2, 2), 0.2), target, normalize=False)
    assert float(mean_absolute_error(grey)) == pytest.approx((0.8 + 0.2) / 2)


@pytest.mark.parametrize(
    ('pred', 'target', 'names'),
    [
        (torch.zeros(2, 2), torch.zeros(2, 2), ('uint8', 'torch.float32')),
        (torch.zeros(2, 2), torch.zeros(2, 3, dtype=torch.bool), ('(2, 2)', '(2, 3)')),
        (torch.full((2, 2), 1.5), torch.zeros(2, 2, dtype=torch.bool), ('probabilities', '1.5')),
        (torch.full((2, 2), torch.nan), torch.zeros(2, 2, dtype=torch.bool), ('probabilities', 'nan')),
        (torch.zeros(2, 2, dtype=torch.int32), torch.zeros(2, 2, dtype=torch.bool), ('torch.int32', 'uint8')),
    ],
)
def test_histograms_refuse(pred: torch.Tensor, target: torch.Tensor, names: tuple[str, ...]) -> None:
    with raises_naming(ValueError, *names):
        level_histograms(pred, target)


def test_bins_keep_the_order() -> None:
    values = torch.tensor(
        [-torch.inf, -70000.0, -3.5, -3.498, -1e-7, -0.0, 0.0, 1e-7, 2.0, 2.001953125, 9e4, torch.inf]
    )
    bins = score_bins(values)
    assert bins[5] == bins[6] and bins[0] == bins[1] and bins[10] == bins[11], '-0 is 0, what overflows is infinite'
    assert (bins.diff() > 0).tolist() == [False, True, True, True, True, False, True, True, True, True, False]
    with raises_naming(ValueError, 'NaN'):
        score_bins(torch.tensor([torch.nan]))


def histograms(scores: np.ndarray, labels: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    bins = score_bins(torch.from_numpy(scores))
    return score_histogram(bins[torch.from_numpy(labels)]), score_histogram(bins[torch.from_numpy(~labels)])


@pytest.mark.parametrize('seed', range(5))
def test_auroc_ap_f1_from_all_pairs_and_thresholds(seed: int) -> None:
    scores, labels = pixels(seed)
    positive, negative = histograms(scores, labels)
    pairs = scores[labels][:, None] - scores[~labels]
    assert float(auroc(positive, negative)) == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean(), abs=1e-12)
    recall, area, best = 0.0, 0.0, 0.0
    for threshold in np.unique(scores)[::-1]:
        hits, predicted = (labels & (scores >= threshold)).sum(), (scores >= threshold).sum()
        area += (hits / labels.sum() - recall) * hits / predicted
        recall = hits / labels.sum()
        best = max(best, 2 * hits / (predicted + labels.sum()))
    assert float(average_precision(positive, negative)) == pytest.approx(area, abs=1e-12)
    assert float(f1_max(positive, negative)) == pytest.approx(best, abs=1e-12)
    assert (float(auroc(positive, negative)), area, best) == pytest.approx(GOLDEN[seed], abs=1e-12)


def test_undefined_is_none() -> None:
    some, none = torch.ones(4), torch.zeros(4)
    assert auroc(none, some) is auroc(some, none) is average_precision(none, some) is f1_max(none, some) is None
    assert aupro(none, 0, some) is aupro(some, 1, none) is None


def pro_by_definition(scores: np.ndarray, target: np.ndarray, limit: float) -> float:
    """Overlap of each region at each threshold, the curve integrated up to the limit."""
    labels, number = ndimage.label(target, np.ones((3, 3)))
    rates, overlaps = [0.0], [0.0]
    for threshold in np.unique(scores)[::-1]:
        found = scores >= threshold
        rates.append(found[~target].mean())
        overlaps.append(np.mean([found[labels == region].mean() for region in range(1, number + 1)]))
    inside = [(rate, overlap) for rate, overlap in zip(rates, overlaps, strict=True) if rate <= limit]
    x, y = np.array([*inside, (limit, np.interp(limit, rates, overlaps))]).T
    return float(np.trapezoid(y, x) / limit)


@pytest.mark.parametrize('limit', [0.3, 0.05, 1.0])
def test_aupro_by_definition(limit: float) -> None:
    random = np.random.RandomState(0)
    target = np.zeros((20, 20), bool)
    target[2:4, 2:9] = target[4, 9] = target[12:18, 11:14] = True  # (4, 9) touches the first by a corner
    scores = (random.normal(2 * target, 1) * 8).round() / 8
    bins = score_bins(torch.from_numpy(scores))
    regions, number = region_histogram(bins, torch.from_numpy(target))
    assert number == 2
    negative = score_histogram(bins[torch.from_numpy(~target)])
    assert float(aupro(regions, number, negative, limit)) == pytest.approx(pro_by_definition(scores, target, limit))
