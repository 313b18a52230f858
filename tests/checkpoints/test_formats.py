"""Foreign checkpoints are recognised by their keys; wrappers are taken off; the error says what a file is."""

from __future__ import annotations

import json
import re

import pytest
import torch
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS
from safetensors.torch import save_file
from segment_anything import sam_model_registry

from mmsam_ext.apis.model_names import NAMED_MODELS, named_config
from mmsam_ext.checkpoints import CheckpointError
from mmsam_ext.checkpoints.families import SHORT_NAMES, family
from mmsam_ext.checkpoints.formats import is_plain_sam, recognise
from mmsam_ext.checkpoints.plain_sam import plain_sam
from mmsam_ext.checkpoints.spt_official import convert
from tests.models.families.golden import golden
from tests.models.families.test_components import build
from tests.models.small import ARCH, CHANNELS, DECODER, config, segmentor, stock_sam
from tests.naming import raises_naming


def load(model, content, tmp_path) -> None:
    torch.save(content, tmp_path / 'file.pth')
    load_checkpoint(model, str(tmp_path / 'file.pth'), map_location='cpu')


def same(model, sam) -> bool:
    ours = model.state_dict()
    return all(
        torch.equal(ours[key.replace('image_encoder.', 'backbone.')], value) for key, value in sam.state_dict().items()
    )


WRAPPED = {
    'model': lambda s: dict(model=s, epoch=3),
    'model beside ema': lambda s: dict(ema={k: v + 1 for k, v in s.items()}, model=s),
    'model_state_dict': lambda s: dict(model_state_dict=s, optimizer={}),
    'compiled': lambda s: {f'_orig_mod.{k}': v for k, v in s.items()},
    'compiled encoder': lambda s: {k.replace('image_encoder.', 'image_encoder._orig_mod.'): v for k, v in s.items()},
    'data parallel': lambda s: {f'module.{k}': v for k, v in s.items()},
    'data parallel, compiled, in model': lambda s: dict(model={f'module._orig_mod.{k}': v for k, v in s.items()}),
    'lightning': lambda s: dict(state_dict={f'model.{k}': v for k, v in s.items()}),
    'sam of a larger module': lambda s: {f'module.sam.{k}': v for k, v in s.items()},
}


@pytest.mark.parametrize('name', WRAPPED)
def test_wrapped_weights_load(name, tmp_path) -> None:
    sam, model = stock_sam(), segmentor(seed=5)
    load(model, WRAPPED[name](sam.state_dict()), tmp_path)
    assert same(model, sam)


def test_our_own_names_wrapped_load(tmp_path) -> None:
    source, model = segmentor(seed=1), segmentor(seed=5)
    load(model, dict(model={f'module.{k}': v for k, v in source.state_dict().items()}), tmp_path)
    assert all(torch.equal(model.state_dict()[k], v) for k, v in source.state_dict().items())


def test_a_model_with_a_compiled_part_takes_plain_and_its_own_files(tmp_path) -> None:
    sam, model = stock_sam(), segmentor(seed=5)
    model.backbone = torch.compile(model.backbone)  # compiles at its first call, which never comes
    assert 'backbone._orig_mod.pos_embed' in model.state_dict()
    for state in (sam.state_dict(), model.state_dict()):
        load(model, state, tmp_path)
        assert torch.equal(model.state_dict()['backbone._orig_mod.pos_embed'], sam.image_encoder.pos_embed)


