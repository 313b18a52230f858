"""PromptBatch against the prompts of each image, one by one."""

from __future__ import annotations

import pytest
import torch

from mmsam_ext.structures import PromptBatch, PromptKind, Prompts
from tests.models.prompts import mixed
from tests.models.small import images, sample
from tests.naming import raises_naming


def test_flattened_by_hand() -> None:
    first = Prompts.create(boxes=[[1, 2, 3, 4], [5, 6, 7, 8]], target_ids=[0, 2], draw_ids=[3, 1], mode_ids=[0, 0])
    second = Prompts.create(points=[[[9, 8], [7, 6]]], point_labels=[[1, 0]], target_ids=[1])
    batch = PromptBatch.from_prompts([first, second], (64, 96))
    assert len(batch) == 3 and batch.numbers == (2, 1) and batch.input_size == (64, 96)
    assert batch.image_index.tolist() == [0, 0, 1] and batch.image_index.dtype == torch.int64
    assert batch.points.tolist() == [[[0, 0], [0, 0]], [[0, 0], [0, 0]], [[9, 8], [7, 6]]]
    assert batch.point_labels.tolist() == [[-1, -1], [-1, -1], [1, 0]]
    assert batch.boxes.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8], [0, 0, 0, 0]]
    assert batch.masks.shape == (3, 1, 0, 0)
    assert batch.target_ids.tolist() == [0, 2, 1] and batch.draw_ids.tolist() == [3, 1, 0]
    assert batch.uses(PromptKind.BOX).tolist() == [True, True, False]
    assert [part.tolist() for part in batch.split(batch.target_ids)] == [[0, 2], [1]]


def test_one_point_is_a_single_point_and_nothing_else() -> None:
    batch = PromptBatch.from_prompts(mixed(), (128, 128))
    # three points; a box; a box and a point; nothing | a point, a box and a mask; a mask; one point
    assert batch.is_one_point.tolist() == [False] * 6 + [True]
    padded = Prompts.create(points=[[[1, 1], [2, 2]]] * 2, point_labels=[[-1, 0], [1, 1]])
    assert PromptBatch.from_prompts([padded], (8, 8)).is_one_point.tolist() == [True, False]


def test_images_without_mask_prompts_get_zeros() -> None:
    masks = torch.rand(2, 1, 4, 4)
    prompts = [Prompts.create(boxes=[[1, 2, 3, 4]]), Prompts.create(masks=masks)]
    batch = PromptBatch.from_prompts(prompts, (16, 16))
    assert torch.equal(batch.masks, torch.cat([torch.zeros(1, 1, 4, 4), masks]))


def test_selection() -> None:
    batch = PromptBatch.from_prompts(mixed(), (128, 128))
    rows = torch.tensor([1, 3, 4])
    for some in (batch.select(rows), batch.select(rows, [2, 1])):
        assert some.numbers == (2, 1) and some.image_index.tolist() == [0, 0, 1]
        for name in ('points', 'point_labels', 'boxes', 'masks', 'kinds', 'target_ids'):
            assert torch.equal(getattr(some, name), getattr(batch, name)[rows])
        assert some.input_size == batch.input_size and some.names == batch.names


def test_from_samples() -> None:
    boxes = Prompts.create(boxes=[[1, 2, 3, 4]] * 2)
    batch = PromptBatch.from_samples([sample(boxes), sample()], images(2, 64, 96))
    assert batch.numbers == (2, 1) and batch.kinds.tolist() == [2, 2, 0] and batch.input_size == (64, 96)
    assert batch.names == ('folder/one.png',) * 2
    assert PromptBatch.from_samples(None, images(3)).numbers == (1, 1, 1)


@pytest.mark.parametrize(('names', 'named'), [(None, 'image 1 of the batch'), (['a.png', 'b.png'], 'b.png')])
def test_masks_of_different_sizes(names: list[str] | None, named: str) -> None:
    prompts = [Prompts.create(masks=torch.zeros(1, 1, size, size)) for size in (32, 64)]
    with raises_naming(ValueError, named, 'masks', '(1, 1, 64, 64)', '(1, 1, 32, 32)'):
        PromptBatch.from_prompts(prompts, (128, 128), names)
