"""LoRA, DoRA and Adapter against their equations, and the rules that inject them."""

from __future__ import annotations

import warnings

import pytest
import torch
import torch.nn.functional as F
from mmengine.runner.checkpoint import get_state_dict, load_state_dict
from mmseg.registry import MODELS
from torch import nn

from mmsam_ext.checkpoints.errors import CheckpointError
from mmsam_ext.models.peft import Adapter, DoRA, LoRA, PEFTLinear, inject_peft, merge_peft
from mmsam_ext.models.peft.lora import SETTINGS
from tests.models.small import config, images, sample, segmentor
from tests.naming import raises_naming, warns_naming
from tests.numeric import LAYER, MODEL, OPERATION, assert_close, assert_differs

QKV = dict(type='LoRA', modules=r'backbone\..*\.qkv$', num_slices=3, slices=(0, 2), rank=2)


def randomised(layer: PEFTLinear, seed: int = 0) -> PEFTLinear:
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return layer


@pytest.mark.parametrize('kind', [LoRA, DoRA, Adapter])
def test_starts_as_the_plain_layer(kind):
    linear = nn.Linear(6, 9)
    x = torch.randn(4, 5, 6)
    assert_close(kind(linear)(x), linear(x), OPERATION)
    assert isinstance(kind(linear), nn.Linear)
    assert set(dict(linear.named_parameters())) <= set(dict(kind(linear).named_parameters()))


def test_lora_is_its_equation_on_the_chosen_slices():
    layer = randomised(LoRA(nn.Linear(6, 9), rank=2, alpha=4, num_slices=3, slices=(2, 0)))
    x = torch.randn(7, 6)
    expected = F.linear(x, layer.weight, layer.bias)
    a, b = layer.lora_a, layer.lora_b  # the slices in their given order: 2, then 0
    expected[:, 6:9] += 2.0 * x @ a[:2].T @ b[:3].T
    expected[:, 0:3] += 2.0 * x @ a[2:].T @ b[3:].T
    assert_close(layer(x), expected, LAYER)


@pytest.mark.parametrize('slices', [(0, 2), (2, 0, 1), (1,), None])
@pytest.mark.parametrize('of_images', [False, True])
def test_lora_in_place_is_the_sum_of_tensors(slices, of_images, monkeypatch):
    """Values and gradients bit for bit, with an input that needs a gradient and with one that does not."""
    layer = randomised(LoRA(nn.Linear(6, 9), rank=2, num_slices=3, slices=slices))
    layer.weight.requires_grad_(False)
    layer.bias.requires_grad_(False)
    inputs, weights, found = torch.randn(2, 5, 6), torch.randn(2, 5, 9), []
    for compiling in (False, True):  # when compiling, the slices are put together and added as a whole
        monkeypatch.setattr(torch.compiler, 'is_compiling', lambda answer=compiling: answer)
        layer.zero_grad()
        x = inputs.clone().requires_grad_(not of_images)
        out = layer(x)
        (out * weights).sum().backward()
        found.append([out.detach(), layer.lora_a.grad, layer.lora_b.grad, *([] if of_images else [x.grad])])
    assert all(torch.equal(first, second) for first, second in zip(*found, strict=True))


def test_lora_can_be_traced_and_transformed():
    """torch.jit.trace, MMEngine's counter of operations and torch.func see the sums, and get the same gradient."""
    layer, x = randomised(LoRA(nn.Linear(6, 9), rank=2, num_slices=3, slices=(0, 2))), torch.randn(4, 6)
    assert_close(torch.jit.trace(layer, x, check_trace=False)(x), layer(x), OPERATION)
    each = torch.func.vmap(torch.func.grad(lambda row: layer(row).square().sum()))(x)  # a gradient for each row
    moving = x.clone().requires_grad_()
    layer(moving).square().sum().backward()
    assert_close(each, moving.grad, OPERATION)


