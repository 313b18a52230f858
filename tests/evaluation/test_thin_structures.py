"""Centerline Dice and boundary F1, on hand-worked cases and against a literal version."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmsam_ext.evaluation.functional import boundary_f1, cl_dice, mask_iou
from tests.naming import raises_naming


def line(row: int, start: int, stop: int, thickness: int = 1, size: int = 24) -> torch.Tensor:
    """(H, W) bool, a horizontal bar."""
    mask = torch.zeros(size, size, dtype=torch.bool)
    mask[row : row + thickness, start:stop] = True
    return mask


def test_cl_dice_of_half_a_crack() -> None:
    crack, half = line(10, 2, 22), line(10, 2, 12)
    # precision 1, sensitivity 10 of 20 pixels: 2 * 1 * 0.5 / 1.5
    assert float(cl_dice(half, crack)) == pytest.approx(2 / 3)


def test_cl_dice_forgives_thickness_and_iou_does_not() -> None:
    thin, thick = line(10, 2, 22), line(9, 2, 22, thickness=3)
    assert float(mask_iou(thick, thin)) == pytest.approx(1 / 3)
    assert float(cl_dice(thick, thin)) > 0.95  # thinning leaves the middle row, but may turn at its ends


def test_boundary_f1_by_tolerance() -> None:
    target, shifted = line(10, 2, 22), line(12, 2, 22)
    assert float(boundary_f1(shifted, target, tolerance=2)) == 1
    assert float(boundary_f1(shifted, target, tolerance=1)) == 0
    assert float(boundary_f1(line(10, 2, 12), target, tolerance=0)) == pytest.approx(2 / 3)
    # 2 pixels beyond the last predicted one still match: recall 12 of 20, precision 1
    assert float(boundary_f1(line(10, 2, 12), target, tolerance=2)) == pytest.approx(2 * 0.6 / 1.6)


def test_boundary_f1_equals_a_literal_version() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        pred, target = (torch.from_numpy(rng.random((17, 23)) < 0.4) for _ in range(2))
        tolerance = float(rng.choice([0, 1, 1.5, 2, 3]))
        assert float(boundary_f1(pred, target, tolerance)) == pytest.approx(literal_f1(pred, target, tolerance))


def literal_f1(pred: torch.Tensor, target: torch.Tensor, tolerance: float) -> float:
    """All pairs of contour pixels."""

    def contour(mask: torch.Tensor) -> np.ndarray:
        padded = np.pad(mask.numpy(), 1)
        inner = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
        return np.argwhere(mask.numpy() & ~inner)

    a, b = contour(pred), contour(target)
    close = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1)) <= tolerance
    precision, recall = close.any(1).mean(), close.any(0).mean()
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


@pytest.mark.parametrize('score', [cl_dice, boundary_f1])
def test_empty_masks_and_broadcasting(score) -> None:
    empty, crack = torch.zeros(24, 24, dtype=torch.bool), line(10, 2, 22)
    assert float(score(empty, empty)) == 1
    assert float(score(empty, crack)) == float(score(crack, empty)) == 0
    assert score(torch.stack([crack, empty, crack]), crack).tolist() == [1, 0, 1]
    assert score(torch.stack([crack, empty, crack]), crack).dtype == torch.float64


def test_bad_input_is_named() -> None:
    crack = line(10, 2, 22)
    with raises_naming(ValueError, '-1'):
        boundary_f1(crack, crack, tolerance=-1)
    with raises_naming(ValueError, 'bool'):
        cl_dice(crack.float(), crack)
