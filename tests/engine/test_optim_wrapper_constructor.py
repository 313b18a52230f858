"""An optimizer over what is trained, in few groups."""

from __future__ import annotations

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from mmsam_ext.models.segmentors import freeze_all_but
from tests.naming import raises_naming


class Net(nn.Module):
    """A frozen stem, a layer whose weight alone is trained, a norm, a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(3, 3)
        self.mixed = nn.Linear(3, 3)
        self.norm = nn.LayerNorm(3)
        self.head = nn.ModuleDict(dict(one=nn.Linear(3, 3), two=nn.Linear(3, 3)))
        freeze_all_but(self, ['mixed.weight', 'norm', 'head'])


def build(model: nn.Module, **options) -> torch.optim.Optimizer:
    init_default_scope('mmseg')
    settings = dict(
        constructor='TrainableOptimWrapperConstructor',
        type='OptimWrapper',
        optimizer=dict(type='AdamW', lr=0.1, weight_decay=0.05),
    )
    return build_optim_wrapper(model, settings | options).optimizer


def groups(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[tuple[set[str], float, float]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [
        ({names[id(parameter)] for parameter in group['params']}, group['lr'], group['weight_decay'])
        for group in optimizer.param_groups
    ]


def test_only_what_is_trained_in_one_group():
    model = Net()
    (only,) = groups(model, build(model))
    heads = {f'head.{name}.{kind}' for name in ('one', 'two') for kind in ('weight', 'bias')}
    assert only == ({'mixed.weight', 'norm.weight', 'norm.bias', *heads}, 0.1, 0.05)


def test_groups_of_the_same_options_are_one():
    model = Net()
    options = dict(norm_decay_mult=0.0, bias_decay_mult=0.0, custom_keys={'head.two': dict(lr_mult=0.1)})
    found = groups(model, build(model, paramwise_cfg=options))
    assert sorted(found, key=lambda group: (-group[1], -group[2])) == [
        ({'mixed.weight', 'head.one.weight'}, 0.1, 0.05),
        ({'norm.weight', 'norm.bias', 'head.one.bias'}, 0.1, 0.0),
        ({'head.two.weight', 'head.two.bias'}, pytest.approx(0.01), 0.05),
    ]


def test_a_step_moves_what_is_trained_and_nothing_else():
    model = Net()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer = build(model)
    x = model.norm(model.mixed(model.stem(torch.randn(4, 3))))
    (model.head['one'](x) + model.head['two'](x)).square().sum().backward()
    optimizer.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def test_under_a_wrapper():
    """DistributedDataParallel holds the model as `module`."""
    model = Net()
    holder = nn.Module()
    holder.module = model
    assert len(build(holder).param_groups[0]['params']) == 7


def test_error_where_nothing_is_trained():
    model = Net()
    freeze_all_but(model, ())
    with raises_naming(ValueError, 'model.trainable'):
        build(model)
