"""HQ-SAM against its authors' package, and what plugins, counts and incomplete files do on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from analysis.family_goldens import PROMPTS, image
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS

from mmsam_ext.models.mask_decoders.hq_mask_decoder import HQ_PARTS
from mmsam_ext.models.segmentors import PromptableSegmentor
from tests.models.families.golden import at_golden, golden, predict
from tests.models.small import ARCH, CHANNELS, DECODER, config, randomise, segmentor
from tests.naming import raises_naming
from tests.numeric import MODEL, assert_close, assert_differs

BACKBONE = dict(type='SAMImageEncoder', arch=ARCH, out_indices=(1,))


def hq(**changes) -> PromptableSegmentor:
    decoder = dict(type='HQMaskDecoder', early_dim=48, transformer_dim=CHANNELS, **{**DECODER, **changes})
    return MODELS.build(config(backbone=BACKBONE, mask_decoder=decoder)).eval()


def loaded(**changes) -> PromptableSegmentor:
    model = hq(**changes)
    model.load_state_dict(dict(golden('hq_sam')[0]), strict=False)  # what does not fit is an error all the same
    return model


def test_files_of_hugging_face() -> None:
    """Every weight of a file is in its place.

    transformers 5.24 upscales the image tokens as they enter the two-way transformer, with rows and columns swapped.
    The authors upscale what leaves it. The difference is put in by hand.
    """
    weights, expected = golden('sam_hq_hf')
    model = hq(hq_only=False)
    model.load_state_dict(dict(weights), strict=True)
    model.mask_decoder.transformer.register_forward_hook(
        lambda module, args, output: (output[0], args[0].transpose(2, 3).flatten(2).transpose(1, 2))
    )
    for name in PROMPTS:
        got = predict(model, image(), name)
        assert_close(at_golden(got.logits[0, :1]), expected[name], MODEL, name=name)
        assert_close(got.iou[0, :1], expected[f'{name}, iou'], MODEL)


@pytest.mark.parametrize('name', PROMPTS)
def test_masks_are_those_of_the_authors(name: str) -> None:
    """Weights go in under the authors' names. `multimask` is the best of three plus the high-quality mask."""
    _, expected = golden('hq_sam')
    for hq_only, suffix in ((False, ''), (True, ', hq only')):
        got = predict(loaded(hq_only=hq_only), image(), name)
        assert_close(at_golden(got.logits[0, :1]), expected[name + suffix], MODEL, name=name)
        assert_close(got.iou[0, :1], expected[f'{name}{suffix}, iou'], MODEL)
        best = got.iou[0, 1:].argmax() + 1
        assert_close(at_golden(got.logits[0, best])[None], expected[f'{name}, multimask{suffix}'], MODEL)
        assert_close(got.iou[0, best][None], expected[f'{name}, multimask{suffix}, iou'], MODEL)


def test_training_uses_the_high_quality_mask_alone() -> None:
    model = loaded()
    alone, added = (predict(loaded(hq_only=choice), image(), 'box').logits for choice in (True, False))
    assert torch.equal(predict(model, image(), 'box').logits, added)
    assert torch.equal(predict(model.train(), image(), 'box').logits, alone)
    assert_differs(alone, added)


def test_features_of_an_image_serve_all_its_prompts() -> None:
    """Two images in one call give what each gives alone, in chunks too."""
    model, chunked = loaded(), loaded(chunk_size=1)
    inputs = torch.randn(2, 3, 128, 96, generator=torch.Generator().manual_seed(0))
    both = predict(model, inputs, 'point')
    assert_close(predict(model, inputs[1:], 'point').logits[0], both.logits[1], MODEL)
    assert_close(predict(chunked, inputs, 'point').logits, both.logits, MODEL)


@pytest.mark.parametrize(('dim', 'expected'), [(768, 1_071_104), (1024, 1_333_248), (1280, 1_595_392)])
def test_counts(dim: int, expected: int) -> None:
    with torch.device('meta'):
        decoder = MODELS.build(dict(type='HQMaskDecoder', early_dim=dim))
    counts = [sum(p.numel() for p in getattr(decoder, part).parameters()) for part in HQ_PARTS]
    assert sum(counts) == expected


def test_plugins_start_as_identities() -> None:
    plugins = [
        dict(type='DeformableSamplingPlugin', dim=CHANNELS, router=dict(type='DynamicRouter', dim=CHANNELS)),
        dict(type='VRAAdapter', dim=CHANNELS),
        dict(type='MaskTokenPlugin', dim=CHANNELS),
    ]
    model = loaded(plugins=plugins, hq_only=False)
    assert_close(predict(model, image(), 'box').logits, predict(loaded(), image(), 'box').logits, MODEL)


def test_a_plain_sam_trains_but_does_not_predict(tmp_path: Path) -> None:
    """Its high-quality parts are missing as a whole, which a training brings."""
    model = hq()
    torch.save(segmentor().state_dict(), tmp_path / 'sam.pth')
    load_checkpoint(model, str(tmp_path / 'sam.pth'), map_location='cpu')
    with raises_naming(ValueError, 'mask_decoder.hf_token', 'never trained'):
        model.check_trained()


def test_a_file_with_half_of_the_parts() -> None:
    state = {key: value for key, value in golden('hq_sam')[0].items() if 'compress_vit_feat' not in key}
    with raises_naming(ValueError, 'mask_decoder', 'compress_vit_feat'):
        hq().load_state_dict(state)


def test_backbone_without_the_stage() -> None:
    model = hq()
    model.backbone.out_indices = ()
    with raises_naming(ValueError, 'out_indices', '48'):
        predict(model, image(), 'box')
    randomise(model)
    with raises_naming(ValueError, 'hq_only', 'sometimes'):
        hq(hq_only='sometimes')
