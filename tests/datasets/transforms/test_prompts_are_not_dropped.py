"""A pipeline that ends in MMSegmentation's PackSegInputs would lose the prompts; that is an error."""

from __future__ import annotations

import numpy as np
import pytest
from mmengine.dataset import Compose
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from tests.naming import raises_naming


def sample() -> dict:
    mask = np.zeros((20, 30), np.uint8)
    mask[4:9, 5:20] = 1
    return dict(img=np.zeros((20, 30, 3), np.uint8), gt_seg_map=mask, seg_fields=['gt_seg_map'], sample_id='s7')


@pytest.mark.parametrize('seed', [None, 0], ids=['training', 'evaluation'])
def test_pack_seg_inputs_after_generate_prompts(seed: int | None) -> None:
    generate = TRANSFORMS.build(dict(type='GeneratePrompts', modes=dict(box=dict(kind='box')), seed=seed))
    for pack in (TRANSFORMS.build(dict(type='PackSegInputs')), PackSegInputs()):
        with raises_naming(ValueError, 's7', 'PackSegInputs', '`prompts`', 'PackPromptInputs'):
            Compose([generate, pack])(sample())
    packed = Compose([generate, TRANSFORMS.build(dict(type='PackPromptInputs'))])(sample())
    assert packed['data_samples'].prompts.boxes.tolist() == [[5, 4, 19, 8]]


def test_pipelines_without_prompts_and_subclasses() -> None:
    packed = PackSegInputs()(sample())
    assert packed['data_samples'].gt_sem_seg.data.sum() == 75 and 'prompts' not in packed['data_samples']

    class PackMine(PackSegInputs):
        """A packing transform of a user that ignores prompts."""

    with raises_naming(ValueError, 's7', 'PackMine'):
        PackMine()(dict(sample(), prompts=object()))
