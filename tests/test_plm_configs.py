"""The PLM configs: the paper's figures, SAM frozen, and SAM itself as soon as PLM is switched off."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn

from mmsam_ext.structures import PromptBatch, Prompts
from tests.numeric import assert_differs
from tests.shrink import CONFIGS, SIZE, shrink

PLM_SIZE, PMM_SIZE = 1_644_544, 1_188_418


def size(module: nn.Module, trained: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trained)


@pytest.mark.parametrize(
    ('name', 'sam'),
    [('plm_vith_celebamask', 641_090_608), ('plm_vith_custom', 641_090_608), ('plm_vitb_custom', 93_735_472)],
)
def test_figures(name: str, sam: int) -> None:
    """PLM and PMM are trained and nothing else; the rest is SAM."""
    with torch.device('meta'):
        model = MODELS.build(Config.fromfile(CONFIGS / f'{name}.py').model)
    (plm,), (pmm,) = model.prompt_stages, model.auxiliary_heads
    assert (size(plm), size(pmm)) == (PLM_SIZE, PMM_SIZE)
    assert size(model, trained=True) == PLM_SIZE + PMM_SIZE == size(plm, trained=True) + size(pmm, trained=True)
    assert size(model) == sam + PLM_SIZE + PMM_SIZE


@pytest.mark.parametrize('name', ['plm-only_tiny_parts', 'plm-only_tiny_mtd'])
def test_baselines_differ_in_what_is_trained_alone(name: str) -> None:
    """PLM alone and SAM-F have the data, schedule and losses of PLM with PMM."""
    _, rest = name.split('_', 1)
    both, plm, sam_f = (Config.fromfile(CONFIGS / f'{kind}_{rest}.py') for kind in ('plm', 'plm-only', 'sam-f'))
    for config in (plm, sam_f):
        for key in ('train_dataloader', 'test_dataloader', 'param_scheduler', 'optim_wrapper', 'train_cfg'):
            assert config[key] == both[key]
        assert config.model.losses == both.model.losses
    assert len(plm.model.prompt_stages) == 1 and not plm.model.auxiliary_heads
    assert not sam_f.model.prompt_stages and not sam_f.model.auxiliary_heads


def test_losses_are_20_focal_1_dice_1_iou() -> None:
    losses = MODELS.build(shrink_model('plm_vith_celebamask')).losses
    assert {type(loss).__name__: loss.loss_weight for loss in losses.values()} == dict(
        MaskFocalLoss=20.0, MaskDiceLoss=1.0, IoUPredictionLoss=1.0
    )


def shrink_model(name: str) -> dict:
    config = Config.fromfile(CONFIGS / f'{name}.py')
    config.pop('test_dataloader', None), config.pop('val_dataloader', None), config.pop('train_dataloader', None)
    return shrink(config, CONFIGS)['model']  # writes nothing: there are no datasets left


@torch.no_grad()
def test_switched_off_it_is_sam_again() -> None:
    """A trained PLM leaves SAM's weights alone: without the stage, SAM's masks come out bit for bit."""
    torch.manual_seed(0)
    settings = shrink_model('plm_tiny_parts')
    model = MODELS.build(settings).eval()
    plain = MODELS.build({**copy.deepcopy(settings), 'prompt_stages': [], 'auxiliary_heads': [], 'trainable': ()})
    inputs, prompts = torch.randn(1, 3, SIZE, SIZE), [Prompts.create(points=[[[20, 30]]], point_labels=[[1]])]
    state = {key: value for key, value in model.state_dict().items() if not key.startswith('prompt_stages')}
    plain.load_state_dict(state)
    features = model.extract_feat(inputs)
    before = plain.eval().decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits
    assert torch.equal(
        model.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits, before
    )  # untrained
    nn.init.normal_(model.prompt_stages[0].output.weight)
    assert_differs(model.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits, before)
    model.prompt_stages = nn.ModuleList()
    assert torch.equal(model.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits, before)
