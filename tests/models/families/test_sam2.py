"""SAM 2 against the implementation of Hugging Face, and that what is built for SAM works on it."""

from __future__ import annotations

import copy
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from analysis.family_goldens import PROMPTS, SIZES, image, named_weights
from mmseg.registry import MODELS

from mmsam_ext.checkpoints.base import KEY, base_record
from mmsam_ext.models.mask_decoders.stable_choice import stability
from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.structures import PromptBatch, Prompts
from tests.models.families.golden import at_golden, golden, predict
from tests.models.prompts import mixed
from tests.models.small import CHANNELS, DECODER, config, images
from tests.naming import raises_naming
from tests.numeric import MODEL, assert_close

TRUNK = dict(
    embed_dim=16, num_heads=1, stages=(1, 2, 3, 1), window_spec=(8, 4, 6, 3), global_att_blocks=(4,),
    global_pos_size=(3, 3),
)  # fmt: skip
BACKBONE = dict(type='SAM2ImageEncoder', arch=TRUNK, out_channels=CHANNELS)


def sam2(decoder: dict | None = None, **changes) -> PromptableSegmentor:
    settings = config(
        backbone=BACKBONE,
        prompt_encoder=dict(type='SAM2PromptEncoder', embed_dim=CHANNELS),
        mask_decoder=dict(type='SAM2MaskDecoder', transformer_dim=CHANNELS, **DECODER, **(decoder or {})),
        **changes,
    )
    return MODELS.build(settings).eval()


def loaded(**changes) -> PromptableSegmentor:
    model = sam2(**changes)
    model.load_state_dict(dict(golden('sam2_hf')[0]), strict=False)  # what does not fit is an error all the same
    return model


def test_masks_are_those_of_transformers() -> None:
    """Weights go in under the names of its file. The single mask is the one that it chooses by stability."""
    _, expected = golden('sam2_hf')
    model, replaced = loaded(), 0
    for name in PROMPTS:
        got = predict(model, image(), name)
        assert_close(at_golden(got.logits[0, :1]), expected[name], MODEL, name=name)
        assert_close(got.iou[0, :1], expected[f'{name}, iou'], MODEL)
        assert_close(at_golden(got.logits[0, 1:]), expected[f'{name}, multimask'], MODEL, name=name)
        assert_close(got.iou[0, 1:], expected[f'{name}, multimask, iou'], MODEL)
        assert_close(got.object_logits, expected[f'{name}, object'], MODEL)
        replaced += any(torch.equal(got.logits[0, 0], other) for other in got.logits[0, 1:])
    assert replaced  # with random weights hardly any mask is stable


