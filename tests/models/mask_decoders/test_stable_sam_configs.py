"""What Stable-SAM's configs train: the paper's counts, of models built without memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS

CONFIGS = Path(__file__).resolve().parents[3] / 'configs'


@pytest.mark.parametrize(
    ('name', 'trainable'),
    [
        ('stable_sam_vitb_hqseg44k', 82_085),  # "0.08 M"
        ('stable_sam_vitl_hqseg44k', 82_085),
        ('stable_sam_vith_hqseg44k', 82_085),
        ('dsp_vitl_hqseg44k', 73_730),
        ('dt_sam_vitl_hqseg44k', 4_058_340 - 132_612),  # "3.9 M": the decoder but its IoU head
        ('dt-iou_sam_vitl_hqseg44k', 4_058_340),
        ('pt_sam_vitl_hqseg44k', 4 * 256),
        ('pt-mlp_sam_vitl_hqseg44k', 256 + 139_808),  # "0.13 M": a token and its MLP
        ('lora_sam_vitl_hqseg44k', 24 * (16 * 1024 + 2048 * 8) + 47_104),
        ('stable_spt_vitb_industrial', 390_144 + 2 * 82_085),  # SPT's, and a plugin in each of two decoders
    ],
)
def test_trained_parameters(name: str, trainable: int) -> None:
    config = Config.fromfile(CONFIGS / f'{name}.py').model
    config['init_cfg'] = None
    with torch.device('meta'):
        model = MODELS.build(config)
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == trainable


@pytest.mark.parametrize(
    'baseline', ['dsp', 'dt_sam', 'dt-iou_sam', 'pt_sam', 'pt-mlp_sam', 'ft_sam', 'lora_sam', 'adapter_sam']
)
def test_with_and_without_robust_training(baseline: str) -> None:
    """The same model and schedule; prompts of all qualities and occlusion, or good prompts alone."""
    robust = Config.fromfile(CONFIGS / f'{baseline}_rts_vitl_hqseg44k.py')
    clean = Config.fromfile(CONFIGS / f'{baseline}_vitl_hqseg44k.py')
    assert robust.model == clean.model and robust.train_cfg == clean.train_cfg
    assert robust.optim_wrapper == clean.optim_wrapper and robust.test_dataloader == clean.test_dataloader
    steps = {step['type']: step for step in robust.train_dataloader.dataset.pipeline}
    assert list(steps['GeneratePrompts']['modes']) == ['box', 'noisy box', '1 point', '3 points', '10 points']
    assert steps['PerturbPrompts'] == dict(type='PerturbPrompts', box_noise=0.4, modes=['noisy box'])
    assert 'SynthesizeOcclusion' in steps
    steps = {step['type']: step for step in clean.train_dataloader.dataset.pipeline}
    assert list(steps['GeneratePrompts']['modes']) == ['box', '10 points']
    assert not {'SynthesizeOcclusion', 'PerturbPrompts'} & set(steps)


def test_the_protocol() -> None:
    """Every imprecise prompt has 20 draws, whose noise depends on the seed of the pipeline alone."""
    config = Config.fromfile(CONFIGS / 'stable_sam_vitl_hqseg44k.py')
    pipeline = config.test_dataloader.dataset.pipeline
    modes = next(step['modes'] for step in pipeline if step['type'] == 'GeneratePrompts')
    assert {name: mode.get('draws', 1) for name, mode in modes.items()} == {
        'box': 1, 'box noise 0.4': 20, 'box IoU 0.5-0.6': 20, 'box IoU 0.6-0.7': 20,
        '1 point': 20, '3 points': 20, '5 points': 20, '10 points': 20,
    }  # fmt: skip
    noise = {step['modes'][0]: step for step in pipeline if step['type'] == 'PerturbPrompts'}
    assert noise['box noise 0.4']['box_noise'] == 0.4
    assert noise['box IoU 0.5-0.6']['box_iou'] == (0.5, 0.6) and noise['box IoU 0.6-0.7']['box_iou'] == (0.6, 0.7)
    assert all(step['seed'] == 0 for step in noise.values()) and len(noise) == 3
    assert config.test_evaluator == dict(type='PromptIoUMetric', stability=True)
