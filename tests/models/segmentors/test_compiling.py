"""torch.compile of encoder and decoder: no graph breaks, and the same results."""

from __future__ import annotations

import copy
import os
import shutil

import pytest
import torch
from torch import Tensor

from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.structures import Prompts
from tests.models.small import CHANNELS, config, disc, images, sample, segmentor
from tests.naming import raises_naming
from tests.numeric import MODEL, assert_close

ROUTER = dict(type='DynamicRouter', dim=CHANNELS)
VRA = dict(config()['mask_decoder'], plugins=[dict(type='VRAAdapter', dim=CHANNELS)])
METHODS = {
    'SAM': {},
    'SPT': dict(
        mask_decoder=dict(type='SelfDraftDecoder', decoder=VRA),
        peft=dict(encoder=dict(type='LoRA', modules=r'^backbone\..*\.qkv$', num_slices=3, slices=(0, 2))),
    ),
    'Stable-SAM': dict(
        mask_decoder=dict(
            config()['mask_decoder'],
            plugins=[dict(type='DeformableSamplingPlugin', dim=CHANNELS, router=ROUTER)],
        )
    ),
    'PLM': dict(prompt_stages=[dict(type='PromptLearningModule', dim=CHANNELS, num_heads=4, mlp_dim=64)]),
}
BOXES = dict(boxes=[[25, 45, 75, 95], [20, 40, 75, 95]])


def masks(model: PromptableSegmentor) -> Tensor:
    with torch.no_grad():
        return model._forward(images(), [sample(Prompts.create(**BOXES))]).logits


@pytest.fixture(autouse=True)
def fresh() -> None:
    torch.compiler.reset()


@pytest.mark.parametrize('method', METHODS)
def test_no_graph_breaks(method: str) -> None:
    """`fullgraph` makes each of them an error; the 'eager' backend runs what was traced."""
    plain = segmentor(**METHODS[method])
    model = segmentor(torch_compile=dict(backend='eager', fullgraph=True), **METHODS[method])
    assert list(model.state_dict()) == list(plain.state_dict())
    assert_close(masks(model), masks(plain), MODEL)
    again = copy.deepcopy(model)  # as for a moving average of the weights
    assert_close(masks(again), masks(plain), MODEL)


@pytest.mark.parametrize('method', METHODS)
def test_training(method: str) -> None:
    """Losses and all gradients are those without torch.compile."""
    losses, gradients = [], []
    for options in (False, dict(backend='eager')):
        model = segmentor(torch_compile=options, **METHODS[method]).train()
        loss = sum(model.loss(images(), [sample(Prompts.create(**BOXES), disc()[None])]).values())
        loss.backward()
        losses.append(loss.detach())
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert_close(losses[1], losses[0], MODEL)
    assert list(gradients[1]) == list(gradients[0])
    assert any(name.startswith('backbone.') and grad.any() for name, grad in gradients[0].items())
    largest = max(float(grad.abs().max()) for grad in gradients[0].values())
    for name, grad in gradients[0].items():
        assert_close(gradients[1][name], grad, MODEL, largest, name)


@pytest.mark.slow
@pytest.mark.skipif(
    'MMSAM_EXT_INDUCTOR' not in os.environ or not shutil.which('g++'),
    reason='compiling C++ takes over a minute; MMSAM_EXT_INDUCTOR=1 runs it where there is a compiler',
)
def test_inductor() -> None:
    plain, model = segmentor(), segmentor(torch_compile=True)
    assert_close(masks(model), masks(plain), MODEL)


def test_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    with raises_naming(ValueError, 'torch_compile', 'yes'):
        segmentor(torch_compile='yes')
    monkeypatch.setenv('CXX', '/nowhere/g++')
    with raises_naming(ValueError, 'torch_compile', '/nowhere/g++'):
        segmentor(torch_compile=True)
    with raises_naming(ValueError, 'torch_compile', 'compute_dtype'):
        segmentor(torch_compile=dict(backend='eager'), train_cfg=dict(compute_dtype='bfloat16'))
