"""`Prompts`: defaults, errors, and copies through workers, pinning and batches."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.structures import SegDataSample

from mmsam_ext.structures import PromptKind, Prompts
from tests.naming import raises_naming

BOX = [[1, 2, 30, 40], [5, 6, 7, 8]]


def valid() -> Prompts:
    return Prompts.create(
        points=np.array([[[3, 4], [5, 6]], [[7, 8], [9, 10]]]),
        point_labels=[[1, 0], [1, -1]],
        boxes=BOX,
        target_ids=[0, 1],
        draw_ids=[2, 0],
        mode_ids=[1, 0],
        modes=('box', 'points'),
        kinds=[PromptKind.BOX, PromptKind.BOX | PromptKind.POINTS],
        sample='one.png',
    )


def test_create_completes_and_converts():
    prompts = Prompts.create(boxes=BOX)
    assert len(prompts) == 2
    assert prompts.kinds.tolist() == [2, 2] and prompts.boxes.dtype == torch.float32
    assert prompts.points.shape == (2, 0, 2) and prompts.point_labels.shape == (2, 0)
    assert prompts.masks.shape == (2, 1, 0, 0)
    assert prompts.target_ids.tolist() == prompts.draw_ids.tolist() == prompts.mode_ids.tolist() == [0, 0]
    assert prompts.modes == ('prompt',)
    everything = Prompts.create(points=[[[1, 2]]], point_labels=[[1]], boxes=BOX[:1], masks=torch.zeros(1, 1, 4, 4))
    assert everything.kinds.tolist() == [7]
    assert everything.points.dtype == torch.float32 and everything.point_labels.dtype == torch.int64


def test_empty():
    prompts = Prompts.empty(3)
    assert len(prompts) == 3 and prompts.kinds.tolist() == [0, 0, 0] and prompts.modes == ('none',)
    assert not any(prompts.uses(kind).any() for kind in (PromptKind.POINTS, PromptKind.BOX, PromptKind.MASK))
    prompts.check()


def test_uses():
    prompts = valid()
    assert prompts.uses(PromptKind.BOX).tolist() == [True, True]
    assert prompts.uses(PromptKind.POINTS).tolist() == [False, True]
    assert prompts.uses(PromptKind.MASK).tolist() == [False, False]


def test_scaled_is_a_copy():
    prompts = valid()
    scaled = prompts.scaled(2.0, 0.5)
    assert scaled.boxes.tolist() == [[2, 1, 60, 20], [10, 3, 14, 4]]
    assert scaled.points[1, 0].tolist() == [14, 4]
    assert prompts.boxes.tolist() == BOX and prompts.points[1, 0].tolist() == [7, 8]
    assert scaled.modes == ('box', 'points') and scaled.target_ids.tolist() == [0, 1]
    scaled.check()


NAN = float('nan')
WRONG = {
    'nothing': (dict(), ('points', 'boxes', 'masks')),
    'points alone': (dict(points=[[[1, 2]]]), ('point_labels',)),
    'labels alone': (dict(point_labels=[[1]]), ('points',)),
    'shape': (dict(boxes=[[1, 2, 3]]), ('boxes', '(1, 3)', '(1, 4)')),
    'length': (
        dict(boxes=BOX, target_ids=[0]),
        ('target_ids', '(1,)', '(2,)'),
    ),
    'points and labels': (
        dict(points=[[[1, 2], [3, 4]]], point_labels=[[1]]),
        ('point_labels', '(1, 1)', '(1, 2)', 'points'),
    ),
    'mask without channel': (
        dict(masks=torch.zeros(1, 8, 8)),
        ('masks', '(1, 8, 8)', '(1, 1, any, any)'),
    ),
    'nan box': (
        dict(boxes=[[0, 0, 1, 1], [1, NAN, 3, 4]]),
        ('boxes', 'nan', '[1, 1]'),
    ),
    'infinite point': (
        dict(points=[[[1, float('inf')]]], point_labels=[[1]]),
        ('points', 'inf', '[0, 0, 1]'),
    ),
    'flipped x': (
        dict(boxes=[[0, 0, 1, 1], [30, 2, 10, 40]]),
        ('boxes', 'row 1', '[30.0, 2.0, 10.0, 40.0]', 'x1 <= x2'),
    ),
    'flipped y': (dict(boxes=[[0, 5, 1, 1]]), ('boxes', 'row 0', '[0.0, 5.0, 1.0, 1.0]')),
    'label': (
        dict(points=[[[1, 2]]], point_labels=[[2]]),
        ('point_labels', '[2]'),
    ),
    'only padding': (
        dict(points=[[[1, 2]]], point_labels=[[-1]]),
        ('prompt 0', 'point_labels'),
    ),
    'kind': (dict(boxes=BOX, kinds=[2, 8]), ('kinds', '[2, 8]')),
    'mask kind': (dict(boxes=BOX, kinds=[2, 4]), ('MASK', 'masks', '(2, 1, 0, 0)')),
    'mode': (dict(boxes=BOX, mode_ids=[0, 1]), ('mode_ids', '[0, 1]', 'modes', "('prompt',)")),
    'target': (dict(boxes=BOX, target_ids=[0, -1]), ('target_ids', '-1')),
    'draw': (dict(boxes=BOX, draw_ids=[-2, 0]), ('draw_ids', '-2')),
    'no tensor': (dict(boxes=[[1, 2], [3]]), ('boxes',)),
}


@pytest.mark.parametrize('case', WRONG)
def test_errors(case):
    fields, names = WRONG[case]
    with raises_naming(ValueError, 'one.png', *names):
        Prompts.create(**fields, sample='one.png')


def test_quotes_in_a_sample_name_are_kept():
    with raises_naming(ValueError, "d'or.png", '(1, 3)', '(1, 4)'):
        Prompts.create(boxes=[[1, 2, 3]], sample="d'or.png")


def test_errors_for_field_names_and_dtypes():
    with raises_naming(TypeError, 'bboxes'):
        Prompts.create(bboxes=BOX)
    prompts = valid()
    prompts.bboxes = prompts.boxes
    with raises_naming(ValueError, 'one.png', 'bboxes'):
        prompts.check('one.png')
    prompts = valid()
    del prompts.kinds
    with raises_naming(ValueError, 'kinds'):
        prompts.check()
    prompts = valid()
    prompts.boxes = prompts.boxes.double()
    with raises_naming(ValueError, 'boxes', 'torch.float64', 'torch.float32'):
        prompts.check()


def test_unused_boxes_may_be_anything_finite():
    Prompts.create(points=[[[1, 2]]], point_labels=[[1]], boxes=[[9, 9, 1, 1]], kinds=[PromptKind.POINTS])


@pytest.mark.parametrize(
    ('fields', 'names'),
    [
        (
            dict(points=[[[1, 2], [64.2, 5]]], point_labels=[[1, 0]]),
            ('points', '[0, 1]', '5.0]'),
        ),
        (dict(points=[[[-0.6, 2]]], point_labels=[[1]]), ('points', '[0, 0]')),
        (
            dict(boxes=[[0, 0, 10, 33]]),
            ('boxes', 'row 0', '[0.0, 0.0, 10.0, 33.0]'),
        ),
        (dict(boxes=[[-3, 0, 10, 10]]), ('boxes', 'row 0', '[-3.0, 0.0, 10.0, 10.0]')),
    ],
)
def test_errors_outside_the_image(fields, names):
    with raises_naming(ValueError, 'one', '64 x 32', *names):
        Prompts.create(**fields).check_inside(64, 32, 'one')


def test_inside_the_image():
    Prompts.create(boxes=[[0, 0, 64, 32]]).check_inside(64, 32)  # half-open boxes are common and mean no harm
    padded = Prompts.create(points=[[[63, 31], [500, 500]]], point_labels=[[1, -1]])
    padded.check_inside(64, 32)
    Prompts.create(boxes=[[0, 0, 999, 999]], kinds=[PromptKind.NONE]).check_inside(64, 32)


@pytest.mark.parametrize('size', [2048, 300, 65])
def test_the_last_pixel_stays_inside_when_an_image_shrinks(size):
    """Coordinates scale by the sizes' ratio, as SamPredictor's do: 255 of 256 becomes 63.75 of 64."""
    corner = Prompts.create(points=[[[size - 1, size - 1]]], point_labels=[[1]], boxes=[[0, 0, size - 1, size - 1]])
    corner.scaled(64 / size, 64 / size).check_inside(64, 64)


def same(a: Prompts, b: Prompts) -> bool:
    fields = all(torch.equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a.keys())  # noqa: SIM118
    return type(a) is type(b) is Prompts and set(a.keys()) == set(b.keys()) and fields and a.modes == b.modes


def test_survives_copies():
    prompts = valid()
    assert same(prompts, pickle.loads(pickle.dumps(prompts)))
    assert same(prompts, copy.deepcopy(prompts)) and same(prompts, prompts.clone())
    assert same(prompts, prompts.to('cpu')) and same(prompts, prompts.cpu())
    inside = SegDataSample()
    inside.prompts = prompts
    assert same(inside.to('cpu').prompts, prompts)
    meta = prompts.to('meta')
    assert meta.boxes.device.type == 'meta' and meta.modes == prompts.modes
    row = prompts[1:2]
    assert len(row) == 1 and row.boxes.tolist() == BOX[1:] and row.modes == prompts.modes
    row.check()


class _Samples(torch.utils.data.Dataset):
    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> dict:
        sample = SegDataSample(metainfo=dict(sample_id=str(index)))
        sample.prompts = valid().scaled(index + 1, 1)
        return dict(inputs=torch.zeros(3, 4, 4), data_samples=sample)


def test_survives_a_worker():
    loader = torch.utils.data.DataLoader(_Samples(), batch_size=3, num_workers=1, collate_fn=pseudo_collate)
    (batch,) = loader
    for index, sample in enumerate(batch['data_samples']):
        assert same(sample.prompts, valid().scaled(index + 1, 1))
        sample.prompts.check()
    assert batch['data_samples'][2].to_dict()['prompts']['modes'] == ('box', 'points')
