"""Masks with more classes than one foreground class are an error; no class is dropped silently."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import TRANSFORMS
from mmseg.structures import SegDataSample

from mmsam_ext.evaluation.metrics import PromptIoUMetric
from mmsam_ext.models.segmentors.prompt_targets import prompt_targets
from mmsam_ext.structures import PromptBatch, Prompts
from tests.naming import raises_naming

LABELS = np.arange(5, dtype=np.uint8).repeat(10)[None] * np.ones((20, 1), np.uint8)  # four classes


@pytest.mark.parametrize('seed', [None, 0], ids=['training', 'evaluation'])
def test_prompts_of_several_classes(seed: int | None) -> None:
    generate = TRANSFORMS.build(dict(type='GeneratePrompts', modes=dict(box=dict(kind='box')), seed=seed))
    sample = dict(img=np.zeros((20, 50, 3), np.uint8), sample_id='s7', gt_seg_map=LABELS)
    with raises_naming(ValueError, 's7', '`gt_seg_map`', '[0, 1, 2, 3, 4]', 'foreground='):
        generate(sample)
    one = np.where(LABELS == 1, 1, np.where(LABELS == 4, 255, 0)).astype(np.uint8)
    assert generate(dict(sample, gt_seg_map=one))['gt_masks'].sum() == 200


def test_targets_and_metric() -> None:
    """The error also comes from losses and metrics, for pipelines without our transforms."""
    sample = SegDataSample(metainfo=dict(sample_id='s7', img_shape=(20, 50), ori_shape=(20, 50)))
    sample.gt_sem_seg = PixelData(data=torch.from_numpy(LABELS)[None].long())
    batch = PromptBatch.from_prompts([Prompts.empty()], (20, 50))
    with raises_naming(ValueError, 's7', '`gt_sem_seg`', '[0, 1, 2, 3, 4]'):
        prompt_targets([sample], batch, (5, 5))
    with raises_naming(ValueError, 's7', '`gt_sem_seg`', '[0, 1, 2, 3, 4]'):
        PromptIoUMetric().process(None, [sample.to_dict()])
    sample.gt_sem_seg.data[sample.gt_sem_seg.data > 1] = 255
    targets, ignored = prompt_targets([sample], batch, (20, 50))
    assert targets.sum() == 200 and ignored.sum() == 600
