from __future__ import annotations

import numpy as np
import pytest

from mmsam_ext.datasets.transforms import GeneratePrompts, PackPromptInputs, WholeImagePrompt
from tests.naming import raises_naming


def sample(foreground: bool) -> dict:
    mask = np.zeros((40, 60), np.uint8)
    mask[5:9, 7:30] = int(foreground)
    image = np.zeros((40, 60, 3), np.uint8)
    return dict(
        img=image, gt_seg_map=mask, img_shape=(40, 60), ori_shape=(40, 60), seg_fields=['gt_seg_map'], sample_id='a'
    )


@pytest.mark.parametrize('foreground', [True, False])
def test_the_box_is_the_image_and_an_empty_mask_is_a_target(foreground: bool) -> None:
    results = WholeImagePrompt()(sample(foreground))
    assert results['prompts'].boxes.tolist() == [[0, 0, 59, 39]] and results['prompts'].modes == ('whole image',)
    assert results['gt_masks'].shape == (1, 40, 60) and bool(results['gt_masks'].any()) == foreground
    packed = PackPromptInputs()(GeneratePrompts(dict(box=dict(kind='box')), num_prompts=2)(results))['data_samples']
    assert len(packed.prompts) == 1 and packed.gt_masks.data.shape == (1, 40, 60)


def test_only_samples_with_a_defect_may_go_without_it() -> None:
    never = WholeImagePrompt(prob=0.0)
    assert 'prompts' not in never(sample(True)) and 'prompts' in never(sample(False))
    np.random.seed(0)
    drawn = ['prompts' in WholeImagePrompt(prob=0.3)(sample(True)) for _ in range(400)]
    assert np.mean(drawn) == pytest.approx(0.3, abs=0.08)


def test_the_empty_prompt() -> None:
    assert WholeImagePrompt(kind='none')(sample(True))['prompts'].kinds.tolist() == [0]


def test_a_prompt_for_each_class() -> None:
    """By hand: classes 1 and 3 of three are in the image; without the prompts they are one foreground."""
    results = sample(True)
    results['gt_seg_map'][20:22] = 3
    results['gt_seg_map'][30] = 255
    united = WholeImagePrompt(prob=0.0, num_classes=3)({**results, 'gt_seg_map': results['gt_seg_map'].copy()})
    assert 'prompts' not in united and np.unique(united['gt_seg_map']).tolist() == [0, 1, 255]
    assert (united['gt_seg_map'] == 1).sum() == 4 * 23 + 2 * 60
    results = WholeImagePrompt(num_classes=3)(results)
    prompts = results['prompts']
    assert prompts.class_ids.tolist() == [1, 2, 3] and prompts.target_ids.tolist() == [0, 1, 2]
    assert prompts.boxes.tolist() == 3 * [[0, 0, 59, 39]]
    assert results['gt_masks'].sum((1, 2)).tolist() == [4 * 23, 0, 2 * 60]
    assert WholeImagePrompt(kind='none', num_classes=3)(sample(True))['gt_masks'].shape == (3, 40, 60)


@pytest.mark.parametrize('arguments', [dict(num_classes=0), dict(prob=1.5), dict(prob=-0.1), dict(kind='circle')])
def test_bad_input(arguments: dict) -> None:
    with raises_naming(ValueError, next(iter(arguments.values()))):
        WholeImagePrompt(**arguments)
