"""Prompts with classes: repeated for each class, checked, and united to one label map."""

from __future__ import annotations

import pytest
import torch
from mmseg.structures import SegDataSample

from mmsam_ext.models.segmentors.prompt_targets import prompt_targets
from mmsam_ext.structures import PromptBatch, Prompts
from mmsam_ext.structures.samples import OUTSIDE, write_prediction
from tests.models.small import sample
from tests.naming import raises_naming

SIZE = (16, 16)


def test_empty_prompts_are_repeated_for_each_class() -> None:
    box = Prompts.create(boxes=[[1, 2, 3, 4]], class_ids=[2])
    batch = PromptBatch.from_prompts([Prompts.empty(), box, Prompts.empty()], SIZE).by_class(3)
    assert batch.numbers == (3, 1, 3) and batch.image_index.tolist() == [0, 0, 0, 1, 2, 2, 2]
    assert batch.class_ids.tolist() == [1, 2, 3, 2, 1, 2, 3]
    assert batch.target_ids.tolist() == [0, 1, 2, 0, 0, 1, 2]
    assert batch.boxes[3].tolist() == [1, 2, 3, 4]


def test_class_beyond_the_model() -> None:
    box = Prompts.create(boxes=[[1, 2, 3, 4]], class_ids=[4])
    with raises_naming(ValueError, 'b.png', 'class_ids', '4', '3'):
        PromptBatch.from_prompts([Prompts.empty(), box], SIZE, ['a.png', 'b.png']).by_class(3)
    with raises_naming(ValueError, 'class_ids', '-1'):
        Prompts.create(boxes=[[1, 2, 3, 4]], class_ids=[-1])


def test_label_map_by_the_highest_logit() -> None:
    """Two prompts of class 2, one of class 1, none of class 3; worked by hand."""
    logits = torch.tensor([[[1.0, -1.0, 3.0, 0.0]], [[2.0, -2.0, 1.0, -1.0]], [[-5.0, -0.5, 5.0, -1.0]]])  # (3, 1, 4)
    result = SegDataSample(metainfo=dict(sample_id='s7'))
    write_prediction(result, logits, torch.zeros(3), 3, class_ids=torch.tensor([1, 2, 2]))
    assert result.pred_sem_seg.data.tolist() == [[[2, 0, 2, 0]]]
    assert result.seg_logits.data[:, 0].tolist() == [
        [0, 0, 0, 0], [1, -1, 3, 0], [2, -0.5, 5, -1], [OUTSIDE] * 4,
    ]  # fmt: skip
    with raises_naming(ValueError, 's7', 'class_ids', '3'):
        write_prediction(result, logits, torch.zeros(3), 3, class_ids=torch.tensor([1, 0, 2]))


@pytest.mark.parametrize('num_classes', [None, 1])
def test_one_class_is_as_before(num_classes: int | None) -> None:
    logits = torch.randn(3, 5, 6)
    before, after = SegDataSample(), SegDataSample()
    write_prediction(before, logits, torch.zeros(3), class_ids=torch.zeros(3, dtype=torch.int64))
    write_prediction(after, logits, torch.zeros(3), num_classes, class_ids=torch.zeros(3, dtype=torch.int64))
    assert torch.equal(before.pred_sem_seg.data, after.pred_sem_seg.data)
    assert torch.equal(before.seg_logits.data[0], after.seg_logits.data[-1])


def test_targets_by_class() -> None:
    labels = torch.tensor([[0, 1, 2, 3], [3, 3, 255, 0]]).repeat_interleave(2, 0).repeat_interleave(2, 1)
    item = sample(labels=labels)
    batch = PromptBatch.from_prompts([Prompts.empty()], (4, 8)).by_class(3)
    targets, ignored = prompt_targets([item], batch, (2, 4), 3)
    assert targets.tolist() == [
        [[0, 1, 0, 0], [0, 0, 0, 0]], [[0, 0, 1, 0], [0, 0, 0, 0]], [[0, 0, 0, 1], [1, 1, 0, 0]],
    ]  # fmt: skip
    assert ignored.sum((1, 2)).tolist() == [1, 1, 1]
    with raises_naming(ValueError, 'one.png', 'gt_sem_seg', '3', '2'):
        prompt_targets([item], PromptBatch.from_prompts([Prompts.empty()], (4, 8)).by_class(2), (2, 4), 2)
