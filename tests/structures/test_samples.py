"""What data samples say, in each of the forms that they have."""

from __future__ import annotations

import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmsam_ext.structures.samples import (
    ignored_pixels,
    sample_key,
    sample_labels,
    sample_name,
    target_field,
    target_masks,
    write_prediction,
)
from tests.naming import raises_naming

LABELS = torch.tensor([[[0, 1, 255], [1, 0, 255]]])


def forms(**fields) -> list:
    """A sample as models see it and as metrics see it."""
    meta = {key: value for key, value in fields.items() if isinstance(value, str)}
    result = SegDataSample(metainfo=meta)
    for key in fields.keys() - meta.keys():
        result.set_data({key: PixelData(data=fields[key])})
    return [result, result.to_dict()]


def test_names() -> None:
    for one in forms(sample_id='tile/7', img_path='D:\\data\\tile\\007.png', dataset_name='MTD'):
        assert sample_name(one) == 'D:\\data\\tile\\007.png' and sample_key(one) == 'tile/7'
        assert sample_labels(one) == ('MTD', 'defect')
    for one in forms(img_path='D:\\data\\tile\\007.png'):
        assert sample_key(one) == 'tile/007.png'  # the same on every machine: it seeds the prompts of evaluation
    for one in (*forms(), {}):
        assert sample_key(one) == '' and sample_name(one) == 'sample without a name'


def test_truth_is_the_masks_or_else_the_foreground() -> None:
    for one in forms(gt_sem_seg=LABELS):
        assert target_field(one) == 'gt_sem_seg'
        assert target_masks(one, check_values=True).int().tolist() == [[[0, 1, 0], [1, 0, 0]]]
        assert ignored_pixels(one, torch.zeros(2, 3)).tolist() == [[False, False, True]] * 2
        enlarged = ignored_pixels(one, torch.zeros(4, 6))
        assert enlarged.tolist() == [[False] * 4 + [True] * 2] * 4
    masks = torch.tensor([[[1, 1, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 1]]], dtype=torch.uint8)
    for one in forms(gt_sem_seg=LABELS, gt_masks=masks):
        assert target_field(one) == 'gt_masks' and torch.equal(target_masks(one), masks == 1)
    for one in forms(gt_sem_seg=LABELS.clamp(max=1)):
        assert ignored_pixels(one, torch.zeros(2, 3)) is None


def test_bad_truth() -> None:
    for one in forms(img_path='tile/7'):
        with raises_naming(ValueError, 'tile/7', 'gt_masks', 'gt_sem_seg'):
            target_masks(one)
    for one in forms(img_path='tile/7', gt_masks=LABELS):
        with raises_naming(ValueError, 'tile/7', 'gt_masks', '255'):
            target_masks(one, check_values=True)


def test_prediction_and_its_union() -> None:
    result = SegDataSample()
    logits = torch.tensor([[[1.0, -2.0]], [[-3.0, -0.5]]])
    write_prediction(result, logits, torch.tensor([0.5, 0.25]), target_ids=torch.tensor([0, 1]))
    assert torch.equal(result.pred_instances.mask_logits, logits)
    assert result.pred_instances.target_ids.tolist() == [0, 1]
    assert result.seg_logits.data.tolist() == [[[1.0, -0.5]]]
    assert result.pred_sem_seg.data.tolist() == [[[1, 0]]]
