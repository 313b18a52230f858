"""Resizing masks to the original size of an image: in chunks, and in one step as SPT's authors do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config

from mmsam_ext.apis import PromptSegInferencer
from mmsam_ext.models.segmentors import original_size, to_original
from mmsam_ext.structures import Prompts
from tests.models.small import config as small
from tests.models.small import images, sample, segmentor
from tests.naming import raises_naming

LOGITS = torch.randn(7, 16, 16, generator=torch.Generator().manual_seed(0))


def test_resizing_in_chunks_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    meta = dict(img_shape=(60, 64), ori_shape=(90, 80), flip=True, flip_direction='horizontal')
    expected = to_original(LOGITS, (64, 64), meta)
    monkeypatch.setattr(original_size, 'CHUNK_PIXELS', 2 * 64 * 64)
    assert torch.equal(to_original(LOGITS, (64, 64), meta), expected) and expected.shape == (7, 90, 80)


def test_resizing_in_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """One bilinear resize from the logits to the image, not by way of the network input."""
    meta = dict(img_shape=(64, 64), ori_shape=(90, 80), img_path='tile.png')
    expected = F.interpolate(LOGITS[None], (90, 80), mode='bilinear', align_corners=False)[0]
    assert torch.equal(to_original(LOGITS, (64, 64), meta, one_step=True), expected)
    assert not torch.allclose(to_original(LOGITS, (64, 64), meta), expected, atol=0.01)
    flipped = meta | dict(flip=True, flip_direction='vertical')
    assert torch.equal(to_original(LOGITS, (64, 64), flipped, one_step=True), expected.flip(-2))
    monkeypatch.setattr(original_size, 'CHUNK_PIXELS', 2 * 64 * 64)
    assert torch.equal(to_original(LOGITS, (64, 64), meta, one_step=True), expected)
    with raises_naming(ValueError, 'tile.png', 'one_step_resize', '(60, 64)', '(64, 64)'):
        to_original(LOGITS, (64, 64), meta | dict(img_shape=(60, 64)), one_step=True)


@pytest.mark.parametrize('multimask', [False, 'oracle'])
def test_a_model_that_resizes_in_one_step(multimask: bool | str) -> None:
    """Logits at the original size are those of the decoder, resized once; tiles are not possible."""
    model = segmentor(test_cfg=dict(one_step_resize=True, multimask=multimask))
    given = sample(Prompts.create(points=[[[50, 70]]], point_labels=[[1]]), torch.ones(1, 90, 80))
    given.set_metainfo(dict(ori_shape=(90, 80), img_shape=(128, 128)))
    (done,) = model.predict_from_features(
        model.extract_feat(images()), model.prompt_batch([given], images()), [given], keep_low_res=True
    )
    found = done.pred_instances
    expected = F.interpolate(found.low_res_logits[None], (90, 80), mode='bilinear', align_corners=False)[0]
    assert torch.equal(found.mask_logits, expected)
    with raises_naming(ValueError, 'one_step_resize', 'slide'):
        segmentor(test_cfg=dict(one_step_resize=True, mode='slide', crop_size=(64, 64), stride=(32, 32)))
    with raises_naming(ValueError, 'one_step_resize', "'no'", 'False'):  # which Python takes for True
        segmentor(test_cfg=dict(one_step_resize='no'))


def test_the_inferencer_resizes_as_its_model_does(tmp_path: Path) -> None:
    """The masks of an inferencer with `one_step_resize` are those of its model."""
    image = np.random.default_rng(0).integers(0, 256, (90, 80, 3), dtype=np.uint8)
    pipeline = [dict(type='Resize', scale=(128, 128), keep_ratio=False), dict(type='PackPromptInputs')]
    config = Config(dict(default_scope='mmseg', model=small(test_cfg=dict(one_step_resize=True))))
    config.test_dataloader = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile'), *pipeline]))
    torch.save(segmentor().state_dict(), tmp_path / 'small.pth')
    inferencer = PromptSegInferencer(config, str(tmp_path / 'small.pth'), 'cpu')
    inferencer.set_image(image)
    masks, _, low_res = inferencer.predict(boxes=[10, 20, 60, 70])
    expected = F.interpolate(torch.as_tensor(low_res)[None], (90, 80), mode='bilinear', align_corners=False)[0] > 0
    assert 0 < expected.float().mean() < 1 and (torch.as_tensor(masks) == expected).all()
