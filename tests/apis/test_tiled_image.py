"""Tiles everywhere: images that stay encoded, segment-everything, presence and refinement, and bad input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmsam_ext.apis import InferenceError, PromptSegInferencer, SegmentEverything
from mmsam_ext.models.segmentors.sliding import SlideSettings, slide
from mmsam_ext.models.segmentors.tile_cache import TileCache
from mmsam_ext.structures import PromptBatch, Prompts, UncutImage
from tests.models.small import CHANNELS, SIZE, config, images, segmentor
from tests.naming import raises_naming

SLIDE = dict(mode='slide', crop_size=(SIZE, SIZE), stride=(64, 64))
IMAGE = np.random.default_rng(0).integers(0, 255, (200, 300, 3), dtype=np.uint8)
BOXES = [[10, 20, 60, 70], [150, 90, 220, 170], [20, 20, 280, 180]]


def inferencer_of(folder: Path, **changes) -> PromptSegInferencer:
    test_cfg = SLIDE | changes.pop('test_cfg', {})
    torch.save(segmentor(**changes).state_dict(), folder / 'weights.pth')
    model = config(**changes, data_preprocessor=dict(type='PromptDataPreprocessor', size_divisor=16), test_cfg=test_cfg)
    test = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile')]))
    return PromptSegInferencer(Config(dict(model=model, test_dataloader=test)), folder / 'weights.pth', device='cpu')


def test_encoded_image_gives_the_masks_of_a_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inferencer = inferencer_of(tmp_path)
    called = inferencer(IMAGE, boxes=BOXES)['predictions'][0]
    sizes: list[tuple[int, ...]] = []
    encode = inferencer.model.extract_feat
    monkeypatch.setattr(
        inferencer.model, 'extract_feat', lambda x, *rest: sizes.append(tuple(x.shape)) or encode(x, *rest)
    )
    inferencer.set_image(IMAGE)
    assert not sizes
    first = inferencer.predict(boxes=BOXES[:1])
    np.testing.assert_array_equal(first[0], called['masks'][:1])
    assert len(sizes) == 1, 'a box in one tile encodes this tile alone'
    masks, scores, low_res = inferencer.predict(boxes=BOXES)
    np.testing.assert_array_equal(masks, called['masks'])
    np.testing.assert_allclose(scores, called['scores'], rtol=1e-5)
    number = len(sizes)
    assert all(size == (1, 3, SIZE, SIZE) or size[2] < SIZE for size in sizes)
    again, *_ = inferencer.predict(boxes=BOXES, masks=low_res)
    assert len(sizes) == number and again.shape == masks.shape and low_res.shape == (3, 52, 76)


def test_cache_drops_the_oldest_tile_and_says_what_one_needs() -> None:
    model, image = segmentor(), images(1, 128, 256)
    size = 4 * (CHANNELS * 64 + 3 * SIZE * SIZE)  # embedding and pixels of a tile
    cache = TileCache(1)
    cache.limit = 2 * size
    crops = [image[..., start : start + 128].clone() for start in (0, 64, 128)]
    kept = [cache.features(model, index, crop) for index, crop in enumerate(crops)]
    assert len(cache) == 2
    assert cache.features(model, 2, crops[2]) is kept[2] and cache.features(model, 0, crops[0]) is not kept[0]
    cache.limit = size - 1
    with raises_naming(ValueError, 'cache_mb', '0.2', '128'):
        cache.features(model, 3, crops[0])
    for name in ('cache_mb', 'tiles_per_batch'):
        with raises_naming(ValueError, f'test_cfg.{name}', '0'):
            SlideSettings((128, 128), (64, 64), **{name: 0})


def test_everything_in_tiles_is_everything_in_each_tile(tmp_path: Path) -> None:
    """One tile that holds the image: as without tiles. Several: full-size masks at their places."""
    options = dict(points_per_side=3, pred_iou_thresh=-9.0, stability_score_thresh=0.0, box_nms_thresh=1.0)
    tiled = inferencer_of(tmp_path)
    whole = inferencer_of(tmp_path, test_cfg=dict(mode='whole'))
    small = IMAGE[:128, :128]
    ours, theirs = (SegmentEverything(one, **options, crop_nms_thresh=1.0)(small) for one in (tiled, whole))
    assert len(ours) == len(theirs) > 0
    key = lambda record: (record['point_coords'], record['predicted_iou'])  # noqa: E731
    for mine, expected in zip(sorted(ours, key=key), sorted(theirs, key=key), strict=True):
        np.testing.assert_array_equal(mine['segmentation'], expected['segmentation'])
    everything = SegmentEverything(tiled, **options)
    everything.output_mode = 'uncompressed_rle'
    records = everything(IMAGE)
    assert {tuple(record['crop_box'][:2]) for record in records} <= {
        (x, y) for x in range(0, 200, 16) for y in range(0, 96, 16)
    }
    assert all(record['segmentation']['size'] == [200, 300] for record in records)


@torch.no_grad()
def test_presence_and_refinement_on_tiles() -> None:
    """One tile is the image: as without tiles; and the presence of a prompt is the highest of its tiles."""
    parts = dict(
        presence_head=dict(type='PresenceHead', embed_dim=CHANNELS),
        mask_refiner=dict(type='PointRefiner', embed_dim=CHANNELS),
    )
    model = segmentor(**parts)
    batch = PromptBatch.from_prompts([Prompts.create(boxes=[[10.0, 20, 60, 70]])], (SIZE, SIZE))
    tiled = slide(model, UncutImage.of(images()), batch, SlideSettings((SIZE, SIZE), (64, 64)))
    logits, _, presence = model.select_low_res(model.extract_feat(images()), batch, [], None)
    assert torch.allclose(tiled.logits(0), logits[0], atol=1e-4) and torch.allclose(tiled.presence, presence)
    image = images(1, SIZE, 2 * SIZE)
    free = PromptBatch.from_prompts([Prompts.empty()], (SIZE, 2 * SIZE))
    tiled = slide(model, UncutImage.of(image), free, SlideSettings((SIZE, SIZE), (SIZE, SIZE), overview=False))
    own = PromptBatch.from_prompts([Prompts.empty()], (SIZE, SIZE))
    halves = [model.decode(model.extract_feat(half), own).presence for half in image.split(SIZE, 3)]
    assert torch.allclose(tiled.presence, torch.maximum(*halves), atol=1e-5)


def test_prompts_that_do_not_fit(tmp_path: Path) -> None:
    inferencer = inferencer_of(tmp_path)
    inferencer.set_image(IMAGE)
    with raises_naming(InferenceError, 'boxes', '300 x 200'):
        inferencer.predict(boxes=[[310, 20, 360, 70]])
    with raises_naming(InferenceError, 'masks', '(1, 1, 20, 30)', '52'):
        inferencer.predict(masks=np.zeros((1, 20, 30)))
    batch = PromptBatch.from_prompts([Prompts.create(boxes=[[300.0, 20, 360, 70]])], (128, 256), ['a.png'])
    with raises_naming(ValueError, 'a.png', 'prompt 0', '256 x 128', '[300.0, 20.0, 360.0, 70.0]'):
        slide(inferencer.model, UncutImage.of(images(1, 128, 256)), batch, inferencer.model.slide_settings)
