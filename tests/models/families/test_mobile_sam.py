"""MobileSAM's encoder against the one in HQ-SAM's package."""

from __future__ import annotations

import torch
from analysis.family_goldens import PROMPTS, image, named_weights
from mmseg.registry import MODELS

from mmsam_ext.models.segmentors import PromptableSegmentor
from tests.models.families.golden import golden, predict
from tests.models.small import CHANNELS, DECODER, config, segmentor
from tests.naming import raises_naming
from tests.numeric import MODEL, assert_close

GOLDEN_ARCH = dict(embed_dims=(8, 16, 20, 320), depths=(1, 1, 2, 1), num_heads=(2, 2, 2, 4), window_sizes=(7, 7, 14, 7))
ARCH = dict(embed_dims=(8, 16, 16, 16), depths=(1, 1, 1, 1), num_heads=(2, 2, 2, 2), window_sizes=(7, 7, 14, 7))
BACKBONE = dict(type='TinyViTImageEncoder', arch=ARCH, out_channels=CHANNELS)


def mobile(**changes) -> PromptableSegmentor:
    return MODELS.build(config(backbone=BACKBONE, **changes)).eval()


@torch.no_grad()
def test_encoder_is_that_of_the_package() -> None:
    weights, expected = golden('mobile_sam')
    encoder = MODELS.build(dict(type='TinyViTImageEncoder', arch=GOLDEN_ARCH, out_indices=(2,))).eval()
    encoder.load_state_dict(dict(weights), strict=True)
    early, embedding = encoder(image(1, 1024, 1024))
    assert_close(embedding[0, ::16, ::5, ::5], expected['embedding'], MODEL)
    assert_close(early[0, :, ::5, ::5].permute(1, 2, 0)[..., ::4], expected['early'], MODEL)


@torch.no_grad()
def test_biases_loaded_after_a_prediction_count() -> None:
    """timm keeps the attention biases of the first call in evaluation."""
    first, second = mobile(), mobile()
    first.extract_feat(image())
    for module in second.backbone.trunk.modules():
        if hasattr(module, 'attention_biases'):
            module.attention_biases.normal_()
    first.load_state_dict(second.state_dict())
    assert torch.equal(first.extract_feat(image()).embedding, second.extract_feat(image()).embedding)


def test_prompts_and_masks_are_those_of_sam() -> None:
    """All but the encoder comes from a SAM; any size in multiples of 16 does."""
    model = mobile()
    sam = segmentor().state_dict()
    model.load_state_dict({**model.state_dict(), **{k: v for k, v in sam.items() if not k.startswith('backbone.')}})
    for name in PROMPTS:
        assert predict(model, image(2, 112, 112), name).logits.shape == (2, 4, 28, 28)


def test_hq_head_on_it() -> None:
    backbone = dict(BACKBONE, out_indices=(2,))
    decoder = dict(type='HQMaskDecoder', early_dim=16, transformer_dim=CHANNELS, **DECODER)
    model = MODELS.build(config(backbone=backbone, mask_decoder=decoder)).eval()
    assert torch.isfinite(predict(model, image(), 'box').logits).all()


def test_counts() -> None:
    """MobileSAM's encoder without its classifier; counted in the package, too."""
    with torch.device('meta'):
        encoder = MODELS.build(dict(type='TinyViTImageEncoder'))
    assert sum(p.numel() for p in encoder.parameters()) == 5_743_892


def test_bad_settings() -> None:
    with raises_naming(ValueError, 'edge_sam', 'mobile_sam'):
        MODELS.build(dict(type='TinyViTImageEncoder', arch='edge_sam'))
    with raises_naming(ValueError, '(0,)', '3'):
        MODELS.build(dict(type='TinyViTImageEncoder', arch=ARCH, out_indices=(0,)))
    with raises_naming(ValueError, '(120, 128)', 'size_divisor=16'):
        mobile().extract_feat(torch.zeros(1, 3, 120, 128))


def test_prediction_is_folded_and_in_place_but_equal() -> None:
    """Without gradients batch norms are folded into convolutions; the image is not changed by what works in place."""
    encoder = MODELS.build(dict(BACKBONE, out_indices=(1, 2, 3))).eval()
    encoder.load_state_dict(named_weights({name: value.shape for name, value in encoder.state_dict().items()}))
    given = image()
    with_gradients = encoder(given)
    with torch.no_grad():
        without = encoder(given)
    assert torch.equal(given, image())
    for got, expected in zip(without, with_gradients, strict=True):
        assert_close(got, expected, MODEL)
