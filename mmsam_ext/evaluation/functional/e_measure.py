"""E-measure and mean absolute error of a foreground map, from two histograms of 256 grey levels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

EPS = torch.finfo(torch.float64).eps


class LevelHistograms(NamedTuple):
    """Hold the numbers of pixels by grey level, inside and outside the target, from which the measures are computed.

    Attributes:
        foreground: (256,) float64 (exact), pixels inside the target.
        background: (256,) float64 (exact), pixels outside the target.
        values: (256,) float64, the probability in [0, 1] that a level stands for.
    """

    foreground: Tensor
    background: Tensor
    values: Tensor


class EMeasureScores(NamedTuple):
    """Hold the E-measure of one image.

    Attributes:
        curve: (256,) float64, at thresholds of 255/255, 254/255, ... 0; its mean is mE.
        adaptive: Scalar float64, at twice the mean of the map, at most 1.
    """

    curve: Tensor
    adaptive: Tensor


def level_histograms(pred: Tensor, target: Tensor, normalize: bool = True) -> LevelHistograms:
    """Count the levels of a map.

    Args:
        pred: (H, W) uint8 grey levels, or float in [0, 1], which is rounded to them.
        target: (H, W) bool, on the same device.
        normalize: Stretch the map to [0, 1] by its smallest and largest level, as pysodmetrics and the saliency
            toolboxes before it do (a constant map stays).

    Raises:
        ValueError: The types or shapes do not match, or values lie outside [0, 1].
    """
    if target.dtype != torch.bool or pred.shape != target.shape or pred.ndim != 2 or not pred.numel():
        raise ValueError(
            f'pred is {pred.dtype} of shape {tuple(pred.shape)} and target {target.dtype} of shape '
            f'{tuple(target.shape)}, expected uint8 or float and bool, both of the same (H, W)'
        )
    if pred.is_floating_point():
        low, high = pred.aminmax()
        if not (low >= 0 and high <= 1):
            raise ValueError(f'pred holds {low:g} to {high:g}, expected probabilities in [0, 1]')
        pred = (pred * 255).round().to(torch.uint8)
    elif pred.dtype != torch.uint8:
        raise ValueError(f'pred is {pred.dtype}, expected uint8 or float')
    both = (pred.short() + (target.short() << 8)).flatten()  # one pass; picking the target's pixels is 4 times as slow
    background, foreground = torch.bincount(both, minlength=512).view(2, 256)
    values = torch.arange(256, dtype=torch.float64, device=pred.device) / 255
    if normalize:
        low, high = values[(background + foreground).nonzero()[[0, -1], 0]]
        values = torch.where(high > low, (values - low) / (high - low).clamp(min=EPS), values)
    return LevelHistograms(foreground.double(), background.double(), values)


def e_measure(histograms: LevelHistograms) -> EMeasureScores:
    """Compute the E-measure (Fan et al., IJCAI 2018) at 256 thresholds and the adaptive one, equal to pysodmetrics.

    The enhanced alignment of a pixel depends only on whether it is foreground in prediction and in target, so four
    numbers of pixels give the mean over an image in closed form. For a target that is empty or
    covers the whole image, the E-measure is the share of pixels that agree.
    """
    foreground, background, values = histograms
    # The levels anew after the stretch, cut off (not rounded), as pysodmetrics does. Unused ones may lie outside.
    levels = (values * 255).clamp(0, 255).long()
    hits = torch.zeros_like(foreground).index_add_(0, levels, foreground).flip(0).cumsum(0)
    false_alarms = torch.zeros_like(background).index_add_(0, levels, background).flip(0).cumsum(0)
    total, size = foreground.sum(), (foreground + background).sum()
    threshold = (2 * ((foreground + background) * values).sum() / size).clamp(max=1)
    above = values >= threshold
    hits = torch.cat([hits, (foreground * above).sum()[None]])
    false_alarms = torch.cat([false_alarms, (background * above).sum()[None]])
    scores = _alignment(hits, false_alarms, total, size) / (size - 1 + EPS)
    return EMeasureScores(scores[:-1], scores[-1])


def _alignment(hits: Tensor, false_alarms: Tensor, total: Tensor, size: Tensor) -> Tensor:
    """Sum the enhanced alignment matrix, given the numbers of predicted pixels inside and outside the target."""
    predicted = hits + false_alarms
    pred_mean, target_mean = predicted / size, total / size
    parts = (
        (hits, 1 - pred_mean, 1 - target_mean),
        (false_alarms, 1 - pred_mean, -target_mean),
        (total - hits, -pred_mean, 1 - target_mean),
        (size - predicted - (total - hits), -pred_mean, -target_mean),
    )
    aligned = sum(
        number * (2 * pred * target / (pred**2 + target**2 + EPS) + 1) ** 2 / 4 for number, pred, target in parts
    )
    aligned = torch.where(total == 0, size - predicted, aligned)
    return torch.where(total == size, predicted, aligned)


def mean_absolute_error(histograms: LevelHistograms) -> Tensor:
    """Compute the mean of |map - target| over pixels, scalar float64 in [0, 1]."""
    foreground, background, values = histograms
    return (foreground * (1 - values) + background * values).sum() / (foreground + background).sum()
