"""The E-measure of a map against its definition: what ``tools/benchmark.py emeasure`` runs.

'stock' is the definition (Fan et al., IJCAI 2018) in NumPy: an enhanced alignment matrix for each of the 256 thresholds
and one for the adaptive threshold. 'ours' counts pixels by level first, so that a threshold costs a few operations.
pysodmetrics, which counts pixels, too, cannot be timed here: it downgrades NumPy and OpenCV. Its published values are
what the tests compare with.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from mmsam_ext.evaluation.functional import e_measure, level_histograms

from .comparison import compare_all, table
from .interleaved import CONTENDER, interleave, serve

EPS = np.finfo(np.float64).eps


def example(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a map (H, W) uint8 and a target (H, W) bool, a disc in which the map is brighter."""
    random = np.random.RandomState(0)
    y, x = np.mgrid[:size, :size] - size / 2
    target = np.hypot(x, y) < size / 4
    return np.clip(random.normal(60 + 120 * target, 50), 0, 255).astype(np.uint8), target


def by_definition(pred: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the E-measure (257,) at the thresholds 255/255 to 0 and at the adaptive threshold.

    Args:
        pred: Map (H, W) uint8; it is stretched to [0, 1] by its extremes first.
        target: Target (H, W) bool.
    """
    pred = pred / 255
    low, high = pred.min(), pred.max()
    pred = (pred - low) / (high - low) if high > low else pred
    levels = (pred * 255).astype(np.uint8)
    maps = [*(levels >= threshold for threshold in range(255, -1, -1)), pred >= min(2 * pred.mean(), 1)]
    return np.array([_of_matrix(predicted, target) for predicted in maps])


def _of_matrix(predicted: np.ndarray, target: np.ndarray) -> float:
    """Average the enhanced alignment matrix of two masks (H, W) bool."""
    if not target.any() or target.all():
        return (predicted == target).sum() / (target.size - 1 + EPS)
    a, b = predicted - predicted.mean(), target - target.mean()
    aligned = 2 * a * b / (a**2 + b**2 + EPS)
    return ((aligned + 1) ** 2 / 4).sum() / (target.size - 1 + EPS)


def prepare(contender: str, size: int, device: torch.device) -> Callable[[], Tensor]:
    """Return the work of a contender, 'stock' or 'ours': the E-measure (257,) of one map of `size` x `size` pixels."""
    pred, target = example(size)
    if contender == 'stock':
        return lambda: torch.from_numpy(by_definition(pred, target))
    inputs = torch.from_numpy(pred).to(device), torch.from_numpy(target).to(device)

    def ours() -> Tensor:
        scores = e_measure(level_histograms(*inputs))
        return torch.cat([scores.curve, scores.adaptive[None]])

    return ours


def run(args: argparse.Namespace, device: torch.device, say: Callable[[str], None]) -> dict[str, dict]:
    """Time both contenders in turn; returns the comparison under 'emeasure'."""
    say('emeasure ...')
    commands = {name: [*CONTENDER, 'emeasure', name, str(args.size), str(device)] for name in ('stock', 'ours')}
    return compare_all({'emeasure': interleave(commands, args.repeats, say)})


def contend(contender: str, size: str, place: str, output: str) -> None:
    """Be one contender: the process that :func:`run` starts."""
    device = torch.device(place)
    serve(prepare(contender, int(size), device), device, output)


__all__ = ['by_definition', 'contend', 'example', 'prepare', 'run', 'table']