FOREIGN = {
    "the SPT authors' checkpoint": (['draft_decoder.iou_token.weight', 'image_encoder.pos_embed'], 'spt_official.py'),
    'SAM 2': (['image_encoder.trunk.blocks.0.norm1.weight', 'sam_mask_decoder.iou_token.weight'], 'SAM 2'),
    'HQ-SAM': (['mask_decoder.hf_token.weight', 'mask_decoder.iou_token.weight'], 'HQ-SAM'),
    'MobileSAM': (['image_encoder.patch_embed.seq.0.c.weight', 'mask_decoder.iou_token.weight'], 'MobileSAM'),
    'SAM of Hugging Face transformers': (['vision_encoder.pos_embed', 'mask_decoder.iou_token.weight'], 'Hugging Face'),
    'a segmentor of MMSegmentation': (['backbone.conv1.weight', 'decode_head.conv_seg.weight'], 'MMSegmentation'),
    'a classifier or a plain ViT': (['cls_token', 'pos_embed', 'blocks.0.attn.qkv.weight'], 'backbone.init_cfg'),
}


@pytest.mark.parametrize('name', FOREIGN)
def test_the_error_says_what_the_file_is(name, tmp_path) -> None:
    keys, advice = FOREIGN[name]
    assert recognise(keys).name == name
    with raises_naming(ValueError, name, advice):
        load(segmentor(), {key: torch.zeros(2) for key in keys}, tmp_path)


def test_unknown_file(tmp_path) -> None:
    assert recognise(['a', 'b.c']) is None and recognise([]) is None
    with raises_naming(ValueError, 'a.b'):
        load(segmentor(), {'a.b': torch.zeros(2)}, tmp_path)


def test_recognises_metas_files() -> None:
    """The key names of the real ViT-B, built by Meta's own code on the meta device."""
    with torch.device('meta'):
        sam = sam_model_registry['vit_b']()
    assert is_plain_sam(sam.state_dict()) and recognise(sam.state_dict()).name == "SAM with Meta's names"
    assert recognise(segmentor().state_dict()).name == 'a model of this project'
    assert not is_plain_sam({'image_encoder.pos_embed': 0})


@pytest.mark.parametrize(
    'foreign', ['mask_decoder.hf_token.weight', 'image_encoder.blocks.0.attn.qkv.lora_A', 'backbone.pos_embed', 'extra']
)
def test_converter_rejects_a_base_that_is_not_plain_sam(foreign) -> None:
    sam = stock_sam().state_dict()
    with raises_naming(ValueError, 'base', foreign):
        convert({}, {**sam, foreign: torch.zeros(1)})
    with raises_naming(ValueError, 'base', 'mask_decoder'):
        convert({}, {key: value for key, value in sam.items() if not key.startswith('mask_decoder.')})


def test_shapes_of_another_size_are_still_said(tmp_path) -> None:
    other = MODELS.build(config(backbone=dict(type='SAMImageEncoder', arch=dict(ARCH, embed_dim=96))))
    with raises_naming(ValueError, 'backbone.pos_embed', 'a model of this project'):
        load(segmentor(), other.state_dict(), tmp_path)


def test_a_folder_of_hugging_face(tmp_path) -> None:
    """In one file, in several with an index, and with a file missing."""
    weights, _ = golden('sam_hf')
    whole, sharded = tmp_path / 'whole', tmp_path / 'sharded'
    names = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']
    for folder in (whole, sharded):
        folder.mkdir()
    save_file(weights, whole / 'model.safetensors')
    parts = [dict(list(weights.items())[:50]), dict(list(weights.items())[50:])]
    for name, part in zip(names, parts, strict=True):
        save_file(part, sharded / name)
    index = dict(weight_map={key: name for name, part in zip(names, parts, strict=True) for key in part})
    (sharded / 'model.safetensors.index.json').write_text(json.dumps(index))
    models = []
    for path in (whole, sharded, whole / 'model.safetensors'):
        models.append(segmentor(seed=5))
        load_checkpoint(models[-1], str(path), map_location='cpu')
    expected = weights['vision_encoder.pos_embed']
    assert all(torch.equal(model.backbone.pos_embed, expected) for model in models)
    assert models[0].unloaded_parts == ()
    (sharded / names[1]).unlink()
    with raises_naming(CheckpointError, str(sharded), names[1]):
        load_checkpoint(models[0], str(sharded))
    (whole / 'model.safetensors').unlink()
    with raises_naming(CheckpointError, str(whole), 'model.safetensors'):
        load_checkpoint(models[0], str(whole))
    torch.save(weights, whole / 'pytorch_model.bin')
    with raises_naming(CheckpointError, str(whole / 'pytorch_model.bin')):
        load_checkpoint(models[0], str(whole))
    (sharded / 'model.safetensors.index.json').write_text('{"weight_map": {"a": "../outside.safetensors"}}')
    with raises_naming(CheckpointError, 'weight_map', '../outside.safetensors'):
        load_checkpoint(models[0], str(sharded))


