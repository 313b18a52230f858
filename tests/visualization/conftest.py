"""A hand-made prediction to draw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample

from mmsam_ext.structures import Prompts


def _predicted(
    masks: np.ndarray, truth: np.ndarray, prompts: Prompts, input_size: tuple[int, int], **meta: Any
) -> SegDataSample:
    """A predicted sample.

    Args:
        masks: (P, H, W) bool.
        truth: (T, H, W) bool.
        input_size: (height, width) of the network input.
    """
    height, width = truth.shape[1:]
    sample = SegDataSample(
        metainfo={
            'sample_id': 'one',
            'dataset_name': 'MTD',
            'defect_class': 'crack',
            'ori_shape': (height, width),
            'img_shape': input_size,
            'scale_factor': (input_size[1] / width, input_size[0] / height),
            'img_path': '',
            **meta,
        }
    )
    logits = torch.from_numpy(masks).float() * 6 - 3
    sample.prompts = prompts
    sample.pred_instances = InstanceData(
        mask_logits=logits,
        iou_scores=torch.zeros(len(masks)),
        target_ids=prompts.target_ids,
        draw_ids=prompts.draw_ids,
        mode_ids=prompts.mode_ids,
    )
    sample.pred_sem_seg = PixelData(data=(logits.amax(0, keepdim=True) > 0).long())
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(truth[:1]).long())
    sample.gt_masks = PixelData(data=torch.from_numpy(truth).to(torch.uint8))
    return sample


@pytest.fixture
def predicted() -> Callable[..., SegDataSample]:
    return _predicted


@pytest.fixture
def boxed(predicted: Callable[..., SegDataSample]) -> Callable[..., SegDataSample]:
    """Samples of 60 x 100 pixels, a box from the truth's first to its last pixel, its left half for a prediction."""

    def make(**meta: Any) -> SegDataSample:
        truth = np.zeros((1, 60, 100), bool)
        truth[:, 20:40, 30:70] = True
        pred = truth.copy()
        pred[:, :, 50:] = False
        prompts = Prompts.create(boxes=[[30 * 2.56, 20 * 2, 69 * 2.56, 39 * 2]], modes=('box',))
        return predicted(pred, truth, prompts, (120, 256), **meta)

    return make
