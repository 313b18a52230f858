"""Decoder plugins: where they sit, what they see, and that a copy of a model is a copy."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmsam_ext.models.mask_decoders import DecoderContext, DecoderPlugin
from mmsam_ext.structures import PromptBatch, Prompts
from tests.models.prompts import mixed
from tests.models.small import CHANNELS, SIZE, config, images, segmentor
from tests.naming import raises_naming
from tests.numeric import LAYER, OPERATION, assert_close


@MODELS.register_module(force=True)
class RecordingPlugin(DecoderPlugin):
    """Records its inputs and changes nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, int, dict[str, Any]]] = []

    def _note(self, kind: str, index: int, context: DecoderContext, **tensors: Tensor) -> None:
        tensors |= dict(
            key_pe=context.key_pe,
            tokens=context.tokens,
            image_index=context.image_index,
            embedding=context.features.embedding,
        )
        self.seen.append((kind, index, {name: value.detach().clone() for name, value in tensors.items()}))

    def before_token_to_image(self, site, queries, keys, values, context):
        assert context.size == (8, 8)
        self._note('attention', site, context, queries=queries, keys=keys, values=values)
        return super().before_token_to_image(site, queries, keys, values, context)

    def after_block(self, index, queries, keys, context):
        self._note('block', index, context, queries=queries, keys=keys)
        return super().after_block(index, queries, keys, context)


@MODELS.register_module(force=True)
class ScalingPlugin(DecoderPlugin):
    """Scales the values of one site, or of all; a parameter, so that it is trained and saved."""

    def __init__(self, scale: float = 1.0, site: int | None = None) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale))
        self.site = site

    def before_token_to_image(self, site, queries, keys, values, context):
        return queries, keys, values * self.scale if self.site in (None, site) else values


@MODELS.register_module(force=True)
class ShiftingPlugin(DecoderPlugin):
    """Adds to the image tokens after each block."""

    def after_block(self, index, queries, keys, context):
        return queries, keys + 1.0


def with_plugins(*plugins: dict, **changes: Any):
    model = segmentor(decoder=dict(plugins=plugins, **changes.pop('decoder', {})), **changes)
    for plugin in model.mask_decoder.plugins:
        if hasattr(plugin, 'scale'):
            plugin.scale.data.fill_(1.0)
    plain = segmentor(**changes)
    model.load_state_dict(plain.state_dict(), strict=False)
    return model, plain


def logits(model, prompts=None) -> Tensor:
    return model.decode(
        model.extract_feat(images(2)), PromptBatch.from_prompts(prompts or mixed(), (SIZE, SIZE))
    ).logits


@torch.no_grad()
def test_identity_is_bitwise_and_sees_every_site():
    model, plain = with_plugins(dict(type='RecordingPlugin'))
    prompts = [Prompts.create(boxes=[[1, 2, 30, 40]] * 2), Prompts.create(boxes=[[5, 6, 70, 80]])]
    assert torch.equal(logits(model, prompts), logits(plain, prompts))
    (recorder,) = model.mask_decoder.plugins
    # One token-to-image attention in each of two blocks, one after them; in the order of computation.
    assert [(kind, index) for kind, index, _ in recorder.seen] == [
        ('attention', 0), ('block', 0), ('attention', 1), ('block', 1), ('attention', 2),
    ]  # fmt: skip
    tokens = 1 + 4 + 2  # IoU, masks, corners
    for kind, _, seen in recorder.seen:
        assert seen['queries'].shape == (3, tokens, CHANNELS)
        assert seen['keys'].shape == seen['key_pe'].shape == (3, 64, CHANNELS)
        assert seen['tokens'].shape == (3, tokens, CHANNELS)
        assert seen['image_index'].tolist() == [0, 0, 1] and seen['embedding'].shape == (2, CHANNELS, 8, 8)
        if kind == 'attention':  # keys come with position code, values without
            assert_close(seen['keys'] - seen['values'], seen['key_pe'], LAYER)
    # Before the first block the values are the image tokens: embedding + dense prompt, row by row of the image.
    dense = model.prompt_encoder.no_mask_embed.weight
    first = recorder.seen[0][2]
    expected = first['embedding'][1].flatten(1).t() + dense
    assert_close(first['values'][2], expected, LAYER)
    assert_close(first['key_pe'][0], model.prompt_encoder.pe_layer((8, 8)).flatten(1).t(), LAYER)
    assert model.mask_decoder.context is None  # nothing is kept


