"""Foreign checkpoints are recognised by their keys; wrappers are taken off; the error says what a file is."""

from __future__ import annotations

import pytest
import torch
from mmengine.runner import load_checkpoint
from mmseg.registry import MODELS
from segment_anything import sam_model_registry

from mmsam_ext.checkpoints.formats import is_plain_sam, recognise
from mmsam_ext.checkpoints.spt_official import convert
from tests.models.small import config, segmentor, stock_sam
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
    from tests.models.small import ARCH

    other = MODELS.build(config(backbone=dict(type='SAMImageEncoder', arch=dict(ARCH, embed_dim=96))))
    with raises_naming(ValueError, 'backbone.pos_embed', 'a model of this project'):
        load(segmentor(), other.state_dict(), tmp_path)
