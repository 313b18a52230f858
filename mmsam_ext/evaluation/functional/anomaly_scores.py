"""AUROC, average precision, best F1 and AUPRO from histograms of scores, in memory independent of the data."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

#: One bin for each fp16 number, in their order; -0 and 0 share one, infinities have their own.
BINS = 1 << 16


def score_bins(scores: Tensor) -> Tensor:
    """Return the bin of each score; higher scores have higher bins.

    Scores are rounded to fp16, a relative step of 1/1024 at any scale, so logits stay distinct that would all round to
    0 or 1 as probabilities. Scores that round to the same number are tied.

    Args:
        scores: Floats of any shape.

    Returns:
        int64 of the same shape, in [0, BINS).

    Raises:
        ValueError: A score is NaN.
    """
    if scores.isnan().any():
        raise ValueError('scores hold NaN, expected numbers')
    bits = (scores.to(torch.float16) + 0.0).view(torch.int16).long()  # + 0.0 makes 0 of -0
    return torch.where(bits < 0, -bits - 1, bits + (BINS >> 1))


def bin_scores() -> Tensor:
    """(BINS,) float64, the score that each bin of :func:`score_bins` stands for (NaN for those no score falls in)."""
    bins = torch.arange(BINS)
    bits = torch.where(bins < BINS >> 1, -bins - 1, bins - (BINS >> 1))
    return bits.to(torch.int16).view(torch.float16).double()


def rescale_histograms(histograms: Sequence[Tensor], low: float, high: float) -> list[Tensor]:
    """Histograms (BINS,) of the scores (score - low) / (high - low), in [0, 1]; of 0 where high is low."""
    used = torch.stack(list(histograms)).any(0).nonzero()[:, 0]
    scores = bin_scores()[used]
    bins = score_bins(((scores - low) / (high - low)).clamp(0, 1) if high > low else torch.zeros_like(scores))
    return [torch.zeros_like(one).index_add_(0, bins, one[used]) for one in histograms]


def score_histogram(bins: Tensor, weights: Tensor | None = None) -> Tensor:
    """Count (n,) bins, or sum their weights; (BINS,) float64."""
    return torch.bincount(bins, None if weights is None else weights.double(), minlength=BINS).double()


def region_histogram(bins: Tensor, target: Tensor) -> tuple[Tensor, int]:
    """Compute the histogram of the scores in each connected region of a target, every region with weight 1, for AUPRO.

    Args:
        bins: (H, W) of :func:`score_bins`.
        target: (H, W) bool; regions are 8-connected.

    Returns:
        (BINS,) float64, the histogram of scores in each region over its area, summed over regions; and their number.
    """
    number, labels = cv2.connectedComponents(target.cpu().numpy().astype(np.uint8), connectivity=8)
    labels = torch.from_numpy(labels).to(bins.device)[target]  # 1 to number - 1
    areas = torch.bincount(labels, minlength=number).double()
    return score_histogram(bins[target], 1 / areas[labels]), number - 1


def auroc(positive: Tensor, negative: Tensor) -> Tensor | None:
    """Compute the area under the ROC curve of two histograms (BINS,), ties counting half; None if one is empty."""
    if not (positive.any() and negative.any()):
        return None
    below = negative.cumsum(0) - negative
    return (positive * (below + negative / 2)).sum() / (positive.sum() * negative.sum())


def average_precision(positive: Tensor, negative: Tensor) -> Tensor | None:
    """Compute the average precision as scikit-learn does, from two histograms (BINS,); None without positives."""
    if not positive.any():
        return None
    precision = _precision(positive, negative)
    return (precision * positive.flip(0)).sum() / positive.sum()


def f1_max(positive: Tensor, negative: Tensor) -> Tensor | None:
    """Compute the best F1 over all thresholds; None without positives."""
    if not positive.any():
        return None
    hits, alarms = positive.flip(0).cumsum(0), negative.flip(0).cumsum(0)
    return (2 * hits / (hits + alarms + positive.sum())).max()


def false_alarm_rate(positive: Tensor, negative: Tensor, recall: float = 0.95) -> Tensor | None:
    """Compute the share of negatives that score as high as the threshold at which `recall` of the positives are found.

    Args:
        positive: (BINS,) histogram of the scores of defects.
        negative: (BINS,) histogram of the scores of normal images.
        recall: Share of the positives to find, in (0, 1]; the threshold is the highest that finds as many.

    Returns:
        Scalar in [0, 1]; None if one histogram is empty.
    """
    if not (positive.any() and negative.any()):
        return None
    found = positive.flip(0).cumsum(0)
    # A relative step of 1e-9 forgives the rounding of recall * number.
    place = int((found >= recall * positive.sum() * (1 - 1e-9)).nonzero()[0])
    return negative.flip(0).cumsum(0)[place] / negative.sum()


def aupro(regions: Tensor, number: int, negative: Tensor, limit: float = 0.3) -> Tensor | None:
    """Compute the area under the curve of per-region overlap over the false positive rate, up to `limit`, normalised.

    The definition is that of MVTec AD (Bergmann et al. 2020).

    Args:
        regions: (BINS,) sum of :func:`region_histogram` over images.
        number: Number of regions.
        negative: (BINS,) histogram of the pixels outside of all regions.
        limit: Largest false positive rate, in (0, 1].

    Returns:
        Scalar in [0, 1]; None without a region or without a negative pixel.
    """
    if not number or not negative.any():
        return None
    zero = regions.new_zeros(1)
    rate = torch.cat([zero, negative.flip(0).cumsum(0) / negative.sum()])
    overlap = torch.cat([zero, regions.flip(0).cumsum(0) / number])
    # The curve up to the limit: its last piece is cut by interpolation.
    inside = int((rate <= limit).sum())
    if inside < len(rate):
        share = (limit - rate[inside - 1]) / (rate[inside] - rate[inside - 1])
        last = overlap[inside - 1] + share * (overlap[inside] - overlap[inside - 1])
        rate = torch.cat([rate[:inside], rate.new_tensor([limit])])
        overlap = torch.cat([overlap[:inside], last[None]])
    return torch.trapezoid(overlap, rate) / limit


def _precision(positive: Tensor, negative: Tensor) -> Tensor:
    hits, alarms = positive.flip(0).cumsum(0), negative.flip(0).cumsum(0)
    return hits / (hits + alarms).clamp(min=1)
