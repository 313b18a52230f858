"""Prompts on the background: where they lie, and that their targets are empty."""

from __future__ import annotations

import numpy as np
import pytest

from mmsam_ext.datasets.transforms.background_prompts import clear_box
from mmsam_ext.structures import PromptKind
from tests.datasets.transforms.test_generate_prompts import BLOCK, LINE, build, mask, pixels, results
from tests.naming import raises_naming

MODES = {
    'box': dict(kind='box'),
    'point': dict(kind='points', targets='background', num_points=3, draws=40),
    'empty box': dict(kind='box+points', targets='background', num_points=1, draws=40),
    'each': dict(targets='parts'),
}


@pytest.mark.parametrize('seed', [0, 1])
def test_evaluation(seed):
    out = build(MODES, seed=seed)(results())
    prompts, masks = out['prompts'], out['gt_masks']
    # The whole, the empty mask that all background prompts share, then the parts.
    assert [pixels(one) for one in masks] == [BLOCK | LINE, set(), BLOCK, LINE]
    assert prompts.target_ids.tolist() == [0] + [1] * 80 + [2, 3]
    for row in range(1, 81):
        points = prompts.points[row][prompts.point_labels[row] == 1].long()
        assert len(points) == (3 if row <= 40 else 1)
        assert all(mask()[y, x] == 0 for x, y in points.tolist())  # neither foreground nor unlabelled
        if prompts.kinds[row] & PromptKind.BOX:
            left, top, right, bottom = prompts.boxes[row].long().tolist()
            assert (mask()[top : bottom + 1, left : right + 1] == 0).all()
            ((x, y),) = points.tolist()
            assert left <= x <= right and top <= y <= bottom
    again = build(dict(list(MODES.items())[:2]), seed=seed)(results())['prompts']  # whatever other modes there are
    assert (again.points[1:41] == prompts.points[1:41]).all()


def test_other_modes_draw_what_they_drew_without_background():
    few = {name: mode for name, mode in MODES.items() if mode.get('targets') != 'background'}
    few['points'] = dict(kind='points', num_points=4, draws=5)
    with_background = build({**few, 'nothing': MODES['point']}, seed=0)(results())
    alone = build(few, seed=0)(results())
    number = len(alone['prompts'])
    for field in ('points', 'boxes', 'target_ids', 'draw_ids'):
        one, other = getattr(alone['prompts'], field), getattr(with_background['prompts'], field)[:number]
        assert (one == other).all()


def test_training_share():
    np.random.seed(0)
    modes = {'box': dict(targets='parts', weight=3), 'nothing': dict(kind='box', targets='background', weight=1)}
    out = build(modes, num_prompts=400)(results())
    empty = [not out['gt_masks'][row].any() for row in out['prompts'].target_ids.tolist()]
    assert empty == [mode == 1 for mode in out['prompts'].mode_ids.tolist()]
    assert abs(sum(empty) - 100) < 40  # 4.6 standard deviations


def test_a_mask_without_background():
    full = np.ones((6, 6), np.uint8)
    full[0, 0] = 255
    with raises_naming(ValueError, 'set/one', 'background'):
        build(MODES, seed=0)(results(full))
    assert build(MODES)(results(full)) is None  # in training another sample is taken
    assert build({'box': MODES['box']}, seed=0)(results(full)) is not None


def test_clear_box_shrinks_to_its_pixel():
    free = np.zeros((9, 9), np.uint8)
    free[4, 7] = 1
    box = clear_box(free, np.random.default_rng(0))
    assert np.argwhere(box).tolist() == [[4, 7]]


def test_clear_box_sides():
    """On an empty image of 64 px half sides reach from 2 to 16 pixels and boxes are cut off at the border."""
    rng = np.random.default_rng(0)
    sides = np.array([np.ptp(np.argwhere(clear_box(np.ones((64, 64), np.uint8), rng)), axis=0) for _ in range(400)])
    assert sides.max() <= 32 and sides.min() >= 2 and np.median(sides) > 6
