"""GeneratePrompts with several classes: targets and prompts of each, none of a class that is not there."""

from __future__ import annotations

import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from tests.naming import raises_naming

#: Class 1 in two regions, class 3 in one, class 2 is missing; a column is ignored.
LABELS = np.zeros((12, 20), np.uint8)
LABELS[1:4, 1:4] = LABELS[6:8, 2:6] = 1
LABELS[5:10, 12:16] = 3
LABELS[:, 19] = 255


def generate(modes: dict, **options) -> dict:
    transform = TRANSFORMS.build(dict(type='GeneratePrompts', modes=modes, num_classes=3, **options))
    return transform(dict(img=np.zeros((12, 20, 3), np.uint8), sample_id='s7', gt_seg_map=LABELS.copy()))


def test_targets_and_prompts_of_each_class() -> None:
    modes = dict(
        box=dict(kind='box'),
        parts=dict(kind='box', targets='parts'),
        boxes=dict(kind='box', targets='parts', united=True),
        free=dict(kind='none'),
    )
    results = generate(modes, seed=0)
    prompts, masks = results['prompts'], results['gt_masks']
    assert prompts.class_ids.tolist() == [1, 3, 1, 1, 3, 1, 1, 3, 1, 2, 3]
    assert prompts.target_ids.tolist() == [0, 2, 3, 4, 5, 0, 0, 2, 0, 1, 2]
    for row in range(3):
        np.testing.assert_array_equal(masks[row], LABELS == row + 1)
    assert masks[3].sum() == 9 and masks[4].sum() == 8 and masks[5].sum() == 20 and len(masks) == 6
    assert prompts.boxes[1].tolist() == prompts.boxes[4].tolist() == prompts.boxes[7].tolist() == [12, 5, 15, 9]
    assert prompts.boxes[0].tolist() == [1, 1, 5, 7] and prompts.boxes[5].tolist() == [1, 1, 3, 3]


def test_training_draws_classes_that_are_there() -> None:
    np.random.seed(0)
    results = generate(dict(point=dict(kind='points')), num_prompts=40)
    prompts = results['prompts']
    assert set(prompts.class_ids.tolist()) == {1, 3}
    for (x, y), label in zip(prompts.points[:, 0].long().tolist(), prompts.class_ids.tolist(), strict=True):
        assert LABELS[y, x] == label
    for target, label in zip(prompts.target_ids.tolist(), prompts.class_ids.tolist(), strict=True):
        assert (LABELS[results['gt_masks'][target] > 0] == label).all()


@pytest.mark.parametrize('seed', [None, 0], ids=['training', 'evaluation'])
def test_label_beyond_the_classes(seed: int | None) -> None:
    transform = TRANSFORMS.build(
        dict(type='GeneratePrompts', modes=dict(box=dict(kind='box')), seed=seed, num_classes=2)
    )
    with raises_naming(ValueError, 's7', 'gt_seg_map', '[0, 1, 3, 255]', 'num_classes=2'):
        transform(dict(img=np.zeros((12, 20, 3), np.uint8), sample_id='s7', gt_seg_map=LABELS.copy()))
    with raises_naming(ValueError, 'GeneratePrompts', '0'):
        TRANSFORMS.build(dict(type='GeneratePrompts', modes=dict(box=dict(kind='box')), num_classes=0))


def test_instances_belong_to_the_class_of_their_pixels() -> None:
    transform = TRANSFORMS.build(
        dict(type='GeneratePrompts', modes=dict(parts=dict(kind='box', targets='parts')), seed=0, num_classes=3)
    )
    instances = np.stack([LABELS == 3, LABELS == 1]).astype(np.uint8)
    sample = dict(img=np.zeros((12, 20, 3), np.uint8), sample_id='s7', gt_seg_map=LABELS, gt_masks=instances)
    results = transform(sample)
    assert results['prompts'].class_ids.tolist() == [1, 3] and results['prompts'].target_ids.tolist() == [3, 4]
    np.testing.assert_array_equal(results['gt_masks'][3:], instances[::-1])