def test_a_name_of_the_hub(monkeypatch, tmp_path) -> None:
    """Its files come from huggingface_hub's cache; a wrong name and a failed download are named."""
    weights, _ = golden('sam_hf')
    save_file(weights, tmp_path / 'model.safetensors')
    hub = pytest.importorskip('huggingface_hub')
    monkeypatch.setattr(hub, 'snapshot_download', lambda name, **options: str(tmp_path))
    model = segmentor(seed=5)
    load_checkpoint(model, 'hf://someone/sam', map_location='cpu')
    assert torch.equal(model.backbone.pos_embed, weights['vision_encoder.pos_embed'])
    with raises_naming(CheckpointError, 'hf://sam', 'hf://owner/name'):
        load_checkpoint(model, 'hf://sam')

    def fail(name, **options):
        raise OSError('no network')

    monkeypatch.setattr(hub, 'snapshot_download', fail)
    with raises_naming(CheckpointError, 'hf://someone/sam', 'no network'):
        load_checkpoint(model, 'hf://someone/sam')


def test_another_family_is_named_both_ways() -> None:
    """The file and the model by their families; also half-converted, and another size."""
    sam2_file = dict(golden('sam2_hf')[0])
    with raises_naming(ValueError, 'SAM 2 (16 channels, 7 blocks)', 'SAM (48 channels)', '--model sam2.1_hiera_l'):
        segmentor().load_state_dict(dict(sam2_file))
    wider = MODELS.build(config(backbone=dict(type='SAMImageEncoder', arch=dict(ARCH, embed_dim=96))))
    with raises_naming(ValueError, 'SAM (96 channels)', 'SAM (48 channels)'):
        segmentor().load_state_dict(wider.state_dict())
    with raises_naming(ValueError, 'HQ-SAM (48 channels)', 'SAM (48 channels)'):
        segmentor().load_state_dict(dict(golden('hq_sam')[0]))


@pytest.mark.parametrize(
    ('theirs', 'other', 'named'),
    [
        ('vision_encoder.', 'image_encoder.', ('shared_image_embedding', 'transformers', 'image_encoder', 'Meta')),
        ('vision_encoder.neck', 'backbone.neck', ('vision_encoder', 'transformers', 'backbone.neck', 'this project')),
        ('mask_decoder.upscale_conv1', 'mask_decoder.output_upscaling.0', ('vision_encoder', 'output_upscaling')),
    ],
)
def test_a_file_that_was_converted_in_part(theirs, other, named) -> None:
    half = {key.replace(theirs, other): value for key, value in sorted(golden('sam_hf')[0].items(), reverse=True)}
    with raises_naming(ValueError, 'converted in part', *named[1:]):
        segmentor().load_state_dict(half)


def test_the_advice_names_the_model_of_the_file() -> None:
    """The shapes of a published model's weights are given its short name, which all published models have."""
    assert set(SHORT_NAMES.values()) == set(NAMED_MODELS)
    for name in ('sam_hq_vit_b', 'sam2.1_hiera_b+', 'mobile_sam', 'sam_hq_vit_tiny', 'sam_tiny'):
        with torch.device('meta'):
            state = MODELS.build(named_config(name).model).state_dict()
        assert SHORT_NAMES[family(state)] == name
    sam = {key: value for key, value in stock_sam().state_dict().items() if key.startswith('image_encoder.')}
    with raises_naming(ValueError, "a part of a SAM with Meta's names", 'sam_vit_b_01ec64.pth'):
        segmentor().load_state_dict(sam)


