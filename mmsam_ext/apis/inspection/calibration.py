"""From scores to probabilities and thresholds, on images whose answer is known."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

#: How a threshold may be chosen.
CRITERIA = ('f1', 'recall', 'false-alarm')


class Platt(NamedTuple):
    """Probability of a defect by a score: 1 / (1 + exp(-(slope * score + offset)))."""

    slope: float
    offset: float

    def probability(self, score: float) -> float:
        """Return the probability, in [0, 1]."""
        return _sigmoid(self.slope * score + self.offset)


def fit_platt(scores: np.ndarray, defective: np.ndarray) -> Platt | None:
    """Fit a logistic curve to scores.

    Targets are those of Platt: (n + 1) / (n + 2) and 1 / (n + 2) in place of 1 and 0, so that scores that separate
    the two without an error do not give probabilities of exactly 0 and 1.

    Paper: Platt, "Probabilistic outputs for support vector machines" (1999); Lin et al. 2007 (Newton's method).

    Args:
        scores: (N,) of images.
        defective: (N,) bool.

    Returns:
        The curve; None without both kinds of images, or where higher scores do not mean more defects.
    """
    scores, defective = np.asarray(scores, np.float64), np.asarray(defective, bool)
    positive, negative = int(defective.sum()), int((~defective).sum())
    if not positive or not negative:
        return None
    targets = np.where(defective, (positive + 1) / (positive + 2), 1 / (negative + 2))
    mean, spread = scores.mean(), scores.std() or 1.0
    inputs = np.stack([(scores - mean) / spread, np.ones_like(scores)], 1)  # (N, 2)
    weights = np.array([0.0, math.log((positive + 1) / (negative + 1))])
    loss = _cross_entropy(inputs @ weights, targets)
    for _ in range(100):
        fitted = 1 / (1 + np.exp(-np.clip(inputs @ weights, -500, 500)))
        gradient = inputs.T @ (fitted - targets)
        hessian = (inputs * (fitted * (1 - fitted))[:, None]).T @ inputs + 1e-9 * np.eye(2)
        step = np.linalg.solve(hessian, gradient)
        size = 1.0
        while size > 1e-10 and _cross_entropy(inputs @ (weights - size * step), targets) > loss:
            size /= 2
        weights = weights - size * step
        new = _cross_entropy(inputs @ weights, targets)
        if loss - new < 1e-12 * max(1.0, loss):
            break
        loss = new
    slope = float(weights[0] / spread)
    return Platt(slope, float(weights[1] - slope * mean)) if slope > 0 else None


def choose_threshold(
    scores: np.ndarray, defective: np.ndarray, criterion: str = 'f1', value: float | None = None
) -> float:
    """Choose the least score of an image that is reported as defective.

    Args:
        scores: (N,) of images whose answer is known.
        defective: (N,) bool.
        criterion: 'f1': the best F1 of images, in the middle between the two scores that it separates. 'recall': the
            highest threshold that finds at least a share `value` of the defective images. 'false-alarm': the lowest one
            that reports at most a share `value` of the images without a defect.
        value: The share, for the last two.

    Raises:
        ValueError: An unknown criterion, a share out of range, or images of the kind that it needs are missing; the
            message says which.
    """
    scores, defective = np.asarray(scores, np.float64), np.asarray(defective, bool)
    if criterion not in CRITERIA:
        raise ValueError(f'criterion is {criterion!r}, expected one of {", ".join(CRITERIA)}')
    if criterion != 'f1' and (value is None or not 0 <= value <= 1):
        raise ValueError(f'{criterion} is {value}, expected a share between 0 and 1')
    if criterion == 'false-alarm' and defective.all():
        raise ValueError(
            f'false-alarm {value}: none of the {len(scores)} validation images is without a defect, so false alarms '
            'cannot be counted. Add images without a defect to the validation data, or choose by --recall'
        )
    if criterion != 'false-alarm' and not defective.any():
        raise ValueError(
            f'{criterion}: none of the {len(scores)} validation images has a defect, so a threshold cannot be chosen. '
            'Add images with defects to the validation data'
        )
    found = np.sort(scores[defective])[::-1]
    if criterion == 'recall':
        assert value is not None, 'checked above'
        needed = max(1, math.ceil(value * len(found) - 1e-9))
        return float(found[needed - 1])
    if criterion == 'false-alarm':
        assert value is not None, 'checked above'
        alarms = np.sort(scores[~defective])[::-1]
        allowed = math.floor(value * len(alarms) + 1e-9)
        return float(np.nextafter(alarms[allowed], np.inf)) if allowed < len(alarms) else float(scores.min())
    order = np.argsort(-scores, kind='stable')
    ordered, hits = scores[order], defective[order].cumsum()
    last = np.append(ordered[1:] != ordered[:-1], True)  # equal scores are reported together
    f1 = np.where(last, 2 * hits / (np.arange(1, len(scores) + 1) + len(found)), 0)
    best = int(f1.argmax())
    below = ordered[best + 1] if best + 1 < len(ordered) else ordered[best]
    return float((ordered[best] + below) / 2)


def rates(scores: np.ndarray, defective: np.ndarray, threshold: float) -> dict[str, float | None]:
    """Return `recall`, `false_alarms` (share of images without a defect that are reported), `precision` and `f1`.

    A value is None where it is undefined.
    """
    reported = np.asarray(scores, np.float64) >= threshold
    defective = np.asarray(defective, bool)
    hits = int((reported & defective).sum())
    return dict(
        recall=hits / int(defective.sum()) if defective.any() else None,
        false_alarms=int((reported & ~defective).sum()) / int((~defective).sum()) if not defective.all() else None,
        precision=hits / int(reported.sum()) if reported.any() else None,
        f1=2 * hits / (int(reported.sum()) + int(defective.sum())) if reported.any() or defective.any() else None,
    )


def _sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def _cross_entropy(logits: np.ndarray, targets: np.ndarray) -> float:
    return float((np.logaddexp(0, logits) - targets * logits).sum())
