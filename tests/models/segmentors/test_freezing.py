"""`trainable` owns freezing."""

from __future__ import annotations

import torch
from torch import nn

from mmsam_ext.models.segmentors import freeze_all_but, keep_frozen_in_eval
from tests.models.small import segmentor
from tests.naming import raises_naming


def trained(model: nn.Module) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_patterns_choose_parameters():
    model = segmentor(trainable=['mask_decoder', r'backbone\.blocks\.[12]\.norm'])
    names = trained(model)
    assert {name for name in names if name.startswith('mask_decoder')} == {
        name for name, _ in model.named_parameters() if name.startswith('mask_decoder')
    }
    assert {name for name in names if not name.startswith('mask_decoder')} == {
        f'backbone.blocks.{block}.norm{norm}.{kind}'
        for block in (1, 2)
        for norm in (1, 2)
        for kind in ('weight', 'bias')
    }


def test_none_and_nothing():
    assert len(trained(segmentor())) == len(list(segmentor().parameters()))
    assert trained(segmentor(trainable=())) == set()


def test_errors():
    with raises_naming(ValueError, 'trainable', 'mask_decodr', 'mask_decoder.transformer'):
        segmentor(trainable=['backbone', 'mask_decodr'])
    with raises_naming(ValueError, 'trainable', "'('"):
        segmentor(trainable=['('])
    with raises_naming(ValueError, 'trainable', 'backbone'):
        segmentor(trainable='backbone')


def test_frozen_parts_stay_in_eval_mode():
    model = segmentor(trainable=['mask_decoder']).train()
    assert model.training and model.mask_decoder.training and model.mask_decoder.transformer.training
    assert not any(module.training for module in model.backbone.modules())
    assert not any(module.training for module in model.prompt_encoder.modules())
    model.eval()
    assert not model.mask_decoder.training


def test_batch_norm_and_dropout():
    """A frozen batch norm must not move its statistics, nor a frozen part drop values; a trained part must do both."""
    model = nn.Sequential(
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)),
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)),
    )
    freeze_all_but(model, ['^1'])
    model.train()
    keep_frozen_in_eval(model)
    assert [module.training for module in model[0]] == [False] * 3
    assert [module.training for module in model[1]] == [True] * 3
    model(torch.randn(8, 4))
    assert not model[0][1].running_mean.any() and model[1][1].running_mean.any()


def test_frozen_parameters_get_no_gradient():
    from tests.models.small import disc, images, sample

    model = segmentor(trainable=['mask_tokens']).train()
    from mmsam_ext.structures import Prompts

    losses = model.loss(images(), [sample(Prompts.empty(), disc()[None])])
    sum(losses.values()).backward()
    assert {name for name, p in model.named_parameters() if p.grad is not None} == {'mask_decoder.mask_tokens.weight'}
