"""IoUCalibrationMetric against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mmsam_ext.evaluation import IoUCalibrationMetric
from tests.naming import raises_naming


def rows(*lengths: int) -> Tensor:
    """(P, 1, 10) masks, the first so many pixels of a line of ten."""
    return torch.stack([(torch.arange(10) < length)[None] for length in lengths])


def sample(predicted: list[int], scores: list[float], modes: list[int], targets: list[int], **fields) -> dict:
    """A sample with targets of 10, 5 and no pixels."""
    number = len(predicted)
    return dict(
        sample_id='line',
        prompts=dict(modes=('box', 'point')),
        gt_masks=dict(data=rows(10, 5, 0).to(torch.uint8)),
        pred_instances=dict(
            mask_logits=rows(*predicted).float() - 0.5,
            iou_scores=torch.tensor(scores),
            mode_ids=torch.tensor(modes),
            target_ids=torch.tensor(targets),
            draw_ids=torch.zeros(number, dtype=torch.long),
        ),
        **fields,
    )


def test_by_hand() -> None:
    metric = IoUCalibrationMetric(bins=2)
    # True IoUs: 9/10, 5/10 | 5/5, 2/5. Bins by the estimates: {0.2, 0.4} and {0.6, 0.8}.
    metric.process({}, [sample([9, 5], [0.8, 0.4], [0, 1], [0, 0]), sample([5, 2], [0.6, 0.2], [0, 1], [1, 1])])
    numbers = metric.compute_metrics(metric.results)
    assert numbers['true_iou'] == pytest.approx(70) and numbers['estimated_iou'] == pytest.approx(50)
    assert numbers['true_iou/box'] == pytest.approx(95) and numbers['estimated_iou/point'] == pytest.approx(30)
    assert numbers['correlation'] == pytest.approx(np.corrcoef([0.8, 0.4, 0.6, 0.2], [0.9, 0.5, 1.0, 0.4])[0, 1])
    assert numbers['correlation/box'] == pytest.approx(-1) and numbers['correlation/point'] == pytest.approx(1)
    # Bin 1: mean estimate 0.3, truth 0.45; bin 2: 0.7 and 0.95.
    assert numbers['calibration'] == pytest.approx(100 * (0.5 * 0.15 + 0.5 * 0.25))


def test_estimates_beyond_0_and_1_are_clipped_for_calibration_alone() -> None:
    metric = IoUCalibrationMetric()
    metric.process({}, [sample([10, 0], [1.2, -0.1], [0, 0], [0, 1])])
    numbers = metric.compute_metrics(metric.results)
    assert numbers['calibration'] == pytest.approx(0) and numbers['estimated_iou'] == pytest.approx(55)


def test_united_and_empty_are_left_out() -> None:
    metric = IoUCalibrationMetric()
    metric.process({}, [sample([5, 5, 3, 5], [0.1, 0.2, 0.3, 0.5], [0, 0, 1, 1], [0, 0, 2, 1])])
    assert metric.results[0]['left_out'] == 3
    numbers = metric.compute_metrics(metric.results)
    assert numbers['true_iou'] == pytest.approx(100) and 'correlation' not in numbers
    metric.results.clear()
    assert metric.compute_metrics([dict(prompts=[], left_out=0)]) == {}


def test_ignored_pixels_do_not_count() -> None:
    metric = IoUCalibrationMetric()
    labels = torch.zeros(1, 1, 10, dtype=torch.long)
    labels[..., 8:] = 255
    metric.process({}, [sample([4], [0.5], [0], [0], gt_sem_seg=dict(data=labels))])
    assert metric.results[0]['prompts'] == [('box', 0.5, 0.5)]  # 4 of 8


def test_bad_input() -> None:
    with raises_naming(ValueError, 'bins=0'):
        IoUCalibrationMetric(bins=0)
    with raises_naming(ValueError, 'line'):
        IoUCalibrationMetric().process({}, [dict(sample_id='line')])
