"""What Hugging Face's ``peft`` computes for LoRA and DoRA. Its answers are kept in hf_peft.json, so that tests do not
need it: ``pip install peft==0.21.2 && python tests/models/peft/hf_peft.py`` writes the file anew.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor, nn

GOLDEN = Path(__file__).with_suffix('.json')
RANK, ALPHA, SHAPE = 2, 3.0, (5, 7)  # outputs, inputs


def given() -> dict[str, Tensor]:
    """Weights of a layer and its input, of few digits."""
    generator = torch.Generator().manual_seed(0)
    shapes = dict(weight=SHAPE, bias=SHAPE[:1], a=(RANK, SHAPE[1]), b=(SHAPE[0], RANK), magnitude=SHAPE[:1], x=(4, 7))
    values = {name: (torch.randn(shape, generator=generator) * 100).round() / 100 for name, shape in shapes.items()}
    return {**values, 'magnitude': values['magnitude'].abs() + 0.5}


def by_peft(dora: bool, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The layer's output, its weight when merged, the magnitude it starts with, and gradients of sum(output ** 2)."""
    from peft import LoraConfig, get_peft_model

    model = nn.ModuleDict(dict(layer=nn.Linear(SHAPE[1], SHAPE[0])))
    with torch.no_grad():
        model['layer'].weight.copy_(given['weight'])
        model['layer'].bias.copy_(given['bias'])
    settings = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=['layer'], use_dora=dora, lora_dropout=0.0)
    layer = get_peft_model(model, settings).base_model.model['layer']
    trained = dict(a=layer.lora_A['default'].weight, b=layer.lora_B['default'].weight)
    result = {}
    if dora:
        trained['magnitude'] = layer.lora_magnitude_vector['default'].weight
        result['first_magnitude'] = trained['magnitude'].detach().clone()
    for name, parameter in trained.items():
        parameter.data.copy_(given[name])
    out = layer(given['x'])
    out.square().sum().backward()
    result |= {'out': out.detach(), **{f'grad_{name}': parameter.grad for name, parameter in trained.items()}}
    layer.merge()
    return result | dict(merged=layer.base_layer.weight.detach())


if __name__ == '__main__':
    weights = given()
    answers = {
        name: {key: value.tolist() for key, value in by_peft(name == 'DoRA', weights).items()}
        for name in ('LoRA', 'DoRA')
    }
    kept = dict(given={name: value.tolist() for name, value in weights.items()}, **answers)
    GOLDEN.write_text(json.dumps(kept) + '\n')
