"""Prompt stages, auxiliary heads, other backbones and autocast in the segmentor."""

from __future__ import annotations

import pytest
import torch
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmsam_ext.models.auxiliary_heads import PromptAuxiliaryHead
from mmsam_ext.models.prompt_stages import PromptStage
from mmsam_ext.structures import PromptBatch, Prompts
from tests.models.prompts import mixed
from tests.models.small import CHANNELS, SIZE, config, disc, images, sample, segmentor
from tests.naming import raises_naming


@MODELS.register_module(force=True)
class ExtraTokenStage(PromptStage):
    """Adds a learnt token, as a prompt-generating head would."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, CHANNELS))

    def forward(self, features, prompts):
        prompts.sparse = torch.cat([prompts.sparse, self.token.expand(len(prompts), -1, -1)], 1)
        return prompts


@MODELS.register_module(force=True)
class DroppingStage(PromptStage):
    """Breaks the rule that P stays."""

    def forward(self, features, prompts):
        return prompts[:1]


@MODELS.register_module(force=True)
class RecordingHead(PromptAuxiliaryHead):
    """Compares the upscaled features with nothing, and notes what it got."""

    def loss(self, features, prediction, targets, batch):
        self.seen = dict(features=features, prediction=prediction, targets=targets, batch=batch)
        return dict(loss_size=prediction.upscaled.square().mean(), pixels=targets.mean())


def boxes(*corners: list[float], **fields) -> Prompts:
    return Prompts.create(boxes=corners, **fields)


def batch() -> list[SegDataSample]:
    """Two images, 4 + 3 prompts, the last of which ask for the second mask."""
    prompts = mixed()
    prompts[1].target_ids[:] = torch.tensor([0, 1, 1])
    whole, part = disc(), disc(x=60, radius=10)
    return [sample(prompts[0], whole[None]), sample(prompts[1], torch.stack([whole, part]))]


# ---------------------------------------------------------------- stages and heads


@torch.no_grad()
def test_stages_may_add_tokens():
    model = segmentor(prompt_stages=[dict(type='ExtraTokenStage')])
    plain = segmentor()
    model.load_state_dict(plain.state_dict(), strict=False)
    prompts = mixed()
    before, after = (
        m.decode(m.extract_feat(images(2)), PromptBatch.from_prompts(prompts, (SIZE, SIZE))).logits
        for m in (plain, model)
    )
    assert after.shape == before.shape and (after - before).abs().amax((1, 2, 3)).min() > 1e-4  # in every prompt


def test_error_for_a_stage_that_changes_the_number_of_prompts():
    model = segmentor(prompt_stages=[dict(type='ExtraTokenStage'), dict(type='DroppingStage')])
    with raises_naming(ValueError, 'prompt_stages[1]', 'DroppingStage', '(1, 3, 32)', '(2, 3, 32)'):
        model(images(), [sample(boxes([1, 2, 3, 4], [5, 6, 7, 8]))], mode='tensor')


def test_auxiliary_heads_train_and_are_absent_at_inference():
    model = segmentor(auxiliary_heads=[dict(type='RecordingHead')]).train()
    losses = model.loss(images(2), batch())
    assert {'aux0.loss_size', 'aux0.pixels', 'loss_bce', 'loss_dice'} == set(losses)
    seen = model.auxiliary_heads[0].seen
    assert seen['prediction'].upscaled.shape == (7, CHANNELS // 8, 32, 32)
    assert seen['batch'].image_index.tolist() == [0] * 4 + [1] * 3
    assert seen['features'].embedding.shape == (2, CHANNELS, 8, 8) and seen['targets'].shape == (7, 32, 32)
    losses['aux0.loss_size'].backward()
    assert model.mask_decoder.output_upscaling[0].weight.grad.abs().sum() > 0
    del model.auxiliary_heads[0].seen
    model.eval().predict(images(2), batch())
    assert not hasattr(model.auxiliary_heads[0], 'seen')


# ---------------------------------------------------------------- other backbones, autocast


def test_vit_sam_of_mmpretrain_as_the_backbone_trains_a_step():
    from mmengine.optim import OptimWrapper

    backbone = dict(
        type='mmpretrain.ViTSAM',
        arch=dict(embed_dims=48, num_layers=2, num_heads=3, feedforward_channels=96, global_attn_indexes=[1]),
        img_size=SIZE,
        out_channels=CHANNELS,
        window_size=3,
    )
    torch.manual_seed(0)
    model = MODELS.build(config(backbone=backbone))
    assert model.train() is model
    weights = model.backbone.patch_embed.projection.weight
    before = weights.detach().clone()
    item = sample(boxes([10, 20, 80, 90]), disc()[None])
    data = dict(inputs=[torch.randint(0, 256, (3, SIZE, SIZE), dtype=torch.uint8)], data_samples=[item])
    logs = model.train_step(data, OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    assert torch.isfinite(logs['loss']) and not torch.equal(weights, before)
    assert model.eval().test_step(data)[0].pred_instances.mask_logits.shape == (1, SIZE, SIZE)


def test_loss_under_autocast():
    model = segmentor().train()
    plain = model.loss(images(2), batch())
    with torch.autocast('cpu', torch.bfloat16):
        cast = model.loss(images(2), batch())
    for name, value in cast.items():
        assert value.dtype == torch.float32 and float(value) == pytest.approx(float(plain[name]), rel=0.05)
    sum(cast.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_an_embedding_of_other_channels_names_the_part_and_the_neck() -> None:
    """A classifier's backbone without a neck was an error about the sizes of two tensors."""
    model = segmentor(backbone=dict(type='ResNet', depth=18, base_channels=8))
    with raises_naming(ValueError, 'ResNet', '64 channels', str(CHANNELS), 'neck'):
        model._forward(images(), [sample()])
