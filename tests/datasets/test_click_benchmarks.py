"""SBD, GrabCut, Berkeley and DAVIS-345 in their own layouts, and their masks by hand."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmsam_ext.datasets import BerkeleyDataset, DAVIS345Dataset, GrabCutDataset, SBDDataset
from mmsam_ext.datasets.transforms.load_object_mask import read_object_mask, read_sbd_instances
from tests.layouts import write_berkeley, write_davis345, write_grabcut, write_sbd
from tests.naming import raises_naming

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadObjectMask')]
CLICKS = [*LOAD, dict(type='GeneratePrompts', modes=dict(clicks=dict(kind='none', targets='parts')), seed=0)]


def disc(x: int, y: int, radius: int) -> np.ndarray:
    mask = np.zeros((70, 90), np.uint8)
    cv2.circle(mask, (x, y), radius, 1, -1)
    return mask


def test_sbd_has_all_instances_of_an_image_as_targets(tmp_path: Path) -> None:
    dataset = SBDDataset(str(write_sbd(tmp_path)), pipeline=CLICKS)
    assert [dataset.get_data_info(index)['sample_id'] for index in range(2)] == ['2008_000000', '2008_000001']
    first, second = dataset[0], dataset[1]
    assert first['prompts'].target_ids.tolist() == [1] and second['prompts'].target_ids.tolist() == [1, 2]
    assert np.array_equal(second['gt_masks'][1], disc(30, 25, 9))
    line = np.zeros((70, 90), np.uint8)
    cv2.line(line, (50, 10), (88, 60), 1, 1)
    assert np.array_equal(second['gt_masks'][2], line)


def test_sbd_training_leaves_thin_instances_out(tmp_path: Path) -> None:
    dataset = SBDDataset(str(write_sbd(tmp_path)), split='train', pipeline=LOAD)
    # The line covers 51 pixels of its box of 39 x 51.
    assert len(dataset[1]['gt_masks']) == 1
    assert len(read_sbd_instances(str(tmp_path / 'inst/2008_000001.mat'), 0.02)) == 2


@pytest.mark.parametrize(('kind', 'write'), [(GrabCutDataset, write_grabcut), (BerkeleyDataset, write_berkeley)])
def test_trimaps(kind: type, write, tmp_path: Path) -> None:
    sample = kind(str(write(tmp_path)), pipeline=LOAD)[0]
    expected = np.where(disc(30, 20, 8) == 1, 1, 255 * disc(30, 20, 11)).astype(np.uint8)
    assert np.array_equal(sample['gt_seg_map'], expected)
    assert sample['dataset_name'] in ('grabcut', 'berkeley')


def test_any_channel_of_davis(tmp_path: Path) -> None:
    sample = DAVIS345Dataset(str(write_davis345(tmp_path)), pipeline=LOAD)[0]
    assert np.array_equal(sample['gt_seg_map'], disc(30, 20, 8) | disc(65, 45, 10))


def test_missing_folders_and_files(tmp_path: Path) -> None:
    for kind, name in ((GrabCutDataset, 'data_GT'), (BerkeleyDataset, 'masks'), (DAVIS345Dataset, 'gt')):
        with raises_naming(FileNotFoundError, name, 'nowhere'):
            kind(str(tmp_path / 'nowhere'))
    with raises_naming(FileNotFoundError, 'SBD', 'nowhere'):
        SBDDataset(str(tmp_path / 'nowhere'))
    root = write_sbd(tmp_path / 'sbd')
    (root / 'inst/2008_000001.mat').unlink()
    with raises_naming(FileNotFoundError, '1', '2008_000001.mat'):
        SBDDataset(str(root))
    with raises_naming(ValueError, "'test'"):
        SBDDataset(str(root), split='test')


def test_empty_object_and_broken_files_are_named(tmp_path: Path) -> None:
    empty = tmp_path / 'empty.png'
    cv2.imwrite(str(empty), np.full((4, 4), 128, np.uint8))
    with raises_naming(ValueError, 'empty.png'):
        read_object_mask(str(empty), 'trimap')
    assert read_object_mask(str(empty), 'any_channel').all()
    (tmp_path / 'broken.png').write_bytes(b'no image')
    with raises_naming(ValueError, 'broken.png'):
        read_object_mask(str(tmp_path / 'broken.png'), 'trimap')
    (tmp_path / 'broken.mat').write_bytes(b'no matlab file' * 20)
    with raises_naming(ValueError, 'broken.mat', 'GTinst'):
        read_sbd_instances(str(tmp_path / 'broken.mat'))
    with raises_naming(ValueError, "'largest'"):
        read_object_mask(str(empty), 'largest')