@pytest.mark.parametrize(
    ('width', 'blocks', 'name'), [(96, 12, 'Hiera-T'), (96, 16, 'Hiera-S'), (112, 24, 'Hiera-B+'), (144, 48, 'Hiera-L')]
)
def test_sizes_of_sam2(width, blocks, name) -> None:
    keys = {f'backbone.trunk.blocks.{index}.norm1.weight': torch.zeros(1) for index in range(blocks)}
    keys['backbone.trunk.pos_embed_window'] = torch.zeros(1, width, 8, 8)
    assert family({**keys, 'mask_decoder.obj_score_token.weight': torch.zeros(1)}) == f'SAM 2 {name}'
    mixed = family({**keys, 'mask_decoder.mask_tokens.weight': torch.zeros(1)})
    assert mixed == f'SAM 2 {name} with the mask decoder of SAM'


def test_the_decoder_of_hq_sam_alone(tmp_path) -> None:
    """As its training writes it, on the SAM that the config names."""
    weights = golden('hq_sam')[0]
    torch.save({k: v for k, v in weights.items() if 'hf_' not in k and 'compress' not in k}, tmp_path / 'sam.pth')
    alone = {k.removeprefix('mask_decoder.'): v for k, v in weights.items() if k.startswith('mask_decoder.')}
    backbone = dict(type='SAMImageEncoder', arch=ARCH, out_indices=(1,))
    decoder = dict(type='HQMaskDecoder', early_dim=48, transformer_dim=CHANNELS, **DECODER)
    settings = config(backbone=backbone, mask_decoder=decoder)
    with raises_naming(ValueError, 'HQ-SAM', 'model.init_cfg.checkpoint'):
        MODELS.build(settings).load_state_dict(dict(alone))
    settings['init_cfg'] = dict(type='Pretrained', checkpoint=str(tmp_path / 'sam.pth'))
    model = MODELS.build(settings)
    model.load_state_dict(dict(alone), strict=True)
    assert torch.equal(model.backbone.pos_embed, weights['image_encoder.pos_embed'])
    assert torch.equal(model.mask_decoder.hf_token.weight, weights['mask_decoder.hf_token.weight'])


@pytest.mark.parametrize(('name', 'known'), [('hq_sam', 'HQ-SAM'), ('sam2', 'SAM 2'), ('mobile_sam', 'MobileSAM')])
def test_written_back_under_the_names_of_the_authors(name, known) -> None:
    """`export-plain-sam` gives a file that is recognised as theirs and loads again."""
    model, again = build(name), build(name)
    plain, left_out = plain_sam(model.state_dict())
    assert not left_out and recognise(plain).name == known
    again.load_state_dict(dict(plain), strict=True)
    assert all(torch.equal(again.state_dict()[key], value) for key, value in model.state_dict().items())
    if name == 'mobile_sam':
        classifier = ('image_encoder.head', 'image_encoder.norm')
        theirs = {key for key in golden('mobile_sam')[0] if not key.startswith(classifier)}
        ours = {key for key in plain if key.startswith('image_encoder.') and 'num_batches' not in key}
        assert {re.sub(r'\d+', '0', key) for key in ours} == {re.sub(r'\d+', '0', key) for key in theirs}


def test_copies_that_differ() -> None:
    """transformers saves the position code twice; a model of random weights holds two different ones."""
    weights = dict(golden('sam_hf')[0])
    code, copied = 'shared_image_embedding.positional_embedding', 'prompt_encoder.shared_embedding.positional_embedding'
    segmentor().load_state_dict({**weights, copied: weights[code].clone()}, strict=True)
    with raises_naming(ValueError, code, copied):
        segmentor().load_state_dict({**weights, copied: weights[code] + 1}, strict=True)
