"""The E-measure of a map against NumPy: contenders of tools/benchmark.py.

pysodmetrics itself is not run: it downgrades NumPy and OpenCV, so it belongs in no environment of this package. Its
steps are written out below: the map as float64, stretched by its extremes and cut to 256 levels, two calls of
``np.histogram``, sums over thresholds, and a pass over the image for the adaptive threshold. 'thresholds' is the
definition as it stands, an enhanced alignment matrix for each of 256 thresholds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mmsam_ext.evaluation.functional import e_measure, level_histograms

from .interleaved import CONTENDER, Outcome, interleave, serve

CASES = ('histograms', 'thresholds')
EPS = np.finfo(np.float64).eps


def example(size: int) -> tuple[np.ndarray, np.ndarray]:
    """A map (H, W) uint8 that is brighter where the target (H, W) bool is, a disc."""
    random = np.random.RandomState(0)
    y, x = np.mgrid[:size, :size] - size / 2
    target = np.hypot(x, y) < size / 4
    return np.clip(random.normal(60 + 120 * target, 50), 0, 255).astype(np.uint8), target


def stretched(pred: np.ndarray) -> np.ndarray:
    """(H, W) uint8 -> float64 in [0, 1]."""
    pred = pred / 255
    low, high = pred.min(), pred.max()
    return (pred - low) / (high - low) if high > low else pred


def by_thresholds(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(257,): the E-measure at 255/255 to 0 and at the adaptive threshold, each from its alignment matrix."""
    pred = stretched(pred)
    levels = (pred * 255).astype(np.uint8)
    maps = [*(levels >= threshold for threshold in range(255, -1, -1)), pred >= min(2 * pred.mean(), 1)]
    return np.array([_of_matrix(predicted, target) for predicted in maps])


def _of_matrix(predicted: np.ndarray, target: np.ndarray) -> float:
    if not target.any() or target.all():
        return (predicted == target).sum() / (target.size - 1 + EPS)
    a, b = predicted - predicted.mean(), target - target.mean()
    aligned = 2 * a * b / (a**2 + b**2 + EPS)
    return ((aligned + 1) ** 2 / 4).sum() / (target.size - 1 + EPS)


def by_histograms(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The same from numbers of pixels, as pysodmetrics counts them."""
    pred = stretched(pred)
    levels, bins = (pred * 255).astype(np.uint8), np.linspace(0, 256, 257)
    hits, false_alarms = (
        np.cumsum(np.flip(np.histogram(levels[region], bins=bins)[0])) for region in (target, ~target)
    )
    adaptive = pred >= min(2 * pred.mean(), 1)
    hits = np.append(hits, np.count_nonzero(adaptive & target))
    false_alarms = np.append(false_alarms, np.count_nonzero(adaptive & ~target))
    total, size = np.count_nonzero(target), target.size
    predicted = hits + false_alarms
    if total in (0, size):
        return (predicted if total else size - predicted) / (size - 1 + EPS)
    a, b = predicted / size, total / size  # the means; a pixel is one of four kinds
    kinds = (
        (hits, 1 - a, 1 - b),
        (false_alarms, 1 - a, -b),
        (total - hits, -a, 1 - b),
        (size - predicted - (total - hits), -a, -b),
    )
    return sum(n * (2 * p * t / (p**2 + t**2 + EPS) + 1) ** 2 / 4 for n, p, t in kinds) / (size - 1 + EPS)


def prepare(contender: str, case: str, size: int, device: torch.device) -> Callable[[], Tensor]:
    """The work of a contender, 'stock' (NumPy, by the case) or 'ours': (257,) of one map."""
    pred, target = example(size)
    if contender == 'stock':
        measure = dict(histograms=by_histograms, thresholds=by_thresholds)[case]
        return lambda: torch.from_numpy(measure(pred, target))
    inputs = torch.from_numpy(pred).to(device), torch.from_numpy(target).to(device)

    def ours() -> Tensor:
        scores = e_measure(level_histograms(*inputs))
        return torch.cat([scores.curve, scores.adaptive[None]])

    return ours


def measure(repeats: int, size: int, device: torch.device, say: Callable[[str], None]) -> dict[str, dict[str, Outcome]]:
    """Case -> contender -> what it did."""
    outcomes = {}
    for case in CASES:
        say(f'emeasure {case} ...')
        commands = {name: [*CONTENDER, 'emeasure', name, case, str(size), str(device)] for name in ('stock', 'ours')}
        outcomes[f'emeasure_{case}'] = interleave(commands, repeats, say)
    return outcomes


def contend(contender: str, case: str, size: str, place: str, output: str) -> None:
    """Be one contender: the process that :func:`measure` starts."""
    device = torch.device(place)
    serve(prepare(contender, case, int(size), device), device, output)
