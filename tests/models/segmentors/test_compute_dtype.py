"""Training in bf16 with fp32 weights."""

from __future__ import annotations

import pytest
import torch

from mmsam_ext.models.layers.checkpointing import checkpointed
from mmsam_ext.structures import Prompts
from tests.models.small import CHANNELS, config, disc, images, sample, segmentor
from tests.naming import raises_naming


def losses_and_gradients(dtype: str | None, with_cp: bool = False) -> tuple[float, dict[str, torch.Tensor]]:
    parts = {name: dict(config()[name], with_cp=with_cp) for name in ('backbone', 'mask_decoder')}
    model = segmentor(train_cfg=dict(compute_dtype=dtype), **parts).train()
    seen = []
    for part in (model.backbone.blocks[0].mlp, model.mask_decoder.transformer):
        part.register_forward_hook(lambda _, args, out: seen.append((out if torch.is_tensor(out) else out[0]).dtype))
    item = sample(Prompts.create(boxes=[[25, 45, 75, 95]], points=[[[50, 70]]], point_labels=[[1]]), disc()[None])
    loss = sum(model.loss(images(), [item]).values())
    loss.backward(retain_graph=with_cp)
    assert len(seen) >= 2 and set(seen) == {torch.float32 if dtype is None else torch.bfloat16}
    if with_cp:  # a second backward pass computes the activations once more
        model.zero_grad()
        loss.backward()
    return float(loss.detach()), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def test_close_to_fp32_with_fp32_gradients():
    loss, gradients = losses_and_gradients('bfloat16')
    exact, expected = losses_and_gradients(None)
    assert loss == pytest.approx(exact, rel=2e-2) and loss != exact
    assert gradients.keys() == expected.keys()
    assert all(gradient.dtype == torch.float32 for gradient in gradients.values())
    ours, theirs = (torch.cat([part[name].flatten() for name in sorted(part)]) for part in (gradients, expected))
    assert torch.cosine_similarity(ours, theirs, dim=0) > 0.98


def test_gradient_checkpointing_computes_with_the_cast_weights_again():
    _, gradients = losses_and_gradients('bfloat16', with_cp=True)
    _, expected = losses_and_gradients('bfloat16')
    assert gradients.keys() == expected.keys()
    assert all(torch.equal(gradients[name], expected[name]) for name in expected)


def test_checkpointed_modules_compile_to_one_graph():
    layer, x = torch.nn.Linear(3, 3), torch.randn(2, 3)
    compiled = torch.compile(lambda x: checkpointed(layer, layer, x), backend='eager', fullgraph=True)
    assert torch.equal(compiled(x), layer(x))


def test_inference_stays_fp32():
    model, plain = segmentor(train_cfg=dict(compute_dtype='bfloat16')), segmentor()
    item = sample(Prompts.create(boxes=[[25, 45, 75, 95]]))
    with torch.no_grad():
        assert torch.equal(model._forward(images(), [item]).logits, plain._forward(images(), [item]).logits)


@pytest.mark.parametrize('drafts', [False, True])
def test_with_drafts_plugins_and_peft(drafts: bool):
    """What is between the parts that are cast takes and gives either format."""
    plugins = [
        dict(type='VRAAdapter', dim=CHANNELS),
        dict(type='DeformableSamplingPlugin', dim=CHANNELS, router=dict(type='DynamicRouter', dim=CHANNELS)),
    ]
    decoder = dict(config()['mask_decoder'], plugins=plugins)
    drafting = dict(type='SelfDraftDecoder', decoder=decoder)
    model = segmentor(
        mask_decoder=drafting if drafts else decoder,
        train_cfg=dict(compute_dtype='bfloat16'),
        peft=dict(encoder=dict(type='LoRA', modules=r'^backbone\..*\.qkv$', num_slices=3, slices=(0, 2))),
    ).train()
    boxes = Prompts.create(boxes=[[25, 45, 75, 95], [20, 40, 75, 95]], target_ids=[0, 0])
    for prompts in (boxes, Prompts.create(points=[[[50, 70]]], point_labels=[[1]])):
        losses = model.loss(images(), [sample(prompts, disc()[None])])
        assert ('draft0.loss_dice' in losses) == drafts
        sum(losses.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize('name', ['bf16', 'int64', 'nn'])
def test_unknown_dtype(name):
    with raises_naming(ValueError, 'compute_dtype', name):
        segmentor(train_cfg=dict(compute_dtype=name))
