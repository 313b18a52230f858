"""Noise on prompts: within its bounds, within the image, and keyed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmseg.registry import TRANSFORMS

from mmsam_ext.datasets.transforms import box_iou, noisy_box
from mmsam_ext.structures import PromptKind, Prompts
from tests.naming import raises_naming
from tests.numeric import LAYER, assert_close


def results(prompts: Prompts | None, **fields) -> dict:
    return dict(img=np.zeros((100, 200, 3), np.uint8), prompts=prompts, sample_id='set/one', **fields)


def many(number: int = 400) -> Prompts:
    return Prompts.create(
        boxes=[[50, 40, 90, 60]] * number,
        points=[[[60, 50], [5, 2]]] * number,
        point_labels=[[1, -1]] * number,
        draw_ids=range(number),
        kinds=[PromptKind.BOX | PromptKind.POINTS] * number,
        modes=('a', 'b'),
    )


def perturb(prompts: Prompts, **options) -> Prompts:
    return TRANSFORMS.build(dict(type='PerturbPrompts', **options))(results(prompts))['prompts']


def test_bounds_of_the_box_noise():
    """Centre (70, 50), sides 40 and 20: with 0.4 the centre moves by up to 8 and 4, sides lie in 24..56 and 12..28."""
    boxes = perturb(many(), box_noise=0.4, seed=0).boxes.numpy()
    centre, sides = (boxes[:, :2] + boxes[:, 2:]) / 2 - [70, 50], boxes[:, 2:] - boxes[:, :2]
    for axis, (most, side) in enumerate([(8, 40), (4, 20)]):
        assert np.abs(centre[:, axis]).max() <= most + 1e-3 and np.abs(centre[:, axis]).max() > 0.95 * most
        assert sides[:, axis].min() >= 0.6 * side - 1e-3 and sides[:, axis].max() <= 1.4 * side + 1e-3
        assert (
            abs(centre[:, axis].mean()) < 0.1 * most and abs(sides[:, axis].std() / (0.4 * side) - 1 / 3**0.5) < 0.05
        )  # uniform
    assert (
        abs(np.corrcoef(centre.T)[0, 1]) < 0.15 and abs(np.corrcoef(centre[:, 0], sides[:, 0])[0, 1]) < 0.15
    )  # independent


def test_clipping():
    rng = np.random.default_rng(0)
    for _ in range(200):
        x1, y1, x2, y2 = noisy_box(np.array([150.0, 0, 199, 99]), 1.5, (100, 200), rng)
        assert 0 <= x1 <= x2 <= 199 and 0 <= y1 <= y2 <= 99


def test_points_move_within_their_square_and_the_image():
    prompts = perturb(many(), point_jitter=10, seed=0)
    moved = prompts.points[:, 0] - torch.tensor([60.0, 50.0])
    assert 9 < moved.abs().max() <= 10 and moved.mean().abs() < 1
    corner = Prompts.create(points=[[[199, 0]]] * 100, point_labels=[[1]] * 100, draw_ids=range(100))
    points = perturb(corner, point_jitter=30, seed=0).points[:, 0]
    assert points[:, 0].max() <= 199 and points[:, 1].min() >= 0 and points[:, 0].min() < 175
    assert torch.equal(prompts.boxes, many().boxes)


def test_named_modes_alone():
    prompts = many(4)
    prompts.mode_ids[:] = torch.tensor([0, 1, 0, 1])
    boxes = perturb(prompts, box_noise=0.4, modes=['b'], seed=0).boxes
    changed = (boxes != many(4).boxes).any(1)
    assert changed.tolist() == [False, True, False, True]


def test_kinds_that_have_no_box_or_points_stay():
    prompts = many(2)
    prompts.kinds[:] = torch.tensor([PromptKind.POINTS, PromptKind.NONE])
    out = perturb(prompts, box_noise=0.4, point_jitter=5, seed=0)
    assert torch.equal(out.boxes, many(2).boxes) and torch.equal(out.points[1], many(2).points[1])


def test_keyed_by_seed_sample_target_and_draw():
    a, b = perturb(many(5), box_noise=0.4, seed=3), perturb(many(9), box_noise=0.4, seed=3)
    assert torch.equal(a.boxes, b.boxes[:5]) and len(set(map(tuple, b.boxes.tolist()))) == 9
    assert not torch.equal(a.boxes, perturb(many(5), box_noise=0.4, seed=4).boxes)
    transform = TRANSFORMS.build(dict(type='PerturbPrompts', box_noise=0.4, seed=3))
    other = transform(results(many(5)) | dict(sample_id='set/two'))['prompts']
    assert not torch.equal(a.boxes, other.boxes)
    united = many(3)  # boxes that ask for one target together get noise of their own
    united.draw_ids[:] = 0
    assert len(set(map(tuple, perturb(united, box_noise=0.4, seed=3).boxes.tolist()))) == 3


def test_training_noise_follows_numpys_state():
    drawn = []
    for seed in (0, 0, 1):
        np.random.seed(seed)
        drawn.append(perturb(many(3), box_noise=0.4).boxes)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])


def test_passes_through_without_prompts():
    transform = TRANSFORMS.build(dict(type='PerturbPrompts', box_noise=0.1))
    assert transform(dict(img=np.zeros((4, 4, 3)))).keys() == {'img'}


def iou_by_pixels(one: np.ndarray, other: np.ndarray) -> float:
    """IoU of boxes of whole pixels, counted."""
    masks = np.zeros((2, 100, 200), bool)
    for mask, (x1, y1, x2, y2) in zip(masks, (one, other), strict=True):
        mask[y1 : y2 + 1, x1 : x2 + 1] = True
    return (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()


def test_box_iou_against_counted_pixels():
    rng = np.random.default_rng(0)
    boxes = np.concatenate([corners := rng.integers(0, 60, (50, 2)), corners + rng.integers(0, 40, (50, 2))], 1)
    expected = [iou_by_pixels(boxes[0], box) for box in boxes]
    assert_close(box_iou(boxes[0], boxes), expected, LAYER)
    assert box_iou(boxes[0], boxes)[0] == 1 and min(expected) == 0


@pytest.mark.parametrize(('least', 'most'), [(0.5, 0.6), (0.6, 0.7), (0.0, 0.1), (0.95, 1.0)])
def test_boxes_of_an_iou_range(least, most):
    """All within the range and the image, spread over the range, and to all sides."""
    clean = np.array([50.0, 40, 90, 60])
    boxes = perturb(many(), box_iou=(least, most), seed=0).boxes.numpy()
    reached = box_iou(clean, boxes)
    assert reached.min() >= least and reached.max() <= most
    assert reached.min() < least + 0.02 and reached.max() > most - 0.02
    assert ((boxes >= 0) & (boxes <= [199, 99, 199, 99])).all()
    for column in range(4):
        share = (boxes[:, column] > clean[column]).mean()
        assert 0.2 < share < 0.8
    again = perturb(many(5), box_iou=(least, most), seed=0).boxes.numpy()
    assert np.array_equal(again, boxes[:5])  # a function of seed, sample, target and draw
    assert len(np.unique(boxes, axis=0)) == len(boxes)


def test_a_line_of_one_pixel_has_noisy_boxes_too():
    line = Prompts.create(boxes=[[50, 40, 90, 40]] * 50, draw_ids=range(50))
    reached = box_iou(line.boxes[0].numpy(), perturb(line, box_iou=(0.5, 0.6), seed=0).boxes.numpy())
    assert reached.min() >= 0.5 and reached.max() <= 0.6


def test_an_iou_range_that_no_box_meets():
    """The box fills the image: clipped noise can only shrink it to a tenth or so at times, never to a 100000th."""
    prompts = Prompts.create(boxes=[[0, 0, 199, 99]])
    with raises_naming(ValueError, 'set/one', '1e-05', '[0.0, 0.0, 199.0, 99.0]', 'prompt 0', '200 x 100'):
        perturb(prompts, box_iou=(0.0, 1e-5), seed=0)


def test_errors():
    for value in ((0.6, 0.5), (-0.1, 0.5), (0.5, 1.1), (0.5,)):
        with raises_naming(ValueError, 'PerturbPrompts', 'box_iou', value):
            TRANSFORMS.build(dict(type='PerturbPrompts', box_iou=value))
    with raises_naming(ValueError, 'PerturbPrompts', 'box_iou', 'box_noise'):
        TRANSFORMS.build(dict(type='PerturbPrompts', box_iou=(0.5, 0.6), box_noise=0.1))
    for name in ('box_noise', 'point_jitter'):
        for value in (-0.1, float('nan')):
            with raises_naming(ValueError, 'PerturbPrompts', name, value):
                TRANSFORMS.build(dict(type='PerturbPrompts', **{name: value}))
    with raises_naming(ValueError, 'PerturbPrompts', 'modes', "['c']", "('a', 'b')"):
        perturb(many(2), box_noise=0.1, modes=['a', 'c'])
