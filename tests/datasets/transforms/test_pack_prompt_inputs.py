"""Packing: prompts in the frame of the network input, and the probe that finds any other geometry in between."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.dataset import Compose
from mmengine.registry import init_default_scope

from mmsam_ext.structures import Prompts
from tests.naming import raises_naming
from tests.numeric import LAYER, assert_close


def results(height: int = 120, width: int = 200, **fields) -> dict:
    seg = np.zeros((height, width), np.uint8)
    seg[30:60, 40:101] = 1
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)
    return dict(
        img=image, img_shape=(height, width), ori_shape=(height, width), gt_seg_map=seg, seg_fields=['gt_seg_map'],
        sample_id='set/one', dataset_name='MTD', defect_class='MT_Crack', img_path='x/one.png',
        seg_map_path='x/one_mask.png', reduce_zero_label=False, **fields,
    )  # fmt: skip


def run(*between: dict, data: dict | None = None, seed: int | None = 0):
    init_default_scope('mmseg')
    generate = dict(type='GeneratePrompts', modes=dict(box=dict()), seed=seed)
    return Compose([generate, *between, dict(type='PackPromptInputs')])(data or results())


def test_what_is_packed():
    packed = run()
    sample = packed['data_samples']
    assert packed['inputs'].shape == (3, 120, 200) and packed['inputs'].dtype == torch.uint8
    assert (sample.sample_id, sample.dataset_name, sample.defect_class) == ('set/one', 'MTD', 'MT_Crack')
    assert sample.img_path == 'x/one.png' and sample.ori_shape == (120, 200)
    assert isinstance(sample.prompts, Prompts) and sample.prompts.boxes.tolist() == [[40, 30, 100, 59]]
    assert sample.gt_masks.data.dtype == torch.uint8 and sample.gt_masks.shape == (120, 200)
    assert sample.gt_sem_seg.data.shape == (1, 120, 200)


@pytest.mark.parametrize('backend', ['cv2', 'pillow'])
@pytest.mark.parametrize(
    ('scale', 'keep_ratio'), [((400, 400), True), ((64, 64), True), ((90, 300), False), ((201, 119), False)]
)
def test_prompts_follow_a_resize_and_targets_stay(scale, keep_ratio, backend):
    packed = run(dict(type='Resize', scale=scale, keep_ratio=keep_ratio, backend=backend))
    height, width = packed['inputs'].shape[1:]
    expected = np.array([40 * width / 200, 30 * height / 120, 100 * width / 200, 59 * height / 120])
    assert_close(packed['data_samples'].prompts.boxes[0].numpy(), expected, LAYER)
    assert packed['data_samples'].gt_masks.shape == (120, 200)  # evaluation: at the original size
    assert packed['data_samples'].gt_sem_seg.shape == (120, 200)


def test_evaluation_prompts_do_not_depend_on_the_input_size():
    modes = dict(points=dict(kind='points', num_points=5, draws=3))
    init_default_scope('mmseg')
    generate = dict(type='GeneratePrompts', modes=modes, seed=1)
    points = []
    for scale in ((400, 400), (100, 100)):
        steps = [generate, dict(type='Resize', scale=scale, keep_ratio=True), dict(type='PackPromptInputs')]
        packed = Compose(steps)(results())
        points.append(packed['data_samples'].prompts.points / packed['inputs'].shape[2])
    assert_close(points[0], points[1], LAYER)


def test_resizes_in_a_row_and_photometric_changes_are_allowed():
    steps = [dict(type='Resize', scale=(400, 400), keep_ratio=True), dict(type='PhotoMetricDistortion'),
             dict(type='Resize', scale=(150, 150), keep_ratio=True)]  # fmt: skip
    assert run(*steps)['data_samples'].prompts.boxes[0, 0] == pytest.approx(40 * 150 / 200)


MOVED = {
    'flip': [dict(type='RandomFlip', prob=1.0)],
    'vertical flip': [dict(type='RandomFlip', prob=1.0, direction='vertical')],
    'both flips': [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=1.0, direction='vertical')],
    'rotate': [dict(type='RandomRotate', prob=1.0, degree=(10, 10.001))],
    'small rotate': [dict(type='RandomRotate', prob=1.0, degree=(3, 3.001))],
    'crop': [dict(type='RandomCrop', crop_size=(100, 100))],
    'small crop': [dict(type='RandomCrop', crop_size=(120, 193))],
    'crop back to size': [dict(type='Resize', scale=(220, 132)), dict(type='RandomCrop', crop_size=(120, 200))],
    'pad': [dict(type='Pad', size=(128, 224))],
    'flip after resize': [dict(type='Resize', scale=(400, 400), keep_ratio=True), dict(type='RandomFlip', prob=1.0)],
}


@pytest.mark.parametrize('case', MOVED)
@pytest.mark.parametrize('seed', [0, None], ids=['evaluation', 'training'])
def test_any_other_geometry_is_an_error(case, seed):
    np.random.seed(1)
    with raises_naming(ValueError, 'set/one', 'Resize'):
        run(*MOVED[case], seed=seed)


def test_square_turned_by_a_quarter():
    data = results(120, 120)
    with raises_naming(ValueError, 'Resize'):
        run(dict(type='RandomRotate', prob=1.0, degree=(90, 90.001)), data=data)


def test_geometry_before_the_prompts_is_fine():
    init_default_scope('mmseg')
    steps = [
        dict(type='RandomFlip', prob=1.0),
        dict(type='GeneratePrompts', modes=dict(box=dict())),
        dict(type='PackPromptInputs'),
    ]
    sample = Compose(steps)(results())['data_samples']
    assert sample.prompts.boxes.tolist() == [[99, 30, 159, 59]]
    assert bool(sample.gt_masks.data[0, 45, 150]) and not bool(sample.gt_masks.data[0, 45, 50])


def test_error_for_a_prompt_outside():
    with raises_naming(ValueError, 'set/one', 'boxes', 'row 0', '200 x 120'):
        run(data=results(prompts=Prompts.create(boxes=[[1, 2, 300, 40]])))


@pytest.mark.parametrize('size', [50, 200, 900])
def test_half_a_pixel_beside_the_image_is_allowed_before_the_resize(size):
    prompts = Prompts.create(boxes=[[-0.4, -0.5, 200, 120]], points=[[[-0.4, 7], [200, 120]]], point_labels=[[1, 0]])
    resize = dict(type='Resize', scale=(size, size), keep_ratio=True, backend='pillow')
    packed = run(resize, data=results(prompts=prompts))
    height, width = packed['inputs'].shape[1:]
    moved = packed['data_samples'].prompts.check_inside(width, height)
    x, y = max(-0.5, -0.4 * width / 200), max(-0.5, -0.5 * height / 120)
    assert moved.boxes[0].tolist() == pytest.approx([x, y, width, height])
    assert moved.points[0].tolist() == [pytest.approx([x, 7 * height / 120]), pytest.approx([width, height])]
    with raises_naming(ValueError, '200 x 120'):
        run(resize, data=results(prompts=Prompts.create(boxes=[[-0.6, 0, 9, 9]])))


def test_sample_without_prompts():
    init_default_scope('mmseg')
    packed = Compose([dict(type='PackPromptInputs', meta_keys=('img_path',))])(
        dict(img=np.zeros((8, 8, 3), np.uint8), img_path='a')
    )
    assert 'prompts' not in packed['data_samples'] and packed['data_samples'].img_path == 'a'
