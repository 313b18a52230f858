"""RandomTile cuts image and masks alike, and keeps a defect in the tile."""

from __future__ import annotations

import numpy as np

from mmsam_ext.datasets.transforms import RandomTile
from tests.naming import raises_naming


def sample(height: int = 300, width: int = 400) -> dict:
    """Return an image whose pixel values encode their position, with two small defects."""
    y, x = np.mgrid[:height, :width]
    masks = np.zeros((2, height, width), np.uint8)
    masks[0, 10:14, 20:24] = 1
    masks[1, 280:286, 390:396] = 1
    return dict(
        img=np.stack([y % 256, x % 256, (y // 256) * 16 + x // 256], -1).astype(np.uint8),
        gt_seg_map=masks.max(0),
        gt_masks=masks,
        img_path='a.png',
        img_shape=(height, width),
        ori_shape=(height, width),
    )


def place(pixel: np.ndarray) -> tuple[int, int]:
    """Return the (y, x) that a pixel value encodes."""
    y, x, high = (int(value) for value in pixel)
    return y + 256 * (high // 16), x + 256 * (high % 16)


def test_every_tile_holds_a_defect_and_all_fields_are_cut_alike() -> None:
    np.random.seed(0)
    transform, seen = RandomTile((64, 96)), set()
    for _ in range(40):
        whole, tile = sample(), transform(sample())
        top, left = place(tile['img'][0, 0])
        assert tile['img'].shape == (64, 96, 3) and tile['img_shape'] == (64, 96)
        assert np.array_equal(tile['img'], whole['img'][top : top + 64, left : left + 96])
        assert np.array_equal(tile['gt_seg_map'], whole['gt_seg_map'][top : top + 64, left : left + 96])
        assert tile['gt_seg_map'].any()
        # Masks that are outside the tile are gone; what is left is what the tile shows.
        assert len(tile['gt_masks']) == 1 and tile['gt_masks'].any((1, 2)).all()
        assert np.array_equal(tile['gt_masks'].max(0), tile['gt_seg_map'])
        seen.add(top > 150)
    assert seen == {True, False}  # both defects come up


def test_without_a_wish_for_defects_tiles_are_anywhere() -> None:
    np.random.seed(0)
    tiles = [RandomTile((64, 64), defect_share=0.0)(sample()) for _ in range(50)]
    corners = np.array([place(tile['img'][0, 0]) for tile in tiles])
    assert corners.min(0).max() < 60 and corners[:, 0].max() > 180 and corners[:, 1].max() > 250
    assert sum(bool(tile['gt_seg_map'].any()) for tile in tiles) < 15


def test_an_image_smaller_than_the_tile_and_one_without_defects() -> None:
    small = RandomTile((512, 64))(sample())
    assert small['img'].shape == (300, 64, 3)
    normal = sample()
    normal['gt_seg_map'][:] = 0
    del normal['gt_masks']
    assert RandomTile((64, 64))(normal)['img'].shape == (64, 64, 3)


def test_bad_input_is_named() -> None:
    with raises_naming(ValueError, 'size'):
        RandomTile((0, 64))
    with raises_naming(ValueError, '1.5'):
        RandomTile((64, 64), defect_share=1.5)
    resized = sample()
    resized['gt_seg_map'] = resized['gt_seg_map'][::2, ::2]
    with raises_naming(ValueError, 'a.png', 'gt_seg_map'):
        RandomTile((64, 64))(resized)
