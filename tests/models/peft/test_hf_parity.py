"""LoRA and DoRA against Hugging Face's ``peft`` on the same weights: output, gradients, merged weight."""

from __future__ import annotations

import importlib.util
import json

import pytest
import torch
from torch import Tensor, nn

from mmsam_ext.models.peft import DoRA, LoRA
from tests.models.peft.hf_peft import ALPHA, GOLDEN, RANK, SHAPE, by_peft
from tests.numeric import LAYER, MODEL, assert_close

KEPT = {
    part: {name: torch.tensor(value) for name, value in values.items()}
    for part, values in json.loads(GOLDEN.read_text()).items()
}
GIVEN = KEPT['given']


def ours(kind: type[LoRA]) -> dict[str, Tensor]:
    linear = nn.Linear(SHAPE[1], SHAPE[0])
    linear.weight.data, linear.bias.data = GIVEN['weight'].clone(), GIVEN['bias'].clone()
    layer = kind(linear, rank=RANK, alpha=ALPHA)
    trained = dict(a=layer.lora_a, b=layer.lora_b)
    result = {}
    if kind is DoRA:
        trained['magnitude'] = layer.magnitude
        result['first_magnitude'] = layer.magnitude.detach().clone()
    for name, parameter in trained.items():
        parameter.data = GIVEN[name].clone()
    out = layer(GIVEN['x'])
    out.square().sum().backward()
    result |= {'out': out.detach(), **{f'grad_{name}': parameter.grad for name, parameter in trained.items()}}
    return result | dict(merged=layer.merged().weight.detach())


@pytest.mark.parametrize('kind', [LoRA, DoRA])
def test_as_kept(kind: type[LoRA]) -> None:
    expected, result = KEPT[kind.__name__], ours(kind)
    assert set(result) == set(expected)
    for name, value in expected.items():
        assert_close(result[name], value, MODEL, name=name)


@pytest.mark.skipif(importlib.util.find_spec('peft') is None, reason='peft is not installed; its answers are kept')
@pytest.mark.parametrize('name', ['LoRA', 'DoRA'])
def test_kept_answers_are_those_of_the_peft_installed(name: str) -> None:
    for key, value in by_peft(name == 'DoRA', GIVEN).items():
        assert_close(value, KEPT[name][key], LAYER, name=key)
