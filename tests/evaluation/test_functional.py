"""The pure functions against independent implementations and cases worked by hand."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from mmsam_ext.evaluation.functional import boundary, boundary_iou, mask_boundary, mask_iou, stability
from tests.naming import raises_naming
from tests.numeric import OPERATION, assert_close


def blobs(number: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """(N, H, W) bool: smooth random shapes, many of which run off the image."""
    generator = np.random.default_rng(seed)
    noise = [cv2.GaussianBlur(generator.random((height, width)), (0, 0), 4) for _ in range(number)]
    return torch.from_numpy(np.stack([one > np.quantile(one, generator.uniform(0.2, 0.9)) for one in noise]))


def official_boundary(mask: np.ndarray, dilation_ratio: float) -> np.ndarray:
    """Boundary of Cheng et al.: pad by one pixel of background, erode d times by 3x3, subtract."""
    height, width = mask.shape
    times = max(1, int(round(dilation_ratio * np.sqrt(height**2 + width**2))))
    padded = cv2.copyMakeBorder(mask.astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    for _ in range(times):
        padded = cv2.erode(padded, np.ones((3, 3), np.uint8))
    return mask.astype(bool) & (padded[1 : height + 1, 1 : width + 1] == 0)


def test_mask_iou_by_hand(masks: Callable[..., torch.Tensor]) -> None:
    pred = masks('##./...', '###/###', '.../...', '.../...', '..#/...')
    target = masks('.##/...', '###/###', '.../...', '#../...', '##./...')
    assert mask_iou(pred, target).tolist() == [1 / 3, 1.0, 1.0, 0.0, 0.0]


def test_mask_iou_is_numpys_and_broadcasts() -> None:
    pred, target = blobs(6, 40, 50).view(2, 3, 40, 50), blobs(1, 40, 50, seed=9)[0]
    expected = [
        [(one & target.numpy()).sum() / (one | target.numpy()).sum() for one in row] for row in pred.numpy()
    ]  # fmt: skip
    got = mask_iou(pred, target)
    assert got.shape == (2, 3)
    assert_close(got.numpy(), expected, OPERATION)


@pytest.mark.parametrize('size', [(64, 64), (33, 120), (200, 150), (8, 400), (5, 7)])
@pytest.mark.parametrize('ratio', [0.02, 0.1])
def test_boundary_is_the_official_one(size: tuple[int, int], ratio: float) -> None:
    shapes = torch.cat([blobs(4, *size), torch.ones(1, *size, dtype=bool), torch.zeros(1, *size, dtype=bool)])
    expected = np.stack([official_boundary(mask, ratio) for mask in shapes.numpy()])
    np.testing.assert_array_equal(mask_boundary(shapes, ratio).numpy(), expected)
    assert expected.any() and not expected[-1].any()


@pytest.mark.parametrize('radius', [1, 3, 30])
def test_both_formulations_erode_alike(radius: int) -> None:
    """The formulation for accelerators, run on the CPU, gives the same as the other one."""
    shapes = torch.cat([blobs(3, 48, 70), torch.ones(1, 48, 70, dtype=bool)])
    assert torch.equal(boundary._erode(shapes, radius), boundary._erode_cpu(shapes, radius))


def test_boundary_by_hand(masks: Callable[..., torch.Tensor]) -> None:
    """5x5, d = 1: the image's border counts as background, so a full mask has a ring for a boundary."""
    full = masks('#####/#####/#####/#####/#####')
    assert torch.equal(mask_boundary(full), masks('#####/#...#/#...#/#...#/#####'))
    # the ring of 16 against the same ring of a mask that lacks the rightmost column (14): 11 shared, union 19
    assert boundary_iou(full, masks('####./####./####./####./####.')).tolist() == [11 / 19]


def test_boundary_iou_is_iou_of_the_official_boundaries() -> None:
    pred, target = blobs(5, 90, 70), blobs(1, 90, 70, seed=3)[0]
    edge = official_boundary(target.numpy(), 0.02)
    edges = [official_boundary(mask, 0.02) for mask in pred.numpy()]
    expected = [(one & edge).sum() / (one | edge).sum() for one in edges]
    assert_close(boundary_iou(pred, target).numpy(), expected, OPERATION)
    assert boundary_iou(pred, target).max() < 1


def test_empty_against_empty_is_one() -> None:
    empty = torch.zeros(2, 6, 6, dtype=bool)
    assert mask_iou(empty, empty).tolist() == boundary_iou(empty, empty).tolist() == [1.0, 1.0]
    assert mask_iou(torch.zeros(0, 6, 6, dtype=bool), empty[0]).shape == (0,)


def test_stability_by_hand(masks: Callable[..., torch.Tensor]) -> None:
    # areas 2, 3, 1, union 4
    draws = masks('##../....', '###./....', '...#/....')
    assert_close(stability(draws), torch.tensor((2 / 4 + 3 / 4 + 1 / 4) / 3, dtype=torch.float64), OPERATION)
    # one of two is empty: IoU 0 and 1
    assert stability(masks('##', '..')).item() == 0.5
    assert stability(masks('..', '..')).item() == 1.0
    assert stability(masks('#.')).item() == 1.0


def test_stability_is_its_definition_in_any_order() -> None:
    draws = blobs(20, 40, 40)
    union = draws.numpy().any(0)
    expected = np.mean([(mask & union).sum() / (mask | union).sum() for mask in draws.numpy()])
    assert_close(stability(draws).item(), expected, OPERATION)
    assert_close(stability(draws[torch.randperm(20)]).item(), expected, OPERATION)
    assert_close(stability(torch.stack([draws, draws.flip(0)])).tolist(), [expected] * 2, OPERATION)


def test_errors_name_what_came_and_what_was_expected() -> None:
    mask = torch.zeros(4, 4, dtype=bool)
    with raises_naming(ValueError, 'pred', '(4, 4)', 'target', '(4, 5)'):
        boundary_iou(mask, torch.zeros(4, 5, dtype=bool))
    with raises_naming(ValueError, 'target', 'torch.float32', '(4, 4)', 'bool'):
        mask_iou(mask, mask.float())
    with raises_naming(ValueError, '(0, 4, 4)', 'B >= 1'):
        stability(mask[None][:0])
