"""Our image encoder against ``segment_anything``'s on the same random weights."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from mmseg.registry import MODELS
from segment_anything.modeling import ImageEncoderViT
from torch import nn

from mmsam_ext.models.backbones.sam_image_encoder import ARCHS, SAMImageEncoder
from mmsam_ext.models.layers import fused_attention
from tests.models.small import ARCH, images, randomise, stock_encoder
from tests.naming import raises_naming
from tests.numeric import LAYER, MODEL, assert_close


def pair(**options) -> tuple[ImageEncoderViT, SAMImageEncoder]:
    stock = stock_encoder()
    ours = SAMImageEncoder(arch=ARCH, **options)
    ours.load_state_dict(stock.state_dict(), strict=True)
    return stock, ours.eval()


@pytest.mark.parametrize('grad', [False, True], ids=['masked', 'folded'])
def test_equals_stock_with_padded_windows_and_two_images(grad):
    stock, ours = pair()
    x = images(2)
    with torch.set_grad_enabled(grad):
        expected, (got,) = stock(x), ours(x)
    assert expected.std() > 0.1 and (expected[0] - expected[1]).abs().max() > 0.1  # it depends on the image
    assert_close(got, expected, MODEL)


def test_random_weights_make_relative_positions_matter():
    """Random weights make relative positions matter; otherwise the comparisons above would also pass without them."""
    stock, ours = pair()
    for name, parameter in ours.named_parameters():
        if 'rel_pos' in name:
            parameter.data.zero_()
    with torch.no_grad():
        assert (ours(images())[0] - stock(images())).abs().max() > 1e-2


def test_bias_in_several_chunks_equals_stock(monkeypatch):
    monkeypatch.setattr(
        fused_attention, 'BIAS_ELEMENTS', 4 * 64**2 + 1
    )  # four of the six heads of two images at a time
    stock, ours = pair()
    with torch.no_grad():
        assert_close(ours(images(2))[0], stock(images(2)), MODEL)


@pytest.mark.parametrize('with_cp', [False, True, (0, 2)])
def test_gradients_equal_stock(with_cp):
    stock, ours = pair(with_cp=with_cp)
    ours.train()  # no dropout in it: the mode only switches checkpointing on
    weight = torch.randn(2, 32, 8, 8, generator=torch.Generator().manual_seed(3))
    gradients = []
    for model in (stock, ours):
        x = images(2).requires_grad_()
        out = model(x)
        ((out[0] if isinstance(out, tuple) else out) * weight).sum().backward()
        gradients.append({'input': x.grad} | {name: p.grad for name, p in model.named_parameters()})
    assert gradients[0].keys() == gradients[1].keys()
    for name, expected in gradients[0].items():
        assert expected.abs().max() > 0, name
        assert_close(gradients[1][name], expected, MODEL, name=name)


@pytest.mark.parametrize(('with_cp', 'calls'), [(False, [1, 1, 1]), (True, [2, 2, 2]), ((0, 2), [2, 1, 2])])
def test_only_checkpointed_blocks_run_twice(with_cp, calls):
    _, ours = pair(with_cp=with_cp)
    seen = [0] * 3
    for index, block in enumerate(ours.blocks):
        block.register_forward_pre_hook(lambda *_, index=index: seen.__setitem__(index, seen[index] + 1))
    ours.train()(images())[-1].sum().backward()
    assert seen == calls


def test_gradient_reaches_relative_positions_alone():
    """Relative positions get a gradient even if nothing before them is trained and queries need none."""
    stock, ours = pair()
    for model in (stock, ours):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_('blocks.0.attn.rel_pos' in name)
        out = model(images())
        (out[0] if isinstance(out, tuple) else out).sum().backward()
    for side in ('rel_pos_h', 'rel_pos_w'):
        expected, got = getattr(stock.blocks[0].attn, side).grad, getattr(ours.blocks[0].attn, side).grad
        assert_close(got, expected, MODEL)


@pytest.mark.parametrize(('height', 'width'), [(128, 64), (64, 128), (160, 96), (256, 256)])
def test_other_sizes_and_both_formulations_agree(height, width):
    _, ours = pair()
    x = images(2, height, width)
    with torch.no_grad():
        (masked,) = ours(x)
    (folded,) = ours(x)
    assert masked.shape == (2, 32, height // 16, width // 16)
    assert_close(folded, masked, MODEL)


def test_position_embedding_is_interpolated_to_what_stock_would_be_built_with():
    """Stock SAM with interpolated parameters is the independent answer at another square size."""
    stock, ours = pair()
    larger = stock_encoder(img_size=192)
    state = stock.state_dict()
    grid = state['pos_embed'].permute(0, 3, 1, 2)
    state['pos_embed'] = nn.functional.interpolate(grid, (12, 12), mode='bicubic').permute(0, 2, 3, 1)
    for key in [key for key in state if 'blocks.1.attn.rel_pos' in key]:  # the global block
        table = state[key].t()[None]
        state[key] = nn.functional.interpolate(table, 23, mode='linear')[0].t()
    larger.load_state_dict(state)
    with torch.no_grad():
        assert_close(ours(images(1, 192, 192))[0], larger(images(1, 192, 192)), MODEL)


def test_out_indices_are_block_outputs():
    stock, ours = pair(out_indices=(0, 2))
    seen = []
    for block in stock.blocks:
        block.register_forward_hook(lambda module, args, output: seen.append(output))
    with torch.no_grad():
        stock(images())
        first, last, embedding = ours(images())
    assert_close(first, seen[0].permute(0, 3, 1, 2), MODEL)
    assert_close(last, seen[2].permute(0, 3, 1, 2), MODEL)
    assert embedding.shape == (1, 32, 8, 8)


@pytest.mark.parametrize(('arch', 'builder'), [('base', 'vit_b'), ('large', 'vit_l'), ('huge', 'vit_h')])
def test_keys_and_shapes_of_every_arch_equal_stock(arch, builder):
    from segment_anything import sam_model_registry

    with torch.device('meta'):
        stock = sam_model_registry[builder]()
        ours = MODELS.build(
            dict(
                type='PromptableSegmentor',
                backbone=dict(type='SAMImageEncoder', arch=arch),
                prompt_encoder=dict(type='SAMPromptEncoder'),
                mask_decoder=dict(type='SAMMaskDecoder'),
            )
        )
    official = stock.state_dict()
    renamed = {key.replace('image_encoder.', 'backbone.'): tuple(value.shape) for key, value in official.items()}
    assert {key: tuple(value.shape) for key, value in ours.state_dict().items()} == renamed
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in stock.parameters())
    ours.load_state_dict(official, strict=True)
    global_blocks = [i for i, block in enumerate(stock.image_encoder.blocks) if block.window_size == 0]
    assert global_blocks == [i for i, block in enumerate(ours.backbone.blocks) if block.window_size == 0]


def test_base_has_the_published_number_of_parameters():
    with torch.device('meta'):
        encoder = SAMImageEncoder('base')
    assert sum(p.numel() for p in encoder.parameters()) == 89_670_912


def test_tiny_has_a_convolutional_stem():
    encoder = SAMImageEncoder('tiny').eval()
    randomise(encoder)
    with torch.no_grad():
        (out,) = encoder(images(1, 64, 96))
    assert out.shape == (1, 128, 4, 6) and torch.isfinite(out).all()
    # The stem maps (B, 3, 16 h, 16 w) to (B, h, w, C): a pixel far away does not reach the first cell.
    x = images(1, 128, 128)
    changed = x.clone()
    changed[..., 64:, 64:] += 10
    with torch.no_grad():
        difference = (encoder.patch_embed(changed) - encoder.patch_embed(x)).abs().amax((0, 3))
    assert difference[:3, :3].max() == 0 and difference[5:, 5:].min() > 0


def test_attention_without_relative_positions():
    stock = ImageEncoderViT(
        **dict(ARCH, depth=1), patch_size=16, norm_layer=partial(nn.LayerNorm, eps=1e-6), use_rel_pos=False
    )
    randomise(stock)
    attention = stock.blocks[0].attn
    x = torch.randn(1, 3, 4, 48)
    with torch.no_grad():
        expected = attention(x)
        attention.__class__ = fused_attention.FusedAttention
        assert_close(attention(x), expected, LAYER)


def test_errors():
    with raises_naming(ValueError, 'arch', 'vit_b', "['base', 'huge', 'large', 'tiny']"):
        SAMImageEncoder('vit_b')
    with raises_naming(ValueError, 'with_cp', '(3,)', '3 blocks'):
        SAMImageEncoder(ARCH, with_cp=(3,))
    with raises_naming(ValueError, 'out_indices', '(3,)', '3 blocks'):
        SAMImageEncoder(ARCH, out_indices=(3,))
    with raises_naming(ValueError, '(100, 128)', 'multiples of 16', 'size_divisor=16'):
        SAMImageEncoder(ARCH)(images(1, 100, 128))
    assert set(ARCHS) == {'tiny', 'base', 'large', 'huge'}