@torch.no_grad()
def test_edits_reach_the_output():
    model, plain = with_plugins(dict(type='ScalingPlugin', site=2))
    before = logits(plain)
    assert torch.equal(logits(model), before)
    model.mask_decoder.plugins[0].scale.fill_(0.0)
    assert (logits(model) - before).abs().max() > 1e-3
    # Site 2 is the final attention: without values, its output projection's bias is all that it adds.
    final = plain.mask_decoder.transformer.final_attn_token_to_image
    final.v_proj.weight.zero_(), final.v_proj.bias.zero_()
    model.mask_decoder.transformer.final_attn_token_to_image.v_proj.bias.zero_()
    assert_close(logits(model), logits(plain), LAYER)
    shifted, plain = with_plugins(dict(type='ShiftingPlugin'))
    assert (logits(shifted) - logits(plain)).abs().max() > 1e-3


@torch.no_grad()
def test_plugins_apply_in_order():
    recorder = dict(type='RecordingPlugin')
    model, _ = with_plugins(dict(type='ScalingPlugin'), recorder)
    model.mask_decoder.plugins[0].scale.fill_(2.0)
    other, _ = with_plugins(recorder, dict(type='ScalingPlugin'))
    other.mask_decoder.plugins[1].scale.fill_(2.0)
    prompts = [Prompts.empty(), Prompts.empty()]
    assert torch.equal(logits(model, prompts), logits(other, prompts))
    after = model.mask_decoder.plugins[1].seen[0][2]['values']
    before = other.mask_decoder.plugins[0].seen[0][2]['values']
    assert torch.equal(after, 2 * before)


@torch.no_grad()
def test_a_deep_copy_has_its_own_plugins():
    """A deep copy, as EMA makes it, runs its own plugins and not those of the original."""
    model, _ = with_plugins(dict(type='ScalingPlugin'))
    before = logits(model)
    copied = copy.deepcopy(model)
    copied.mask_decoder.plugins[0].scale.fill_(0.0)
    assert torch.equal(logits(model), before)
    changed = logits(copied)
    assert (changed - before).abs().max() > 1e-3
    model.mask_decoder.plugins[0].scale.fill_(5.0)
    assert torch.equal(logits(copied), changed)


@pytest.mark.parametrize('with_cp', [False, True])
def test_gradients_with_checkpointing(with_cp):
    """With checkpointed activations, plugins find their context again in the backward pass."""
    model, _ = with_plugins(dict(type='ScalingPlugin'), dict(type='RecordingPlugin'), decoder=dict(with_cp=with_cp))
    model.train()
    logits(model).square().mean().backward()
    expected, _ = with_plugins(dict(type='ScalingPlugin'))
    logits(expected.train()).square().mean().backward()
    got, want = dict(model.named_parameters()), dict(expected.named_parameters())
    assert got.keys() == want.keys() and want['mask_decoder.plugins.0.scale'].grad.abs() > 0
    for name, parameter in want.items():
        if parameter.grad is not None:
            assert_close(got[name].grad, parameter.grad, OPERATION, name=name)
    recomputed = 5 if with_cp else 0
    groups = 4
    assert len(model.mask_decoder.plugins[1].seen) >= groups * (5 + recomputed) - groups * 1


def test_plugins_are_saved_and_loaded(tmp_path):
    model, plain = with_plugins(dict(type='ScalingPlugin'))
    assert set(model.state_dict()) - set(plain.state_dict()) == {'mask_decoder.plugins.0.scale'}
    model.mask_decoder.plugins[0].scale.data.fill_(0.25)
    torch.save(model.state_dict(), tmp_path / 'model.pth')
    fresh = MODELS.build(config(decoder=dict(plugins=[dict(type='ScalingPlugin')])))
    fresh.load_state_dict(torch.load(tmp_path / 'model.pth'))
    with torch.no_grad():
        assert torch.equal(logits(fresh.eval()), logits(model))


def test_error_for_a_transformer_without_such_attention():
    from mmsam_ext.models.mask_decoders.plugins import install_plugins

    decoder = segmentor(decoder=dict(plugins=[dict(type='ScalingPlugin')])).mask_decoder
    decoder.transformer = nn.Transformer(8, 1, 1, 1)
    with raises_naming(ValueError, 'plugins', 'ScalingPlugin', 'Transformer'):
        install_plugins(decoder)
