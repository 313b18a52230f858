"""What a checkpoint must hold, through torch's loading and mmengine's."""

from __future__ import annotations

import copy

import pytest
import torch
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS
from torch import nn

from mmsam_ext.models.mask_decoders import DecoderPlugin
from tests.models.small import ARCH, config, segmentor, stock_sam
from tests.naming import raises_naming


@MODELS.register_module(force=True)
class TwoParameterPlugin(DecoderPlugin):
    """A module that plain SAM does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(3))


class MarkedNorm(nn.LayerNorm):
    """A stock module with one additional parameter, as LoRA's linear layers have."""

    added_to_sam = ('extra',)

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.extra = nn.Parameter(torch.full((1,), 7.0))


def plugged():
    return segmentor(decoder=dict(plugins=[dict(type='TwoParameterPlugin')]))


def load(model, state: dict, how: str, tmp_path) -> None:
    if how == 'torch':
        model.load_state_dict(state, strict=False)
    else:
        torch.save(state if how == 'file' else dict(state_dict=state, meta={}), tmp_path / 'checkpoint.pth')
        load_checkpoint(model, str(tmp_path / 'checkpoint.pth'), map_location='cpu')


HOW = ['torch', 'file', 'mmengine file']


@pytest.mark.parametrize('how', HOW)
def test_metas_names_load(how, tmp_path):
    sam = stock_sam()
    model = segmentor(seed=5)
    state = sam.state_dict()
    keys = list(state)
    load(model, state, how, tmp_path)
    for name, value in sam.image_encoder.state_dict().items():
        assert torch.equal(model.backbone.state_dict()[name], value), name
    for name, value in sam.mask_decoder.state_dict().items():
        assert torch.equal(model.mask_decoder.state_dict()[name], value), name
    assert list(state) == keys  # the caller's dict is as it was


@pytest.mark.parametrize('how', HOW)
def test_own_names_load(how, tmp_path):
    source, model = segmentor(seed=1), segmentor(seed=5)
    load(model, source.state_dict(), how, tmp_path)
    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), model.state_dict().values(), strict=True)
    )


def test_old_buffers_of_metas_class_are_dropped():
    """Some published files hold `pixel_mean` and `pixel_std`."""
    state = dict(stock_sam().state_dict(), pixel_mean=torch.zeros(3, 1, 1), pixel_std=torch.ones(3, 1, 1))
    segmentor().load_state_dict(state, strict=True)


@pytest.mark.parametrize('how', HOW)
def test_errors(how, tmp_path):
    model = segmentor()
    state = model.state_dict()

    other = MODELS.build(config(backbone=dict(type='SAMImageEncoder', arch=dict(ARCH, embed_dim=96)))).state_dict()
    with raises_naming(ValueError, 'backbone.pos_embed', '(1, 8, 8, 96)', '(1, 8, 8, 48)') as error:
        load(model, other, how, tmp_path)
    assert str(error.value).count('backbone.') < 20, 'a long list is cut short'

    deeper = MODELS.build(config(backbone=dict(type='SAMImageEncoder', arch=dict(ARCH, depth=4)))).state_dict()
    with raises_naming(ValueError, '14', 'backbone.blocks.3.attn.proj.bias'):
        load(model, deeper, how, tmp_path)

    missing = {key: value for key, value in state.items() if 'iou_token' not in key and 'blocks.2' not in key}
    with raises_naming(ValueError, '15', 'backbone.blocks.2.attn.proj.bias'):
        load(model, missing, how, tmp_path)

    with raises_naming(ValueError, 'SAM'):
        load(model, nn.Linear(2, 2).state_dict(), how, tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(state.values(), model.state_dict().values(), strict=True))


def test_added_modules_may_be_missing_as_a_whole_and_keep_their_start(tmp_path):
    model, plain = plugged(), segmentor(seed=5)
    start = model.mask_decoder.plugins[0].one.clone()
    load(model, plain.state_dict(), 'file', tmp_path)
    assert torch.equal(model.mask_decoder.plugins[0].one, start)
    assert torch.equal(model.backbone.pos_embed, plain.backbone.pos_embed)

    part = plugged().state_dict()
    del part['mask_decoder.plugins.0.two']
    with raises_naming(ValueError, '1', 'mask_decoder.plugins.0.two'):
        load(model, part, 'file', tmp_path)
    # ... and a plain SAM does not take a checkpoint with a plugin it does not have.
    with raises_naming(ValueError, '2', 'mask_decoder.plugins.0.one'):
        load(plain, plugged().state_dict(), 'file', tmp_path)


def test_added_parameters_of_a_stock_module(tmp_path):
    """A tuple in `added_to_sam` names parameters: these may be missing, the module's stock ones not."""
    model, plain = segmentor(), segmentor(seed=5)
    model.backbone.blocks[0].norm1 = MarkedNorm(48)
    load(model, plain.state_dict(), 'file', tmp_path)
    assert float(model.backbone.blocks[0].norm1.extra) == 7
    state = plain.state_dict()
    del state['backbone.blocks.0.norm1.weight']
    with raises_naming(ValueError, '1', 'backbone.blocks.0.norm1.weight'):
        load(model, state, 'file', tmp_path)


def test_inside_another_module():
    """Models inside EMA, DDP and test-time augmentation have a prefix in their keys, also with Meta's names."""
    holder = nn.ModuleDict(dict(module=segmentor(seed=5)))
    sam = stock_sam()
    holder.load_state_dict({f'module.{key}': value for key, value in sam.state_dict().items()}, strict=True)
    assert torch.equal(holder['module'].backbone.pos_embed, sam.image_encoder.pos_embed)
    state = {f'module.{key}': value for key, value in sam.state_dict().items() if 'iou_token' not in key}
    with raises_naming(ValueError, 'module.mask_decoder.iou_token.weight'):
        copy.deepcopy(holder).load_state_dict(state)


@pytest.mark.parametrize(
    ('change', 'reason'),
    [
        (lambda value: value * float('nan'), 'NaN'),
        (lambda value: value.masked_fill(torch.arange(value.numel()).view_as(value) == 0, float('inf')), 'infinite'),
        (lambda value: value.half() / 0, 'infinite'),
        (lambda value: value.long(), 'torch.int64'),
        (lambda value: value.to(torch.complex64), 'torch.complex64'),
    ],
    ids=['nan', 'inf', 'half', 'int', 'complex'],
)
def test_weights_that_are_no_numbers(change, reason):
    """They loaded, and every mask was empty: "area 0.00 %", as if the part were good."""
    key = 'mask_decoder.iou_token.weight'
    state = segmentor().state_dict()
    with raises_naming(ValueError, key, reason):
        segmentor().load_state_dict({**state, key: change(state[key])})
    for dtype in (torch.float16, torch.bfloat16, torch.float64):  # of other precisions, and buffers that mask
        model = segmentor()
        model.register_buffer('window_mask', torch.full((2,), float('-inf')))
        model.load_state_dict({name: value.to(dtype) for name, value in model.state_dict().items()})