@pytest.mark.parametrize(('height', 'width'), SIZES)
def test_masks_of_other_sizes_are_those_of_transformers(height: int, width: int) -> None:
    """Windows do not divide these sizes, and the position code is resized to them; one of them is not square."""
    _, expected = golden('sam2_hf')
    model = loaded()
    for name in PROMPTS:
        if 'points' in name:
            continue
        got, suffix = predict(model, image(1, height, width), name), f', {height} x {width}'
        assert got.logits.shape[-2:] == (height // 4, width // 4)
        assert_close(at_golden(got.logits[0, :1]), expected[f'{name}{suffix}'], MODEL, name=name)
        assert_close(at_golden(got.logits[0, 1:]), expected[f'{name}, multimask{suffix}'], MODEL, name=name)
        assert_close(got.iou[0, 1:], expected[f'{name}, multimask, iou{suffix}'], MODEL)
        assert_close(got.object_logits, expected[f'{name}, object{suffix}'], MODEL)


def test_stability_is_the_share_between_two_thresholds() -> None:
    """3 pixels above +0.05 and 4 above -0.05; an empty mask is stable."""
    logits = torch.tensor([[[1.0, 0.06, 0.2, 0.0, -0.06]], [[-1.0] * 5]])
    assert stability(logits).tolist() == [0.75, 1.0]


def test_training_keeps_the_single_mask() -> None:
    model, plain = loaded(), loaded(decoder=dict(choose_stable=False))
    single = predict(plain, image(), 'point').logits[:, 0]
    assert torch.equal(predict(model.train(), image(), 'point').logits[:, 0], single)
    assert not torch.equal(predict(model.eval(), image(), 'point').logits[:, 0], single)


@torch.no_grad()
def test_many_images_and_prompts_of_a_size_that_is_not_square() -> None:
    """One call gives what single calls give; high-resolution features go to their own image."""
    model = loaded()
    inputs = images(2, 96, 160)
    prompts = [p.to('cpu') for p in mixed()]
    for p in prompts:
        p.masks = torch.randn(len(p.kinds), 1, 24, 40, generator=torch.Generator().manual_seed(3))
    size = (96, 160)
    together = model.decode(model.extract_feat(inputs), PromptBatch.from_prompts(prompts, size))
    assert together.logits.shape == (7, 4, 24, 40) and together.object_logits.shape == (7,)
    features = model.extract_feat(inputs[1:])
    for row in range(3):
        alone = model.decode(features, PromptBatch.from_prompts([prompts[1][row : row + 1]], size))
        assert_close(alone.logits[0], together.logits[4 + row], MODEL)
        assert_close(alone.object_logits[0], together.object_logits[4 + row], MODEL)


def test_chunks_change_nothing() -> None:
    prompts = [Prompts.create(boxes=[[5.0, 6, 60, 70 + i] for i in range(5)])]
    results = []
    for size in (None, 2):
        model = loaded(decoder=dict(chunk_size=size))
        with torch.no_grad():
            results.append(model.decode(model.extract_feat(image()), PromptBatch.from_prompts(prompts, (128, 128))))
    assert_close(results[1].logits, results[0].logits, MODEL)


PARTS = dict(tiny=31_440_721, small=38_538_577, base_plus=73_328_401, large=216_924_865)


@pytest.mark.parametrize('arch', PARTS)
def test_counts(arch: str) -> None:
    with torch.device('meta'):
        decoder = MODELS.build(dict(type='SAM2MaskDecoder'))
        prompts = MODELS.build(dict(type='SAM2PromptEncoder'))
        backbone = MODELS.build(dict(type='SAM2ImageEncoder', arch=arch))
    counts = [sum(p.numel() for p in part.parameters()) for part in (decoder, prompts, backbone)]
    assert counts[:2] == [4_215_109, 6_220] and sum(counts) == PARTS[arch]


def test_prediction_in_place_is_equal() -> None:
    """What works in place without gradients changes neither the image nor the levels of the pyramid."""
    model, given = loaded(), image()
    with_gradients = model.backbone(given)
    with torch.no_grad():
        without = model.backbone(given)
    assert torch.equal(given, image())
    for got, expected in zip(without, with_gradients, strict=True):
        assert_close(got, expected, MODEL)


def test_self_draft_refines() -> None:
    """Both decoders take the weights of the one; the draft is the plain prediction."""
    settings = config(backbone=BACKBONE, prompt_encoder=dict(type='SAM2PromptEncoder', embed_dim=CHANNELS))
    decoder = dict(type='SAM2MaskDecoder', transformer_dim=CHANNELS, **DECODER)
    settings['mask_decoder'] = dict(type='SelfDraftDecoder', decoder=decoder)
    model = MODELS.build(settings).eval()
    model.load_state_dict(dict(golden('sam2_hf')[0]))
    got = predict(model, image(), 'box')
    assert torch.equal(got.drafts[0].logits, predict(loaded(), image(), 'box').logits)
    assert torch.isfinite(got.logits).all()


def test_a_copy_uses_its_own_weights() -> None:
    """The hooks of a deep copy (EMA makes one) point at the copy."""
    model = loaded()
    twin = copy.deepcopy(model)
    before = predict(model, image(), 'box').logits
    twin.mask_decoder.conv_s0.weight.data.zero_()
    assert torch.equal(predict(model, image(), 'box').logits, before)
    assert not torch.equal(predict(twin, image(), 'box').logits, before)


def test_gradients_reach_every_part() -> None:
    model = loaded().train()
    batch = PromptBatch.from_prompts(
        [Prompts.create(boxes=[[10, 20, 90, 70]], masks=torch.randn(1, 1, 32, 32))], (128, 128)
    )
    got = model.decode(model.extract_feat(image()), batch)
    (got.logits.square().mean() + got.iou.sum() + got.object_logits.sum()).backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert without <= {
        'prompt_encoder.no_mask_embed.weight',
        *(f'prompt_encoder.point_embeddings.{i}.weight' for i in range(4)),
    }


def test_sizes_that_do_not_fit() -> None:
    with raises_naming(ValueError, '(112, 128)', 'size_divisor=32'):
        loaded().extract_feat(torch.zeros(1, 3, 112, 128))
    with raises_naming(ValueError, 'huge', 'base_plus'):
        MODELS.build(dict(type='SAM2ImageEncoder', arch='huge'))


def test_the_decoder_of_sam2_on_the_encoder_of_sam() -> None:
    model = MODELS.build(config(mask_decoder=dict(type='SAM2MaskDecoder', transformer_dim=CHANNELS, **DECODER))).eval()
    with raises_naming(ValueError, 'SAM2MaskDecoder', 'SAM2ImageEncoder', 'SAMMaskDecoder'):
        predict(model, image(), 'box')
    with raises_naming(ValueError, 'SAM (48 channels) with the mask decoder of SAM 2', 'model.mask_decoder'):
        model.load_state_dict(dict(golden('sam2_hf')[0]))


def meta_names(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names of Meta's files, made from ours."""
    renamed = {}
    for key, value in sam2().state_dict().items():
        value = weights[key]
        key = key.replace('backbone.no_mem_embed', 'no_mem_embed').replace('backbone.', 'image_encoder.')
        key = key.replace('mlp.fc1', 'mlp.layers.0').replace('mlp.fc2', 'mlp.layers.1')
        key = key.replace('mlp.lin1', 'mlp.layers.0').replace('mlp.lin2', 'mlp.layers.1')
        if key.startswith('image_encoder.neck.convs.'):
            key = f'{key[:26]}.conv{key[26:]}'
        if key.startswith(('prompt_encoder.', 'mask_decoder.')):
            key = f'sam_{key}'
        renamed[key] = value
    return renamed


VIDEO = {
    'memory_attention.norm.weight': torch.zeros(2),
    'maskmem_tpos_enc': torch.zeros(7),
    'no_obj_ptr': torch.zeros(1),
}


def test_files_of_meta_load_without_their_video_memory() -> None:
    ours = named_weights({key: value.shape for key, value in sam2().state_dict().items()})
    model = sam2()
    model.load_state_dict({**meta_names(ours), **VIDEO}, strict=True)
    assert all(torch.equal(value, ours[key]) for key, value in model.state_dict().items())


def test_a_trained_part_stands_on_a_file_of_meta(tmp_path: Path) -> None:
    """A checkpoint of plugins alone names its base, which is found, unwrapped and renamed."""
    ours = named_weights({key: value.shape for key, value in sam2().state_dict().items()})
    torch.save(dict(model={**meta_names(ours), **VIDEO}), tmp_path / 'sam2.pt')
    plugin = dict(type='VRAAdapter', dim=CHANNELS)
    part = OrderedDict({f'mask_decoder.plugins.0.beta.{block}': torch.full((CHANNELS,), 0.5) for block in range(2)})
    part._metadata = {'': {KEY: base_record(str(tmp_path / 'sam2.pt'))}}
    model = sam2(decoder=dict(plugins=[plugin]))
    model.load_state_dict(part, strict=True)
    assert torch.equal(model.mask_decoder.conv_s0.weight, ours['mask_decoder.conv_s0.weight'])
    assert torch.equal(model.mask_decoder.plugins[0].beta['1'], part['mask_decoder.plugins.0.beta.1'])


def test_the_encoder_alone_takes_its_part_of_a_file() -> None:
    ours = named_weights({key: value.shape for key, value in sam2().state_dict().items()})
    for state in (meta_names(ours), golden('sam2_hf')[0]):
        encoder = MODELS.build(BACKBONE)
        encoder.load_state_dict(dict(state), strict=True)


def test_a_file_of_the_video_memory_alone() -> None:
    with raises_naming(ValueError, 'video memory', 'sam2.1_hiera_small.pt'):
        sam2().load_state_dict(dict(VIDEO))


@torch.no_grad()
def test_hq_sam2_adds_the_mask_of_its_token() -> None:
    """Against the formula of its code, written here for one prompt, with the token where its authors have it."""
    decoder = dict(type='HQSAM2MaskDecoder', transformer_dim=CHANNELS, **DECODER)
    settings = config(backbone=BACKBONE, prompt_encoder=dict(type='SAM2PromptEncoder', embed_dim=CHANNELS))
    model = MODELS.build({**settings, 'mask_decoder': decoder}).eval()
    model.load_state_dict(named_weights({key: value.shape for key, value in model.state_dict().items()}))
    got, decoder = predict(model, image(), 'box'), model.mask_decoder
    features = model.extract_feat(image())
    batch = PromptBatch.from_prompts([Prompts.create(boxes=[[10, 20, 90, 70]])], (128, 128))
    (prompt,) = model.prompt_encoder(batch, (8, 8))
    tables = (decoder.obj_score_token, decoder.iou_token, decoder.mask_tokens, decoder.hf_token)
    tokens = torch.cat([*(table.weight for table in tables), prompt.sparse[0]])[None]
    hidden, image_tokens = decoder.transformer(features.embedding + prompt.dense, prompt.image_pe, tokens)
    first, norm, act, second, last = decoder.output_upscaling
    upscaled = image_tokens.transpose(1, 2).view(1, CHANNELS, 8, 8)
    upscaled = act(norm(deconvolve(first, upscaled) + decoder.projected_stage(features, 1)))
    upscaled = last(deconvolve(second, upscaled) + decoder.projected_stage(features, 0))
    masks = torch.stack(
        [
            (mlp(hidden[:, 2 + index])[:, :, None, None] * upscaled).sum(1)[0]
            for index, mlp in enumerate(decoder.output_hypernetworks_mlps)
        ]
    )
    token = decoder.hf_mlp(hidden[:, 6])[:, :, None, None]
    high_quality = (token * decoder.embedding_maskfeature(upscaled)).sum(1)[0]
    assert_close(got.logits[0, 1:], masks[1:] + high_quality, MODEL)
    assert_close(got.object_logits, decoder.pred_obj_score_head(hidden[:, 0])[:, 0], MODEL)
    assert_close(predict(model.train(), image(), 'box').logits[0, 0], high_quality, MODEL)


def deconvolve(layer: torch.nn.ConvTranspose2d, inputs: torch.Tensor) -> torch.Tensor:
    """The layer without its hooks."""
    return torch.nn.functional.conv_transpose2d(inputs, layer.weight, layer.bias, stride=2)


def test_hq_sam2_counts_and_takes_files_of_sam2() -> None:
    with torch.device('meta'):
        decoder = MODELS.build(dict(type='HQSAM2MaskDecoder'))
    assert sum(p.numel() for p in decoder.parameters()) == 4_215_109 + 177_152
    model = MODELS.build(
        config(
            backbone=BACKBONE,
            prompt_encoder=dict(type='SAM2PromptEncoder', embed_dim=CHANNELS),
            mask_decoder=dict(type='HQSAM2MaskDecoder', transformer_dim=CHANNELS, **DECODER),
        )
    )
    model.load_state_dict(dict(golden('sam2_hf')[0]), strict=False)
    added = {k: v for k, v in model.mask_decoder.state_dict().items() if k.startswith(('hf_', 'embedding_maskfeature'))}
    extra = {f'sam_mask_decoder.{key}': torch.zeros_like(value) for key, value in added.items()}
    meta = meta_names(dict(sam2().state_dict()))
    model.load_state_dict({**meta, **extra}, strict=True)
    assert not model.mask_decoder.hf_token.weight.any()
