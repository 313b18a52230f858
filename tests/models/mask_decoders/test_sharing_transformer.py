"""Prompts that share the projections of their image's tokens: the same masks as without sharing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from mmsam_ext.models.mask_decoders import SAMMaskDecoder
from mmsam_ext.structures import MaskPrediction, PromptBatch, Prompts, SAMFeatures
from tests.models.small import CHANNELS, DECODER, randomise
from tests.numeric import MODEL, assert_close, assert_differs

SIZE = (64, 64)
PLUGINS = {
    'none': [],
    'VRA': [dict(type='VRAAdapter', dim=CHANNELS)],
    'DSP': [dict(type='DeformableSamplingPlugin', dim=CHANNELS, router=dict(type='DynamicRouter', dim=CHANNELS))],
    'mask token': [dict(type='MaskTokenPlugin', dim=CHANNELS)],
}


def decoder(plugins: list[dict], chunk_size: int | None) -> SAMMaskDecoder:
    model = SAMMaskDecoder(transformer_dim=CHANNELS, plugins=plugins, chunk_size=chunk_size, **DECODER).eval()
    randomise(model)
    return model


def batch(*numbers: int) -> PromptBatch:
    generator = torch.Generator().manual_seed(0)
    corners = [torch.rand(number, 2, 2, generator=generator).sort(1).values * 63 for number in numbers]
    return PromptBatch.from_prompts([Prompts.create(boxes=one.flatten(1)) for one in corners], SIZE)


@pytest.fixture(scope='module')
def encoder() -> nn.Module:
    from mmsam_ext.models.prompt_encoders import SAMPromptEncoder

    model = SAMPromptEncoder(embed_dim=CHANNELS).eval()
    randomise(model)
    return model


def counted(monkeypatch: pytest.MonkeyPatch, layer: nn.Module) -> list[tuple[int, ...]]:
    """Shapes of what a layer gets."""
    shapes: list[tuple[int, ...]] = []
    layer.register_forward_pre_hook(lambda _, args: shapes.append(tuple(args[0].shape)))
    return shapes


@pytest.mark.parametrize('plugins', PLUGINS)
@pytest.mark.parametrize('numbers', [(5,), (1, 3, 2)])
@pytest.mark.parametrize('chunk_size', [None, 2])
def test_same_masks(plugins: str, numbers: tuple, chunk_size: int | None, encoder: nn.Module, monkeypatch) -> None:
    """Against the stock transformer, which runs where gradients are computed."""
    model = decoder(PLUGINS[plugins], chunk_size)
    prompts = batch(*numbers)
    embedding = torch.randn(len(numbers), CHANNELS, 4, 4, generator=torch.Generator().manual_seed(1))
    (group,) = encoder(prompts, (4, 4))
    expected: MaskPrediction = model(SAMFeatures(embedding), group, need_upscaled=True)
    shapes = counted(monkeypatch, model.transformer.layers[0].cross_attn_image_to_token.q_proj)
    with torch.no_grad():
        ours = model(SAMFeatures(embedding), group, need_upscaled=True)
    assert shapes == [(len(numbers), 16, CHANNELS)]  # once for all prompts, whatever the chunks
    for name in ('logits', 'iou', 'upscaled'):
        assert_close(getattr(ours, name), getattr(expected, name), MODEL, name=name)
    assert_differs(ours.logits[0], ours.logits[-1])


def masks(dense: Callable[[Tensor], Tensor], encoder: nn.Module) -> tuple[Tensor, Tensor, int]:
    """Masks without and with gradients, with dense prompts (P, C, h, w), and how often tokens were projected."""
    model = decoder([], None)
    (group,) = encoder(batch(3), (4, 4))
    group = group.with_dense(dense(group.dense.clone()))
    embedding = SAMFeatures(torch.randn(1, CHANNELS, 4, 4, generator=torch.Generator().manual_seed(1)))
    expected = model(embedding, group).logits
    seen = []
    model.transformer.layers[0].cross_attn_image_to_token.q_proj.register_forward_pre_hook(
        lambda _, args: seen.append(len(args[0]))
    )
    with torch.no_grad():
        return model(embedding, group).logits, expected, seen[0]


def test_dense_prompts_that_differ_are_not_shared(encoder: nn.Module) -> None:
    ours, expected, projected = masks(lambda dense: dense + torch.arange(3.0).view(3, 1, 1, 1), encoder)
    assert projected == 3 and torch.equal(ours, expected)


def test_parameters_keep_their_names() -> None:
    from segment_anything.modeling import TwoWayTransformer

    stock = TwoWayTransformer(embedding_dim=CHANNELS, **DECODER)
    assert list(decoder([], None).transformer.state_dict()) == list(stock.state_dict())


def test_prompt_written_for_each_image_is_shared() -> None:
    """SSMODC gives all prompts of an image the same dense prompt."""
    from mmseg.registry import MODELS

    from tests.models.small import config, images, randomise, sample
    from tests.test_random_mix import STAGES

    model = MODELS.build(config(64, prompt_stages=[dict(type='SSMODCPromptHead', **STAGES['SSMODCPromptHead'])])).eval()
    randomise(model)
    boxes = Prompts.create(boxes=[[5, 5, 40, 40], [10, 20, 50, 60]])
    shapes = []
    model.mask_decoder.transformer.layers[0].cross_attn_image_to_token.q_proj.register_forward_pre_hook(
        lambda _, args: shapes.append(len(args[0]))
    )
    inputs, samples = images(2, 64, 64), [sample(boxes), sample(boxes)]
    with torch.no_grad():
        ours = model._forward(inputs, samples).logits
    expected = model._forward(inputs, samples).logits
    assert shapes == [2, 4]  # images, then prompts
    assert_close(ours, expected, MODEL)
