"""Prompts from hand-worked masks, and evaluation prompts that depend on (seed, sample, target, draw) alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmseg.registry import TRANSFORMS

from mmsam_ext.datasets.transforms import generate_prompts
from mmsam_ext.structures import PromptKind, Prompts
from tests.naming import assert_names, raises_naming

#: Two defects: a 2 x 3 block and an L of 4 pixels that touches itself over a corner; 255 is unlabelled.
MASK = """
..........
.##.......
.##.......
.##....#..
.......#..
......#...
.....#...x
..........
"""


def mask() -> np.ndarray:
    rows = MASK.split()
    return np.array([[{'.': 0, '#': 1, 'x': 255}[cell] for cell in row] for row in rows], np.uint8)


def results(seg: np.ndarray | None = None, **fields) -> dict:
    seg = mask() if seg is None else seg
    return dict(
        img=np.zeros((*seg.shape, 3), np.uint8),
        gt_seg_map=seg,
        seg_fields=['gt_seg_map'],
        sample_id='set/one',
        **fields,
    )


def build(modes: dict, **options):
    return TRANSFORMS.build(dict(type='GeneratePrompts', modes=modes, **options))


def pixels(picture: np.ndarray) -> set[tuple[int, int]]:
    return {(int(x), int(y)) for y, x in zip(*np.nonzero(picture == 1), strict=True)}


BLOCK = {(x, y) for x in (1, 2) for y in (1, 2, 3)}
LINE = {(7, 3), (7, 4), (6, 5), (5, 6)}


# ---------------------------------------------------------------- what is drawn


def test_box_around_all_and_a_box_per_component():
    modes = dict(one=dict(), each=dict(targets='parts'), united=dict(targets='parts', united=True))
    out = build(modes, seed=0)(results())
    prompts = out['prompts']
    assert prompts.modes == ('one', 'each', 'united')
    assert prompts.mode_ids.tolist() == [0, 1, 1, 2, 2]
    # First to last foreground pixel; the line hangs together over its corners.
    assert prompts.boxes.tolist() == [[1, 1, 7, 6], [1, 1, 2, 3], [5, 3, 7, 6], [1, 1, 2, 3], [5, 3, 7, 6]]
    assert prompts.kinds.tolist() == [PromptKind.BOX] * 5
    assert prompts.target_ids.tolist() == [0, 1, 2, 0, 0]
    masks = out['gt_masks']
    assert masks.dtype == np.uint8 and [pixels(m) for m in masks] == [BLOCK | LINE, BLOCK, LINE]


def test_points_lie_on_their_target_without_repeats():
    modes = {
        '5': dict(kind='points', num_points=5, draws=30),
        'each': dict(kind='points', targets='parts', num_points=4, draws=30),
    }
    prompts = build(modes, seed=0)(results())['prompts']
    assert len(prompts) == 30 + 60 and prompts.points.shape == (90, 5, 2)
    seen = set()
    for row in range(90):
        real = prompts.point_labels[row] >= 0
        points = [tuple(int(c) for c in point) for point in prompts.points[row, real].tolist()]
        target = [BLOCK | LINE, BLOCK, LINE][int(prompts.target_ids[row])]
        assert len(points) == len(set(points)) == (5 if row < 30 else 4) and set(points) <= target
        assert prompts.point_labels[row, real].unique().tolist() == [1]
        seen |= set(points) if row < 30 else set()
    assert seen == BLOCK | LINE  # every pixel can be drawn
    assert prompts.draw_ids[:30].tolist() == list(range(30))


def test_box_and_points_and_none():
    modes = dict(both={'kind': 'box+points', 'num_points': 2}, none=dict(kind='none'))
    prompts = build(modes, seed=0)(results())['prompts']
    assert prompts.kinds.tolist() == [PromptKind.BOX | PromptKind.POINTS, PromptKind.NONE]
    assert prompts.boxes[0].tolist() == [1, 1, 7, 6] and prompts.point_labels.tolist() == [[1, 1], [-1, -1]]


SIX = dict(many=dict(kind='points', targets='parts', num_points=6))  # the block has six pixels, the line four


@pytest.mark.parametrize('options', [dict(seed=0), dict(seed=0, replace=False), dict(replace=False)])
def test_more_points_than_pixels(options):
    """In evaluation, a target with fewer pixels than points is an error unless `replace` is set."""
    with raises_naming(ValueError, 'set/one', '6 points', '4 pixels', 'many', 'replace=True', 'min_area'):
        build(SIX, **options)(results())
    prompts = build(SIX, min_area=5, **options)(results())['prompts']
    assert len(prompts) == 1 and {tuple(map(int, p)) for p in prompts.points[0].tolist()} == BLOCK


@pytest.mark.parametrize('options', [dict(), dict(seed=0, replace=True)])
def test_a_target_of_fewer_pixels_than_points_repeats_some(options, monkeypatch):
    """Points are repeated in training, and in evaluation if `replace` is set."""
    said = []
    monkeypatch.setattr(generate_prompts, 'print_log', lambda text, **kwargs: said.append(text))
    prompts = build(SIX, **options)(results())['prompts']
    assert {tuple(map(int, p)) for p in prompts.points[1].tolist()} <= LINE and prompts.point_labels.min() == 1
    assert {tuple(map(int, p)) for p in prompts.points[0].tolist()} == BLOCK  # as many as points: each once
    assert len(said) == 1
    assert_names(said[0], 'set/one', '6 points', '4 pixels')


def test_small_parts_are_no_targets():
    prompts = build(dict(each=dict(targets='parts')), seed=0, min_area=5)(results())['prompts']
    assert prompts.boxes.tolist() == [[1, 1, 2, 3]]
    prompts = build(dict(each=dict(targets='parts')), seed=0, min_area=50)(results())['prompts']
    assert prompts.boxes.tolist() == [[1, 1, 7, 6]]  # the whole, so that there is one


def test_parts_of_a_data_set_with_instances():
    left, right = (mask() == 1).astype(np.uint8), (mask() == 1).astype(np.uint8)
    left[:, 2:], right[:, :2] = 0, 0
    out = build(dict(each=dict(targets='parts')), seed=0)(results(gt_masks=np.stack([left, right])))
    assert out['prompts'].boxes.tolist() == [[1, 1, 1, 3], [2, 1, 7, 6]]
    assert [pixels(m) for m in out['gt_masks']] == [BLOCK | LINE, pixels(left), pixels(right)]


def test_error_for_parts_that_were_left_behind():
    """MMSegmentation's transforms flip and resize gt_seg_map, and not a data set's gt_masks."""
    parts = (mask() == 1).astype(np.uint8)[None]
    for seg in (mask()[:, ::-1], np.pad(mask(), 1)):
        with raises_naming(ValueError, 'set/one', 'gt_masks', '(1, 8, 10)'):
            build(dict(each=dict(targets='parts')))(results(np.ascontiguousarray(seg), gt_masks=parts))


# ---------------------------------------------------------------- training


def test_so_many_training_prompts_by_weight():
    modes = dict(
        box=dict(targets='parts', weight=3),
        points=dict(kind='points', num_points=2, weight=1),
        never=dict(kind='none', weight=0),
    )
    np.random.seed(0)
    transform = build(modes, num_prompts=8)
    outs = [transform(results()) for _ in range(60)]
    assert all(len(out['prompts']) == 8 for out in outs)
    modes_drawn = np.concatenate([out['prompts'].mode_ids.numpy() for out in outs])
    assert abs((modes_drawn == 0).mean() - 0.75) < 0.08 and not (modes_drawn == 2).any()
    for out in outs[:10]:
        prompts, masks = out['prompts'], out['gt_masks']
        assert int(prompts.target_ids.max()) == len(masks) - 1 and pixels(masks[0]) == BLOCK | LINE
        assert (
            len(
                {
                    (int(m), int(d), int(t))
                    for m, d, t in zip(prompts.mode_ids, prompts.draw_ids, prompts.target_ids, strict=True)
                }
            )
            == 8
        )
        for box, target, mode in zip(
            prompts.boxes.tolist(), prompts.target_ids.tolist(), prompts.mode_ids.tolist(), strict=True
        ):
            if mode == 0:  # a box asks for the part it was drawn around
                ys, xs = np.nonzero(masks[target])
                assert box == [xs.min(), ys.min(), xs.max(), ys.max()]


def test_united_prompts_ask_for_their_own_part_in_training():
    out = build(dict(united=dict(targets='parts', united=True)))(results())
    assert out['prompts'].target_ids.tolist() == [1, 2] and len(out['gt_masks']) == 3


def test_training_keeps_seg_fields_and_evaluation_freezes_them():
    out = build(dict(one=dict()))(results())
    assert 'gt_seg_map' in out['seg_fields']
    out = build(dict(one=dict()), seed=0)(results())
    assert 'gt_seg_map' not in out['seg_fields']


def test_training_is_said_or_follows_from_the_seed():
    """If `training` is not given, a seed means evaluation and no seed means training."""
    modes = dict(point=dict(kind='points', draws=3), united=dict(targets='parts', united=True))
    for options, training in (
        (dict(), True),
        (dict(seed=0), False),
        (dict(training=True), True),
        (dict(training=False), False),
        (dict(seed=0, training=True), True),
        (dict(seed=0, training=False), False),
    ):
        out = build(modes, **options)(results())
        assert ('gt_seg_map' in out['seg_fields']) is training
        assert out['prompts'].draw_ids[:-2].tolist() == ([0] if training else [0, 1, 2])
        assert out['prompts'].target_ids[-2:].tolist() == ([1, 2] if training else [0, 0])
    # Training prompts with a seed do not depend on NumPy's global state.
    transform = build(modes, seed=5, training=True)
    assert torch.equal(transform(results())['prompts'].points, transform(results())['prompts'].points)
    with raises_naming(ValueError, 'num_prompts', '4', 'training'):
        build(modes, num_prompts=4, training=False)
    assert len(build(modes, num_prompts=4, seed=0, training=True)(results())['prompts']) == 4


# ---------------------------------------------------------------- evaluation


EVALUATION = dict(point=dict(kind='points', draws=3), each=dict(kind='points', targets='parts', num_points=2, draws=2))


def drawn(out: dict, mode: str) -> list:
    prompts: Prompts = out['prompts']
    rows = prompts.mode_ids == prompts.modes.index(mode)
    return [prompts.points[row, prompts.point_labels[row] >= 0].tolist() for row in rows.nonzero()[:, 0]]


def test_evaluation_depends_on_seed_sample_target_and_draw_alone():
    reference = build(EVALUATION, seed=7)(results())
    np.random.seed(123)  # global state, which differs between workers
    transform = build(EVALUATION, seed=7)
    transform(results(img_path='other.png') | dict(sample_id='set/two'))  # other samples before it
    again = transform(results())
    assert drawn(again, 'point') == drawn(reference, 'point') and drawn(again, 'each') == drawn(reference, 'each')
    # Other modes beside it, in another order.
    other = build(dict(box=dict(), each=EVALUATION['each'], point=EVALUATION['point']), seed=7)(results())
    assert drawn(other, 'point') == drawn(reference, 'point') and drawn(other, 'each') == drawn(reference, 'each')
    # More draws: the first ones stay.
    more = build(dict(point=dict(kind='points', draws=9)), seed=7)(results())
    assert drawn(more, 'point')[:3] == drawn(reference, 'point')
    assert len({str(point) for point in drawn(more, 'point')}) > 3
    # They do depend on these:
    assert drawn(build(EVALUATION, seed=8)(results()), 'each') != drawn(reference, 'each')
    assert drawn(build(EVALUATION, seed=7)(results() | dict(sample_id='set/two')), 'each') != drawn(reference, 'each')


def test_evaluation_is_the_same_in_another_folder():
    """Without a sample_id the last two parts of the path tell samples apart, whatever the machine."""
    a, b = (results() | dict(sample_id=None, img_path=path) for path in ('/a/x/val/one.png', 'C:\\data\\val\\one.png'))
    assert drawn(build(EVALUATION, seed=7)(a), 'each') == drawn(build(EVALUATION, seed=7)(b), 'each')


def test_known_numbers():
    """Guards the protocol: other numbers here mean that every published evaluation changes."""
    import zlib

    rng = np.random.default_rng([7, zlib.crc32(b'set/one'), 0, 0, 0])
    place = rng.choice(np.flatnonzero(mask() == 1), 1)[0]
    assert drawn(build(EVALUATION, seed=7)(results()), 'point')[0] == [[place % 10, place // 10]]


# ---------------------------------------------------------------- what passes through, and errors


def test_passes_through():
    transform = build(dict(one=dict()), seed=0)
    bare = dict(img=np.zeros((8, 10, 3), np.uint8))
    assert 'prompts' not in transform(dict(bare))
    own = Prompts.create(boxes=[[1, 2, 3, 4]])
    assert transform(results(prompts=own))['prompts'] is own


def test_empty_masks():
    empty = np.zeros((8, 10), np.uint8)
    with raises_naming(ValueError, 'set/one', 'mask', 'drop_empty=True'):
        build(dict(one=dict()), seed=0)(results(empty))
    empty[0, 0] = 255
    assert build(dict(one=dict()))(results(empty)) is None


def test_errors_of_arguments():
    with raises_naming(ValueError, 'modes'):
        build({})
    with raises_naming(ValueError, "['a', 'b']", '0'):
        build(dict(a=dict(weight=0), b=dict(weight=0)), num_prompts=2)
    with raises_naming(ValueError, 'num_prompts', 'seed'):
        build(dict(one=dict()), seed=0, num_prompts=3)
    with raises_naming(ValueError, 'a', 'kind', 'circle', 'box+points'):
        build(dict(a=dict(kind='circle')))
    with raises_naming(ValueError, 'a', 'targets', 'all', 'whole', 'parts'):
        build(dict(a=dict(targets='all')))
    with raises_naming(ValueError, 'a', 'num_points', 'draws'):
        build(dict(a=dict(draws=0)))
    with raises_naming(TypeError, 'number'):
        build(dict(a=dict(number=3)))


# ---------------------------------------------------------------- drawn from a resized mask


def test_prompts_of_a_resized_mask_by_hand():
    """A pixel of a 2 x 2 mask covers 0.75 * 0.75 > 128 / 255 of the second pixel of a 4 x 4 mask, on both axes."""
    seg = np.array([[1, 0], [0, 0]], np.uint8)
    resized = generate_prompts.resized_mask(seg, (4, 4))
    assert resized.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    modes = dict(box=dict(), points=dict(kind='points', num_points=4))
    out = build(modes, seed=0, draw_size=(4, 4))(results(seg))
    assert out['prompts'].boxes[0].tolist() == [0, 0, 0.5, 0.5], 'from pixel 0 to pixel 1 of 4'
    assert {tuple(point) for point in out['prompts'].points[1].tolist()} == {(0, 0), (0.5, 0), (0, 0.5), (0.5, 0.5)}
    assert out['gt_masks'].tolist() == [seg.tolist()], 'the target stays at the original size'


def test_prompts_of_a_resized_mask_equal_pytorch():
    """As the authors' code: bilinear without antialiasing, above 128, first and last pixel; x and y differ."""
    seg = mask()
    wanted = torch.from_numpy((seg == 1) * 255.0)[None, None]
    wanted = torch.nn.functional.interpolate(wanted, (64, 96), mode='bilinear', align_corners=False)[0, 0] > 128
    y, x = wanted.nonzero().unbind(1)
    expected = torch.stack([x.min(), y.min(), x.max(), y.max()]) * torch.tensor([10 / 96, 8 / 64, 10 / 96, 8 / 64])
    modes = dict(one=dict(), each=dict(targets='parts', united=True))
    out = build(modes, seed=0, draw_size=(64, 96))(results(seg))['prompts']
    assert torch.allclose(out.boxes[0], expected)
    # The L touches itself over a corner, where half is not more than 128 of 255: its two ends come apart.
    assert len(out) == 1 + 3 and out.target_ids.tolist() == [0] * 4