@pytest.mark.parametrize('kind', [LoRA, DoRA])
@pytest.mark.parametrize('saved', [nn.Module.state_dict, get_state_dict], ids=['torch', 'mmengine'])
def test_settings_that_no_shape_shows_travel_with_a_checkpoint(kind, saved, tmp_path):
    """alpha and the slices change predictions, not shapes: through a file, other ones are an error."""

    def layer(**settings) -> nn.Module:
        return nn.Sequential(
            kind(nn.Linear(6, 9), **{**dict(rank=2, alpha=4, num_slices=3, slices=(0, 2)), **settings})
        )

    trained = layer()
    randomised(trained[0])
    torch.save(saved(trained), tmp_path / 'trained.pth')
    state = torch.load(tmp_path / 'trained.pth', weights_only=True)
    x, same = torch.randn(5, 6), layer()
    same.load_state_dict(state)
    load_state_dict(same, state)  # as mmengine loads it
    assert torch.equal(same(x), trained(x))
    for load in (nn.Module.load_state_dict, load_state_dict):
        with raises_naming(CheckpointError, '0', 'alpha=4', 'alpha=8'):
            load(layer(alpha=8), state)
        with raises_naming(CheckpointError, '0', '(0, 2)', '(2, 0)'):
            load(layer(slices=(2, 0)), state)
    for wrong in ('none', dict(scale='one', slices=(0, 2)), dict(scale=2.0), dict(scale=2.0, slices=1)):
        state._metadata['0'][SETTINGS] = wrong
        with raises_naming(CheckpointError, '0', SETTINGS, 'scale', 'slices'):
            layer().load_state_dict(state)


def test_a_checkpoint_without_its_settings_is_warned_of():
    state = {
        'weight': torch.zeros(9, 6),
        'bias': torch.zeros(9),
        'lora_a': torch.zeros(2, 6),
        'lora_b': torch.zeros(9, 2),
    }
    with warns_naming(UserWarning, 'LoRA', 'alpha=4', 'model.peft'):
        LoRA(nn.Linear(6, 9), rank=2, alpha=4).load_state_dict(dict(state))
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        LoRA(nn.Linear(6, 9), rank=2).load_state_dict(dict(state))  # alpha=1 is what checkpoints had before
        LoRA(nn.Linear(6, 9), rank=2, alpha=4).load_state_dict(nn.Linear(6, 9).state_dict(), strict=False)


def test_lora_counts_are_those_of_the_paper():
    layer = LoRA(nn.Linear(768, 2304), rank=8, num_slices=3, slices=(0, 2))
    assert layer.lora_a.numel() + layer.lora_b.numel() == 294_912 // 12  # SPT, ViT-B: in each of 12 blocks
    assert layer.scale == 1 / 8


@pytest.mark.parametrize('slices', [None, (0, 2), (2,)])
def test_dora_is_its_equation(slices):
    layer = randomised(DoRA(nn.Linear(6, 9), rank=2, alpha=4, num_slices=3, slices=slices))
    chosen = range(3) if slices is None else slices
    x = torch.randn(7, 6)
    weight = layer.weight.detach().clone()
    for place, index in enumerate(chosen):
        rows = slice(3 * index, 3 * index + 3)
        part = slice(3 * place, 3 * place + 3)
        moved = layer.weight[rows] + 2.0 * layer.lora_b[part] @ layer.lora_a[2 * place : 2 * place + 2]
        weight[rows] = (layer.magnitude[part, None] * moved / moved.norm(dim=1, keepdim=True)).detach()
    assert_close(layer(x), F.linear(x, weight, layer.bias), LAYER)


def test_dora_takes_its_magnitude_from_loaded_weights():
    layer, plain = DoRA(nn.Linear(6, 9)), nn.Linear(6, 9)
    layer.load_state_dict(plain.state_dict(), strict=False)
    assert_close(layer.magnitude, plain.weight.norm(dim=1), LAYER)
    x = torch.randn(3, 6)
    assert_close(layer(x), plain(x), OPERATION)
    own = randomised(DoRA(nn.Linear(6, 9)), seed=1)
    layer.load_state_dict(own.state_dict())
    assert torch.equal(layer.magnitude, own.magnitude)


def test_adapter_is_its_equation():
    layer = randomised(Adapter(nn.Linear(6, 9), width=4))
    x = torch.randn(7, 6)
    y = F.linear(x, layer.weight, layer.bias)
    inner = F.gelu(F.linear(y, layer.down.weight, layer.down.bias))
    assert_close(layer(x), y + F.linear(inner, layer.up.weight, layer.up.bias), LAYER)


