"""Tiles cover an image without gaps, blend without seams, and get the prompts that belong to them."""

from __future__ import annotations

import pytest
import torch

from mmsam_ext.structures import PromptBatch, PromptKind, Prompts
from mmsam_ext.structures.tiles import Tile, TileGrid, crop_prompts, join_tiles
from tests.naming import raises_naming

GRID = TileGrid((96, 160), crop_size=(64, 64), stride=(48, 48))


def batch(**prompts) -> PromptBatch:
    """Prompts of one image of the size of GRID."""
    return PromptBatch.from_prompts([Prompts.create(**prompts)], GRID.size)


def test_tiles_of_a_hand_worked_image() -> None:
    assert [(tile.top, tile.left) for tile in GRID.tiles] == [(0, 0), (0, 48), (0, 96), (32, 0), (32, 48), (32, 96)]
    assert {(tile.height, tile.width) for tile in GRID.tiles} == {(64, 64)}


@pytest.mark.parametrize('size', [(64, 64), (96, 160), (16, 400), (80, 32)])
def test_blending_weights_cover_every_pixel(size: tuple[int, int]) -> None:
    grid = TileGrid(size, (64, 64), (48, 32))
    total = torch.zeros(size)
    for tile in grid.tiles:
        weights = grid.weights(tile)
        assert weights.shape == total[tile.rows, tile.columns].shape
        assert 0 < weights.min() and weights.max() <= 1
        total[tile.rows, tile.columns] += weights
    assert total.min() > 0
    if len(grid) == 1:
        assert torch.equal(grid.weights(grid.tiles[0]), torch.ones(size))


def test_regular_neighbours_sum_to_one() -> None:
    grid = TileGrid((64, 112), (64, 64), (48, 48))
    left, right = (grid.weights(tile) for tile in grid.tiles)
    assert torch.allclose(left[:, 48:] + right[:, :16], torch.ones(64, 16))
    assert torch.equal(left[:, :48], torch.ones(64, 48))


def test_a_prompt_goes_to_the_tiles_that_hold_it_whole_or_else_to_all_it_touches() -> None:
    boxes = torch.tensor([[2.0, 2, 20, 20], [50, 34, 60, 60], [10, 10, 120, 20]])
    assigned = GRID.assign(batch(boxes=boxes))
    assert assigned[:, 0].nonzero()[:, 0].tolist() == [0]
    assert assigned[:, 1].nonzero()[:, 0].tolist() == [0, 1, 3, 4]
    assert assigned[:, 2].nonzero()[:, 0].tolist() == [0, 1, 2]  # wider than a tile
    points = batch(points=[[[5.0, 5], [150, 90]]], point_labels=[[1, 1]])
    assert GRID.assign(points)[:, 0].nonzero()[:, 0].tolist() == [0, 5]
    background = batch(points=[[[5.0, 5], [150, 90]]], point_labels=[[1, 0]])
    assert GRID.assign(background)[:, 0].nonzero()[:, 0].tolist() == [0]
    only_background = batch(points=[[[5.0, 5]]], point_labels=[[0]])
    assert GRID.assign(only_background)[:, 0].nonzero()[:, 0].tolist() == [0]
    empty = PromptBatch.from_prompts([Prompts.empty(2)], GRID.size)
    assert GRID.assign(empty).all()


def test_the_right_and_bottom_edge_belong_to_the_last_tile() -> None:
    corner = batch(boxes=[[140.0, 80, 160, 96]])  # coordinates up to the size itself are valid
    assert GRID.assign(corner)[:, 0].nonzero()[:, 0].tolist() == [5]


def test_prompts_in_pixels_of_a_tile() -> None:
    whole = batch(
        points=[[[50.0, 40], [0, 0]], [[100, 70], [60, 40]]],
        point_labels=[[1, 0], [1, 1]],
        boxes=[[30.0, 30, 70, 70], [0, 0, 0, 0]],
        kinds=[int(PromptKind.POINTS | PromptKind.BOX), int(PromptKind.POINTS)],
        masks=torch.arange(2.0 * 24 * 40).view(2, 1, 24, 40),
    )
    tile = Tile(32, 48, 64, 64)
    part = crop_prompts(whole, tile, torch.tensor([0, 1]))
    assert part.input_size == (64, 64)
    assert part.points[0, 0].tolist() == [2, 8]
    assert part.point_labels.tolist() == [[1, -1], [1, 1]]
    assert part.boxes[0].tolist() == [0, 0, 22, 38]
    assert torch.equal(part.masks, whole.masks[..., 8:24, 12:28])


def test_a_prompt_whose_points_lie_elsewhere_keeps_its_box_alone() -> None:
    whole = batch(points=[[[5.0, 5]]], point_labels=[[1]], boxes=[[4.0, 4, 120, 30]])
    part = crop_prompts(whole, Tile(0, 48, 64, 64), torch.tensor([0]))
    assert part.kinds.tolist() == [int(PromptKind.BOX)]
    assert part.boxes[0].tolist() == [0, 4, 64, 30]


def test_prompts_of_several_tiles_become_images_of_one_batch() -> None:
    whole = batch(boxes=[[2.0, 2, 20, 20], [50, 34, 60, 60]])
    tiles = [Tile(0, 0, 64, 64), Tile(0, 48, 64, 64)]
    joined = join_tiles(
        [crop_prompts(whole, tiles[0], torch.tensor([0, 1])), crop_prompts(whole, tiles[1], torch.tensor([1]))]
    )
    assert joined.image_index.tolist() == [0, 0, 1]
    assert joined.numbers == (2, 1)
    assert joined.boxes[2].tolist() == [2, 34, 12, 60]


@pytest.mark.parametrize(
    ('crop_size', 'stride', 'named'),
    [((60, 64), (48, 48), 'crop_size'), ((64, 64), (80, 48), 'stride'), ((64, 64), (0, 48), 'stride')],
)
def test_sizes_that_do_not_fit_are_named(crop_size: tuple, stride: tuple, named: str) -> None:
    with raises_naming(ValueError, named):
        TileGrid((96, 160), crop_size, stride)
