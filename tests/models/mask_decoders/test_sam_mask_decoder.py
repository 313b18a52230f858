"""Our mask decoder and the whole way from image to masks against ``segment_anything``, on the same random weights."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from segment_anything.modeling import Sam

from mmsam_ext.models.mask_decoders import SAMMaskDecoder, sam_mask_decoder
from mmsam_ext.structures import PromptBatch, PromptKind, Prompts, SAMFeatures
from tests.models.prompts import mixed, stock_call
from tests.models.small import ARCH, CHANNELS, SIZE, config, images, randomise, segmentor, segmentor_of, stock_sam
from tests.naming import raises_naming
from tests.numeric import LAYER, MODEL, OPERATION, assert_close

CASES = {
    'one point': dict(points=[[[40, 50]]], point_labels=[[1]]),
    'three points': dict(points=[[[40, 50], [10, 20], [100, 90]]], point_labels=[[1, 0, 1]]),
    'box': dict(boxes=[[20, 30, 90, 100]]),
    'box and points': dict(points=[[[40, 50], [10, 20]]], point_labels=[[1, 0]], boxes=[[20, 30, 90, 100]]),
    'mask': dict(masks=torch.randn(1, 1, 32, 32, generator=torch.Generator().manual_seed(1))),
    'box and mask': dict(boxes=[[20, 30, 90, 100]], masks=torch.ones(1, 1, 32, 32)),
}


def stock_masks(sam: Sam, image: torch.Tensor, prompts: Prompts, row: int) -> tuple[torch.Tensor, torch.Tensor]:
    """All four masks (4, 32, 32) and their IoUs (4,) for one prompt on one image (1, 3, H, W)."""
    sparse, dense = stock_call(sam.prompt_encoder, prompts, row)
    outputs = [
        sam.mask_decoder(
            image_embeddings=sam.image_encoder(image),
            image_pe=sam.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        for multimask in (False, True)
    ]
    return tuple(torch.cat(parts, 1)[0] for parts in zip(*outputs, strict=True))


@pytest.mark.parametrize('case', CASES)
@torch.no_grad()
def test_logits_equal_stock(case):
    sam = stock_sam()
    ours = segmentor_of(sam)
    prompts = Prompts.create(**CASES[case])
    logits, iou = stock_masks(sam, images(), prompts, 0)
    got = ours.decode(ours.extract_feat(images()), PromptBatch.from_prompts([prompts], (SIZE, SIZE)))
    assert logits.std() > 0.05
    assert_close(got.logits[0], logits, MODEL)
    assert_close(got.iou[0], iou, MODEL)


@torch.no_grad()
def test_decoder_alone_equals_stock_to_rounding():
    sam = stock_sam()
    ours = segmentor_of(sam)
    features = ours.extract_feat(images())
    prompts = Prompts.create(**CASES['three points'])
    sparse, dense = stock_call(sam.prompt_encoder, prompts, 0)
    expected, iou = sam.mask_decoder(features.embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense, True)
    got = ours.decode(features, PromptBatch.from_prompts([prompts], (SIZE, SIZE)))
    assert_close(got.logits[:, 1:], expected, LAYER)
    assert_close(got.iou[:, 1:], iou, LAYER)


@pytest.mark.parametrize('chunk_size', [None, 1, 2, 'auto'])
@torch.no_grad()
def test_mixed_batch_equals_stock_one_by_one_in_order(chunk_size):
    sam = stock_sam()
    ours = segmentor_of(sam, decoder=dict(chunk_size=chunk_size))
    batch = [*mixed(), Prompts.empty(2)]
    inputs = images(3)
    got = ours.decode(ours.extract_feat(inputs), PromptBatch.from_prompts(batch, (SIZE, SIZE)))
    assert got.logits.shape == (9, 4, 32, 32) and got.upscaled is None
    place = 0
    for image, prompts in enumerate(batch):
        for row in range(len(prompts)):
            logits, iou = stock_masks(sam, inputs[image : image + 1], prompts, row)
            assert_close(got.logits[place], logits, MODEL)
            assert_close(got.iou[place], iou, MODEL)
            place += 1


@torch.no_grad()
def test_automatic_chunks_on_a_cpu(monkeypatch):
    """On a CPU, as many prompts are decoded at a time as CPU_CHUNK_VALUES allows; with gradients, all at once."""
    ours = segmentor()
    calls = []
    ours.mask_decoder.output_upscaling.register_forward_pre_hook(lambda _, args: calls.append(len(args[0])))
    prompts = [Prompts.create(boxes=[[1, 2, 30, 40]] * 7)]
    features = ours.extract_feat(images())
    monkeypatch.setattr(sam_mask_decoder, 'CPU_CHUNK_VALUES', 3 * 64 * CHANNELS)
    ours.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE)))
    assert calls == [3, 3, 1]
    with torch.enable_grad():
        ours.decode(features, PromptBatch.from_prompts(prompts, (SIZE, SIZE)))
    assert calls == [3, 3, 1, 7]


@torch.no_grad()
def test_rectangles_are_decoded_where_they_are():
    """Rectangular inputs are decoded, and each image gives the same alone as in a batch."""
    ours = segmentor()
    prompts = [Prompts.create(boxes=[[5, 6, 50, 60]]), Prompts.create(points=[[[3.0, 9]]], point_labels=[[1]])]
    inputs = images(2, 96, 160)
    both = ours.decode(ours.extract_feat(inputs), PromptBatch.from_prompts(prompts, (96, 160)))
    assert both.logits.shape == (2, 4, 24, 40)
    for index in range(2):
        alone = ours.decode(
            ours.extract_feat(inputs[index : index + 1]),
            PromptBatch.from_prompts(prompts[index : index + 1], (96, 160)),
        )
        assert_close(both.logits[index], alone.logits[0], MODEL)


def losses_and_gradients(model, with_cp: bool) -> dict[str, torch.Tensor]:
    model = copy.deepcopy(model)
    model.mask_decoder.with_cp = model.backbone.with_cp = with_cp
    model.train()
    prediction = model.decode(
        model.extract_feat(images(3)), PromptBatch.from_prompts([*mixed(), Prompts.empty()], (SIZE, SIZE))
    )
    ((prediction.logits**2).mean() + prediction.iou.sum()).backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def test_checkpointed_gradients_are_equal():
    model = segmentor()
    plain, cheap = losses_and_gradients(model, False), losses_and_gradients(model, True)
    for name, gradient in plain.items():
        assert gradient is not None, name
        assert_close(cheap[name], gradient, OPERATION, name=name)


def test_upscaled_features_in_the_order_of_prompts():
    """Upscaled features come in the order of the prompts, whatever group a prompt was decoded in."""
    model = segmentor()
    prompts_of_images = mixed()
    batch = PromptBatch.from_prompts(prompts_of_images, (SIZE, SIZE))
    features = model.extract_feat(images(2))
    got = model.decode(features, batch, need_upscaled=True).upscaled
    assert got.shape == (7, CHANNELS // 8, 32, 32)
    place = 0
    for image, prompts in enumerate(prompts_of_images):
        for row in range(len(prompts)):
            alone = model.decode(
                SAMFeatures(features.embedding[image : image + 1]),
                PromptBatch.from_prompts([prompts[row : row + 1]], (SIZE, SIZE)),
                need_upscaled=True,
            )
            assert_close(got[place], alone.upscaled[0], LAYER)
            place += 1
    with torch.no_grad():  # in chunks too
        model.mask_decoder.chunk_size = 1
        assert_close(model.decode(features, batch, need_upscaled=True).upscaled, got, LAYER)


@torch.no_grad()
def test_bf16_autocast_is_close_and_finite():
    model = segmentor()
    prompts = mixed()
    plain = model.decode(model.extract_feat(images(2)), PromptBatch.from_prompts(prompts, (SIZE, SIZE)))
    with torch.autocast('cpu', torch.bfloat16):
        cast = model.decode(model.extract_feat(images(2)), PromptBatch.from_prompts(prompts, (SIZE, SIZE)))
    scale = plain.logits.std()
    assert (cast.logits.float() - plain.logits).abs().mean() < 0.05 * scale


def test_kinds_of_numbers_of_masks():
    decoder = MODELS.build(dict(config()['mask_decoder'], num_multimask_outputs=2))
    assert decoder.num_mask_tokens == 3
    assert int(PromptKind.POINTS | PromptKind.MASK) == 5  # stored in files and workers: must not change


def test_error_for_a_chunk_size():
    for chunk_size in (0, -1, 'all', 1.5):
        with raises_naming(ValueError, 'chunk_size', chunk_size):
            MODELS.build(dict(config()['mask_decoder'], chunk_size=chunk_size))


def test_a_decoder_without_masks_for_ambiguous_prompts_is_refused():
    with raises_naming(ValueError, 'num_multimask_outputs', '0'):
        SAMMaskDecoder(transformer_dim=32, num_multimask_outputs=0)


@torch.no_grad()
def test_stages_of_the_stem_are_added_while_features_are_upscaled():
    """Zero at the start, so that masks are plain SAM's bit for bit; then as written here for one prompt of an image."""
    plain = MODELS.build(config(backbone=dict(type='SAMImageEncoder', arch=ARCH, conv_stem=True))).eval()
    randomise(plain)
    fine = dict(type='SAMImageEncoder', arch=ARCH, conv_stem=True, stem_stages=True)
    decoder = dict(config()['mask_decoder'], stage_channels=(12, 24))
    model = MODELS.build({**config(backbone=fine), 'mask_decoder': decoder}).eval()
    model.load_state_dict(plain.state_dict(), strict=False)
    assert {key.split('.')[1] for key in model.state_dict() if key not in plain.state_dict()} == {'conv_s0', 'conv_s1'}
    two = [Prompts.create(boxes=[[20, 30, 90, 100]]), Prompts.create(boxes=[[5, 5, 60, 40], [50, 8, 99, 99]])]
    batch = PromptBatch.from_prompts(two, (SIZE, SIZE))
    inputs = torch.cat([images(), images().flip(3)])
    before, same = (each.decode(each.extract_feat(inputs), batch) for each in (plain, model))
    assert torch.equal(before.logits, same.logits) and torch.equal(before.iou, same.iou)

    randomise(model.mask_decoder, seed=3)
    got = model.decode(model.extract_feat(inputs), batch)
    stem = model.backbone.patch_embed.layers
    quarter = stem[:6](inputs)
    eighth = stem[6:9](quarter)
    decoder = model.mask_decoder
    one = model.extract_feat(inputs[1:])
    (prompt,) = model.prompt_encoder(PromptBatch.from_prompts([two[1][1:]], (SIZE, SIZE)), (8, 8))
    tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight, prompt.sparse[0]])[None]
    hidden, keys = decoder.transformer(one.embedding + prompt.dense, prompt.image_pe, tokens)
    first, norm, act, second, last = decoder.output_upscaling
    upscaled = F.conv_transpose2d(keys.transpose(1, 2).view(1, CHANNELS, 8, 8), first.weight, first.bias, stride=2)
    upscaled = act(norm(upscaled + F.conv2d(eighth[1:], decoder.conv_s1.weight, decoder.conv_s1.bias)))
    upscaled = F.conv_transpose2d(upscaled, second.weight, second.bias, stride=2)
    upscaled = last(upscaled + F.conv2d(quarter[1:], decoder.conv_s0.weight, decoder.conv_s0.bias))
    mask = (decoder.output_hypernetworks_mlps[2](hidden[:, 3])[:, :, None, None] * upscaled).sum(1)
    assert_close(got.logits[2, 2:3], mask, MODEL)


def test_stages_that_do_not_fit_are_named():
    for channels in ((12,), (0, 24)):
        with raises_naming(ValueError, 'SAMMaskDecoder', 'stage_channels', str(channels)):
            MODELS.build(dict(config()['mask_decoder'], stage_channels=channels))
    model = MODELS.build({**config(), 'mask_decoder': dict(config()['mask_decoder'], stage_channels=(12, 24))})
    batch = PromptBatch.from_prompts([Prompts.create(boxes=[[20, 30, 90, 100]])], (SIZE, SIZE))
    with raises_naming(ValueError, 'SAMMaskDecoder', 'stem_stages', '(12, 32, 32)', '(24, 16, 16)'):
        model.decode(model.extract_feat(images()), batch)
    with raises_naming(ValueError, 'SAMImageEncoder', 'stem_stages', 'conv_stem'):
        MODELS.build(dict(type='SAMImageEncoder', arch=ARCH, stem_stages=True))