@pytest.mark.parametrize('kind', [LoRA, DoRA])
def test_merged_layer_computes_the_same(kind):
    layer = randomised(kind(nn.Linear(6, 9), rank=2, num_slices=3, slices=(0, 2)))
    x = torch.randn(7, 6)
    plain = layer.merged()
    assert type(plain) is nn.Linear
    assert_close(plain(x), layer(x), LAYER)


@pytest.mark.parametrize('kind', [LoRA, DoRA])
def test_one_product_without_gradients_is_the_same(kind, monkeypatch):
    layer = randomised(kind(nn.Linear(6, 9), rank=2, num_slices=3, slices=(2, 0), dropout=0.5)).eval()
    x = torch.randn(7, 6)
    expected = layer(x).detach()
    products = []
    monkeypatch.setattr(kind, 'merged_weight', lambda self, stock=kind.merged_weight: products.append(1) or stock(self))
    with torch.no_grad():
        assert_close(layer(x), expected)
        assert len(products) == 1
        layer.train()
        assert_differs(layer(x), expected)  # dropout
        assert len(products) == 1


def test_model_with_peft_starts_as_the_plain_one_loads_it_and_merges_back():
    plain = segmentor()
    rules = [QKV, dict(type='DoRA', modules=r'mask_decoder\..*\.(q|v)_proj$', rank=2)]
    adapted = MODELS.build(config(peft=rules, trainable=['lora_', 'magnitude'])).eval()
    adapted.load_state_dict(plain.state_dict(), strict=False)
    inputs, samples = images(), [sample()]
    with torch.no_grad():
        expected = plain._forward(inputs, samples).logits
        assert_close(adapted._forward(inputs, samples).logits, expected, MODEL)
        for name, parameter in adapted.named_parameters():
            if 'lora_b' in name:
                parameter.normal_()
        moved = adapted._forward(inputs, samples).logits
        assert_differs(moved, expected)
        assert merge_peft(adapted)
        assert_close(adapted._forward(inputs, samples).logits, moved, MODEL)
    assert set(adapted.state_dict()) == set(plain.state_dict())
    with raises_naming(ValueError, 'PEFT'):
        merge_peft(adapted)


@pytest.mark.parametrize(
    ('rules', 'names'),
    [
        ([dict(type='LoRA')], ('modules',)),
        ([dict(modules='qkv')], ('type', 'LoRA')),
        ([QKV | dict(type='Lora')], ('type', 'Lora', 'LoRA', 'DoRA', 'Adapter', 'PEFTLinear')),
        ([QKV | dict(type='SAMMaskDecoder')], ('type', 'SAMMaskDecoder', 'LoRA')),
        ([QKV | dict(type=nn.Linear)], ('type', nn.Linear, 'LoRA')),
        ([QKV | dict(modules='(qkv')], ('modules', "'(qkv'", 'unterminated')),
        ([QKV | dict(modules=['qkv'])], ('modules', "['qkv']")),
        ([dict(type='LoRA', modules='nothing')], ('modules', 'nothing')),
        ([QKV, QKV], ('qkv', 'PEFT layer')),
        ([QKV | dict(num_slices=7)], ('num_slices', '7')),
        ([QKV | dict(num_slices=0)], ('LoRA', 'num_slices', '0')),
        ([QKV | dict(num_slices=-3, slices=None)], ('LoRA', 'num_slices', '-3')),
        ([QKV | dict(slices=(0, 3))], ('slices', '(0, 3)', 'num_slices')),
        ([QKV | dict(slices=(0, 0))], ('slices', '(0, 0)')),
        ([QKV | dict(slices=(0, 2.0))], ('slices', '(0, 2.0)')),
        ([QKV | dict(slices=())], ('slices', '()')),
        ([QKV | dict(rank=0)], ('rank', '0')),
    ],
)
def test_rules_that_do_not_fit(rules, names):
    with raises_naming(ValueError, 'PEFT rule', *names):
        inject_peft(segmentor(), rules)


def test_a_rule_may_name_the_class_itself():
    assert inject_peft(segmentor(), [QKV | dict(type=LoRA)])


def test_adapters_do_not_merge_and_nothing_is_changed():
    model = segmentor(peft=[dict(type='Adapter', modules=r'mlp\.lin2$')])
    with raises_naming(TypeError, 'Adapter'):
        merge_peft(model)
    assert any(isinstance(module, Adapter) for module in model.modules())
