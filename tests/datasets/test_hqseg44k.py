"""HQSeg-44K's layout, in miniature."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS

from mmsam_ext.datasets import DatasetNotFoundError
from mmsam_ext.datasets.hqseg44k import TEST, TRAIN
from tests.naming import raises_naming

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadBinaryMask')]


def write_part(root: Path, images: str, masks: str, number: int) -> None:
    """`number` images, each with a square of its own size."""
    for index in range(number):
        mask = np.zeros((20, 30), np.uint8)
        mask[2 : 5 + index, 3 : 6 + index] = 255
        for folder, suffix, content in ((images, 'jpg', np.repeat(mask[..., None], 3, 2)), (masks, 'png', mask)):
            (root / folder).mkdir(parents=True, exist_ok=True)
            assert cv2.imwrite(str(root / folder / f'a{index}.{suffix}'), content)


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp('hqseg44k')
    for index, folders in enumerate([*TRAIN.values(), *TEST.values()]):
        write_part(root, *folders, 1 + index % 3)
    return root


def build(root: Path, **options):
    return DATASETS.build(dict(type='HQSeg44KDataset', data_root=str(root), pipeline=LOAD, **options))


def test_the_layout_of_the_authors_code():
    """Folders as they stand in sam-hq's train.py; seven parts to train on, four to test on."""
    assert len(TRAIN) == 7 and len(TEST) == 4
    tops = {folder.split('/')[0] for folders in (*TRAIN.values(), *TEST.values()) for folder in folders}
    assert tops == {'DIS5K', 'cascade_psp', 'thin_object_detection'}
    assert not set(TRAIN.values()) & set(TEST.values())


def test_parts_and_their_names(root):
    train, test = build(root), build(root, split='test', test_mode=True)
    names = Counter(train.get_data_info(index)['dataset_name'] for index in range(len(train)))
    assert names == {part: 1 + index % 3 for index, part in enumerate(TRAIN)}
    assert {test.get_data_info(index)['dataset_name'] for index in range(len(test))} == set(TEST)
    ids = [train.get_data_info(index)['sample_id'] for index in range(len(train))]
    assert len(set(ids)) == len(ids) and ids[0] == 'DIS5K-TR/a0'  # all parts have an a0
    assert train.metainfo['classes'] == ('background', 'object')


def test_image_and_mask_belong_together(root):
    dataset = build(root, parts=['ThinObject5K-TR', 'FSS-1000'])
    assert len(dataset) == 2 + 3
    for sample in dataset:
        index = int(sample['sample_id'][-1])
        assert sample['gt_seg_map'].sum() == (3 + index) ** 2
        assert np.array_equal(sample['img'][..., 0] > 127, sample['gt_seg_map'] == 1)


def test_what_is_missing(root, tmp_path):
    with raises_naming(DatasetNotFoundError, 'HQSeg-44K', 'DIS5K/DIS-TR/im', 'DIS5K-TR', tmp_path, 'https://'):
        build(tmp_path)
    (tmp_path / 'cascade_psp/ecssd').mkdir(parents=True)
    with raises_naming(FileNotFoundError, 'DIS-TR/im', 'DIS5K-TR', 'https://') as half:
        build(tmp_path)
    assert half.type is FileNotFoundError
    with raises_naming(DatasetNotFoundError, 'thin_object_detection/COIFT/images', 'COIFT'):
        build(tmp_path, split='test', parts=['COIFT'])
    with raises_naming(FileNotFoundError, '.jpg', 'ECSSD', 'ecssd'):
        build(tmp_path, parts=['ECSSD'])
    write_part(tmp_path, *TRAIN['ECSSD'], 2)
    (tmp_path / 'cascade_psp/ecssd/a1.png').unlink()
    with raises_naming(FileNotFoundError, '1 of 2 images', 'ECSSD/a1'):
        build(tmp_path, parts=['ECSSD'])


@pytest.mark.parametrize(
    ('options', 'names'),
    [
        (dict(split='val'), ('split', 'val', 'train', 'test')),
        (dict(parts=['DUT-OMRON']), ('parts', 'DUT-OMRON', 'train', 'DUTS-TR')),
        (dict(parts=[]), ('parts', '[]', 'train')),
    ],
)
def test_arguments(root, options, names):
    with raises_naming(ValueError, *names):
        build(root, **options)
