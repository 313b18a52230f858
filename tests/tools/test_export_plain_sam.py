"""The command export-plain-sam."""

from __future__ import annotations

import pytest
import torch
from mmseg.registry import MODELS
from safetensors.torch import load_file

from mmsam_ext.checkpoints.plain_sam import plain_sam
from mmsam_ext.cli import export_plain_sam as export
from tests.models.small import CHANNELS, DECODER, config, segmentor, stock_sam
from tests.naming import raises_naming
from tests.numeric import MODEL, assert_close


def run(*arguments: object) -> None:
    export.main([str(argument) for argument in arguments])


def test_a_run_becomes_a_file_that_segment_anything_loads(tmp_path):
    model = segmentor()
    torch.save(dict(state_dict=model.state_dict(), meta=dict(iter=3)), tmp_path / 'run.pth')
    run(tmp_path / 'run.pth', tmp_path / 'plain.pth')
    sam = stock_sam()
    sam.load_state_dict(torch.load(tmp_path / 'plain.pth'), strict=False)
    assert set(torch.load(tmp_path / 'plain.pth')) == set(sam.state_dict()) - {'pixel_mean', 'pixel_std'}
    x = torch.randn(1, 3, 128, 128)
    with torch.no_grad():
        assert_close(sam.image_encoder(x), model.extract_feat(x).embedding, MODEL)
    run(tmp_path / 'run.pth', tmp_path / 'plain.safetensors', '--half')
    assert load_file(tmp_path / 'plain.safetensors')['image_encoder.pos_embed'].dtype == torch.float16


def test_of_a_self_draft_model_the_refining_decoder_is_sams(tmp_path):
    settings = config()
    decoder = dict(type='SAMMaskDecoder', transformer_dim=CHANNELS, **DECODER)
    settings['mask_decoder'] = dict(type='SelfDraftDecoder', decoder=decoder)
    model = MODELS.build(settings)
    plain, left_out = plain_sam(model.state_dict())
    assert torch.equal(plain['mask_decoder.iou_token.weight'], model.mask_decoder.refine.iou_token.weight)
    assert set(plain) == set(stock_sam().state_dict())
    assert left_out == {'mask_decoder.drafts': len(model.mask_decoder.refine.state_dict())}


def test_average_with_the_weights_before(tmp_path):
    """0.75 a + 0.25 b in fp32, rounded once; the other file may be another export."""
    torch.save(dict(state_dict=segmentor().state_dict()), tmp_path / 'a.pth')
    other = segmentor()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter))
    torch.save(dict(state_dict=other.state_dict()), tmp_path / 'run.pth')
    run(tmp_path / 'run.pth', tmp_path / 'b.safetensors')
    run(tmp_path / 'a.pth', tmp_path / 'c.safetensors', '--half', '--average', tmp_path / 'b.safetensors', 0.25)
    a, b, c = (
        plain_sam(segmentor().state_dict())[0],
        plain_sam(other.state_dict())[0],
        load_file(tmp_path / 'c.safetensors'),
    )
    assert set(a) == set(c)
    for key, value in c.items():
        assert torch.equal(value, (0.75 * a[key] + 0.25 * b[key]).half()), key
    with pytest.raises(SystemExit):
        run(tmp_path / 'a.pth', tmp_path / 'd.pth', '--average', tmp_path / 'b.safetensors', 1.5)
    fewer = {key: value for key, value in b.items() if 'iou_token' not in key}
    torch.save(dict(state_dict=fewer), tmp_path / 'fewer.pth')
    with raises_naming(SystemExit, 'mask_decoder.iou_token.weight', 'None'):
        run(tmp_path / 'a.pth', tmp_path / 'd.pth', '--average', tmp_path / 'fewer.pth', 0.5)
    assert not (tmp_path / 'd.pth').exists()


def test_bad_input(tmp_path):
    torch.save(dict(state_dict={'mask_decoder.x': torch.ones(1)}), tmp_path / 'part.pth')
    with raises_naming(SystemExit, 'part.pth', 'image encoder'):
        run(tmp_path / 'part.pth', tmp_path / 'out.pth')
    with raises_naming(SystemExit, 'none.pth'):
        run(tmp_path / 'none.pth', tmp_path / 'out.pth')
    rules = [dict(type='LoRA', modules='qkv$')]
    with raises_naming(ValueError, 'backbone.blocks.0.attn.qkv.lora_a'):
        plain_sam(MODELS.build(config(peft=rules)).state_dict())
