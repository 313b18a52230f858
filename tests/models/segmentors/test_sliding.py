"""Tiles give what one large input would give where a model looks at single pixels, and the right tiles are asked."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample

from mmsam_ext.models.segmentors.sliding import SlideSettings, slide
from mmsam_ext.models.segmentors.tiled_masks import TiledMasks
from mmsam_ext.structures import MaskPrediction, PromptBatch, Prompts, SAMFeatures, UncutImage
from mmsam_ext.structures.samples import OUTSIDE
from mmsam_ext.structures.tiles import Tile, TileGrid
from tests.models.small import config, images, sample, segmentor
from tests.naming import raises_naming
from tests.numeric import LAYER, assert_close

SIZE = (96, 160)
SETTINGS = SlideSettings(crop_size=(64, 64), stride=(48, 48))


class LocalModel:
    """Predicts the first channel of the image, at a quarter of its size; counts what it encodes."""

    test_cfg: ClassVar[dict] = {}

    def __init__(self) -> None:
        self.encoded: list[tuple[int, ...]] = []

    def extract_feat(self, inputs: torch.Tensor) -> SAMFeatures:
        """Return the image as its own features."""
        self.encoded.append(tuple(inputs.shape))
        return SAMFeatures(inputs)

    def decode(self, features: SAMFeatures, batch: PromptBatch) -> MaskPrediction:
        """Return the same four masks for every prompt of an image."""
        logits = F.avg_pool2d(features.embedding[:, :1], 4)[batch.image_index]  # (P, 1, h, w)
        return MaskPrediction(logits.expand(-1, 4, -1, -1), torch.full((len(batch), 4), 0.5))


def plane() -> torch.Tensor:
    """(1, 3, H, W), linear in x and y, so that resizing does not change it away from the borders."""
    y, x = torch.meshgrid(*(torch.arange(float(side)) for side in SIZE), indexing='ij')
    return (0.02 * x - 0.03 * y).expand(1, 3, -1, -1)


def empty_prompt() -> PromptBatch:
    return PromptBatch.from_prompts([Prompts.empty()], SIZE)


def blended_at_once(masks: TiledMasks, prompt: int) -> torch.Tensor:
    """The definition of `TiledMasks.logits`, on maps of the whole image."""
    grid = masks.grid
    total, weight = torch.zeros(2, *grid.size)
    for tile, logits in masks.pieces[prompt]:
        large = F.interpolate(logits[None, None], (tile.height, tile.width), mode='bilinear', align_corners=False)
        total[tile.rows, tile.columns] += grid.weights(tile) * large[0, 0]
        weight[tile.rows, tile.columns] += grid.weights(tile)
    return torch.where(weight > 0, total / weight.clamp_min(1e-6), OUTSIDE)


def test_bands_of_a_mask_are_the_mask() -> None:
    """Put together row by row of tiles, with tiles left out, a mask is what whole maps give."""
    grid = TileGrid((208, 160), (64, 64), (48, 48))
    torch.manual_seed(0)

    def pieces(tiles: list[Tile]) -> list[tuple[Tile, torch.Tensor]]:
        return [(tile, torch.randn(16, 16)) for tile in tiles]

    assert grid.tiles[-1].top - grid.tiles[-4].top == 144 - 96 == 48
    some = [tile for tile in grid.tiles if tile.top != 48]  # leaves rows that no tile answers
    assert len(some) < len(grid)
    coarse = torch.randn(13, 10)
    masks = TiledMasks(
        grid,
        [pieces(grid.tiles), pieces(some), pieces(grid.tiles[5:6]), [], pieces(some)],
        [None, None, None, None, coarse],
        torch.zeros(5),
    )
    for prompt in range(4):
        assert torch.equal(masks.logits(prompt), blended_at_once(masks, prompt)), prompt
    assert (masks.logits(3) == OUTSIDE).all()
    overview = F.interpolate(coarse[None, None], grid.size, mode='bilinear', align_corners=False)[0, 0]
    torch.testing.assert_close(
        masks.logits(4), torch.maximum(blended_at_once(masks, 4), overview), atol=1e-5, rtol=1e-5
    )
    torch.testing.assert_close(masks[0:2], torch.stack([masks.logits(0), masks.logits(1)]), atol=0, rtol=0)


@pytest.mark.parametrize('tiles_per_batch', [1, 4])
def test_merged_tiles_equal_one_large_input_and_have_no_seams(tiles_per_batch: int) -> None:
    model, image = LocalModel(), plane()
    settings = SlideSettings((64, 64), (48, 48), overview=False, tiles_per_batch=tiles_per_batch)
    merged = slide(model, UncutImage.of(image), empty_prompt(), settings).logits(0)
    whole = F.interpolate(F.avg_pool2d(image[:, :1], 4), SIZE, mode='bilinear', align_corners=False)[0, 0]
    # At a tile's own border bilinear resizing repeats the last value, 1.5 pixels at most; the weight there is low.
    assert (merged - whole).abs().max() < 0.01
    steps = merged[2:-2, 2:-2].diff(dim=1)
    assert (steps - 0.02).abs().max() < 0.01
    assert len(model.encoded) == -(-6 // tiles_per_batch)


def test_a_small_prompt_is_answered_by_its_tile_alone() -> None:
    model = LocalModel()
    batch = PromptBatch.from_prompts([Prompts.create(boxes=[[2.0, 2, 20, 20]])], SIZE)
    merged = slide(model, UncutImage.of(plane() + 1), batch, SETTINGS).logits(0)
    assert model.encoded == [(1, 3, 64, 64)]
    assert (merged[:64, :64] > OUTSIDE).all()
    assert (merged[64:] == OUTSIDE).all() and (merged[:, 64:] == OUTSIDE).all()


def test_the_overview_finds_what_no_tile_sees() -> None:
    class OnlyWhole(LocalModel):
        """Answers nothing on tiles."""

        def decode(self, features: SAMFeatures, batch: PromptBatch) -> MaskPrediction:
            prediction = super().decode(features, batch)
            tile = tuple(features.embedding.shape[-2:]) == SETTINGS.crop_size
            return MaskPrediction(prediction.logits * 0 - 5 if tile else prediction.logits, prediction.iou)

    image = torch.full((1, 3, *SIZE), -9.0)
    image[..., 20:60, 40:100] = 9
    with_overview = slide(OnlyWhole(), UncutImage.of(image), empty_prompt(), SETTINGS).logits(0)
    without = slide(
        OnlyWhole(), UncutImage.of(image), empty_prompt(), SlideSettings((64, 64), (48, 48), overview=False)
    ).logits(0)
    found = with_overview > 0
    assert found[28:52, 48:92].all()
    assert not found[:10].any() and not found[:, 120:].any()
    assert not (without > 0).any()


def test_a_prompt_larger_than_a_tile_takes_the_overview_as_its_mask_prompt() -> None:
    seen = []

    class Recorder(LocalModel):
        """Keeps the prompts it was given."""

        def decode(self, features: SAMFeatures, batch: PromptBatch) -> MaskPrediction:
            seen.append(batch)
            return super().decode(features, batch)

    image = torch.full((1, 3, *SIZE), -1.0)
    image[..., :32, :] = 9  # nothing in the lower part of the image
    batch = PromptBatch.from_prompts([Prompts.create(boxes=[[2.0, 2, 150, 90]])], SIZE)
    slide(Recorder(), UncutImage.of(image), batch, SETTINGS)
    overview, *tiles = seen
    assert overview.input_size == (32, 64) or overview.input_size == (48, 64)
    assert all(tile.masks.shape == (1, 1, 16, 16) for tile in tiles)
    assert all(tile.masks[0, 0, 0, 0] > 0 for tile in tiles)


def test_the_segmentor_slides_by_its_test_cfg() -> None:
    test_cfg = dict(mode='slide', crop_size=(128, 128), stride=(96, 96))
    tiled, whole = (
        segmentor(data_preprocessor=dict(type='PromptDataPreprocessor', size_divisor=16), test_cfg=cfg)
        for cfg in (test_cfg, {})
    )
    large = images(1, 128, 224)

    def predict(model, inputs: torch.Tensor) -> SegDataSample:
        sample = SegDataSample(metainfo=dict(img_shape=inputs.shape[-2:], ori_shape=inputs.shape[-2:]))
        sample.prompts = Prompts.create(boxes=[[10.0, 20, 60, 90]])
        return model.predict(inputs, [sample])[0]

    merged = predict(tiled, large)
    tile = predict(whole, large[..., :128])
    # Blending multiplies and divides by the same weight.
    torch.testing.assert_close(merged.pred_instances.mask_logits[0, :, :128], tile.pred_instances.mask_logits[0])
    assert (merged.pred_instances.mask_logits[0, :, 128:] == OUTSIDE).all()
    assert torch.equal(merged.pred_instances.iou_scores, tile.pred_instances.iou_scores)
    assert torch.equal(merged.pred_sem_seg.data, merged.pred_instances.mask_logits.amax(0, keepdim=True) > 0)
    # An image that is one tile gives the same as without tiles, bit for bit.
    assert torch.equal(
        predict(tiled, large[..., :128]).seg_logits.data, predict(whole, large[..., :128]).seg_logits.data
    )


@pytest.mark.parametrize(
    ('test_cfg', 'named'),
    [
        (dict(mode='tiles'), "'tiles'"),
        (dict(mode='slide', stride=(48, 48)), 'crop_size'),
        (dict(mode='slide', crop_size=(64, 64), stride=(80, 80)), '80'),
        (dict(mode='slide', crop_size=(64, 64), stride=(48, 48), tiles_per_batch=0), 'tiles_per_batch'),
        (dict(mode='slide', crop_size=(64, 64), stride=(48, 48), multimask='oracle'), 'oracle'),
    ],
)
def test_settings_that_do_not_fit_are_named(test_cfg: dict, named: str) -> None:
    with raises_naming(ValueError, named):
        segmentor(test_cfg=test_cfg)


def test_config_is_a_config() -> None:
    assert SlideSettings.from_config(config().get('test_cfg', {})) is None


def test_rounds_in_tiles() -> None:
    """A single tile is the whole image, in two rounds as in one; the second round changes the mask."""
    tiles = dict(mode='slide', crop_size=(128, 128), stride=(128, 128))
    prompts = Prompts.create(boxes=[[20, 30, 80, 99]])
    found = {}
    for rounds in (1, 2):
        for name, extra in (('whole', {}), ('tiles', tiles)):
            model = segmentor(
                data_preprocessor=dict(type='PromptDataPreprocessor', size_divisor=16),
                test_cfg=dict(rounds=rounds, **extra),
            )
            (result,) = model.predict(images(), [sample(prompts)])
            found[rounds, name] = result.pred_instances.mask_logits
        assert_close(found[rounds, 'tiles'], found[rounds, 'whole'], LAYER)
    assert (found[2, 'whole'] - found[1, 'whole']).abs().max() > 1e-3