def test_a_mask_that_vanishes_at_draw_size_is_drawn_from_as_it_is():
    """One pixel of 8 x 8 is at most a quarter of a pixel of 4 x 4, as a defect of one pixel of MTD at 384 x 384."""
    seg = np.zeros((8, 8), np.uint8)
    seg[3, 6] = 1
    modes = dict(box=dict(), point=dict(kind='points'), each=dict(targets='parts', united=True))
    out = build(modes, seed=0, draw_size=(4, 4))(results(seg))
    assert out['prompts'].boxes[[0, 2]].tolist() == [[6, 3, 6, 3]] * 2
    assert out['prompts'].points[1].tolist() == [[6, 3]]
    assert out['gt_masks'].tolist() == [seg.tolist()]


def test_draw_size_does_not_fit_training_or_single_parts():
    for options in (dict(training=True), dict(modes=dict(each=dict(targets='parts')))):
        with raises_naming(ValueError, 'draw_size', '(4, 4)'):
            build(**{**dict(modes=dict(box=dict()), seed=0, draw_size=(4, 4)), **options})


@pytest.mark.parametrize('size', [1024, (1024,), (64, 64, 3), (0, 64), (-1, 64), (64.5, 64), '64'])
def test_draw_size_is_two_whole_numbers(size):
    with raises_naming(ValueError, 'GeneratePrompts', 'draw_size', repr(size), 'height, width'):
        build(dict(box=dict()), seed=0, draw_size=size)
