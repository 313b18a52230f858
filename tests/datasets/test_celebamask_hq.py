"""CelebAMask-HQ in its own layout: splits, parts as targets, and errors that say what is wrong."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmsam_ext.datasets import CelebAMaskHQDataset, DatasetNotFoundError, celebamask_hq
from mmsam_ext.datasets.celebamask_hq import MAPPING, MASKS, PARTS
from mmsam_ext.datasets.transforms import GeneratePrompts
from tests.layouts import write_celebamask_hq
from tests.naming import assert_names, raises_naming

LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadFaceParts')]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_celebamask_hq(tmp_path / 'faces')


def names(dataset: CelebAMaskHQDataset) -> list[str]:
    return [dataset.get_data_info(index)['sample_id'] for index in range(len(dataset))]


def test_splits_go_by_the_number_in_celeba(root: Path) -> None:
    """The fixture's faces have the last number of train, the first and last of val, and the first of test."""
    splits = {split: CelebAMaskHQDataset(str(root), split) for split in ('train', 'val', 'test')}
    assert {split: names(dataset) for split, dataset in splits.items()} == {
        'train': ['00000', '00003'],
        'val': ['00001', '02000'],  # the second one in the second folder
        'test': ['00002'],
    }


def test_parts_are_targets_at_the_images_size(root: Path) -> None:
    (info,) = (CelebAMaskHQDataset(str(root), 'test').get_data_info(0),)
    assert list(info['part_paths']) == ['skin', 'l_eye', 'hair']  # in the order of PARTS
    sample = CelebAMaskHQDataset(str(root), 'test', pipeline=LOAD)[0]
    assert sample['img'].shape == (64, 64, 3) and sample['gt_masks'].shape == (3, 64, 64)
    for mask, (part, path) in zip(sample['gt_masks'], info['part_paths'].items(), strict=True):
        file = cv2.imread(path)
        assert file.shape == (32, 32, 3), part
        np.testing.assert_array_equal(mask, np.kron(file[..., 0] > 127, np.ones((2, 2))))
    skin, eye, _ = sample['gt_masks']
    assert (skin >= eye).all()  # parts overlap
    np.testing.assert_array_equal(sample['gt_seg_map'], sample['gt_masks'].any(0))
    modes = dict(point=dict(kind='points', targets='parts'))
    prompted = CelebAMaskHQDataset(
        str(root), 'test', pipeline=[*LOAD, dict(type='GeneratePrompts', modes=modes, seed=0)]
    )[0]
    assert prompted['prompts'].target_ids.tolist() == [1, 2, 3]


def test_chosen_parts(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged = []
    monkeypatch.setattr(celebamask_hq, 'print_log', lambda message, *_: logged.append(message))
    dataset = CelebAMaskHQDataset(str(root), 'train', parts=['hair'])
    assert names(dataset) == ['00000'] and dataset.get_data_info(0)['defect_class'] == 'hair'
    (line,) = logged
    assert_names(line, 'CelebAMask-HQ', '1 of 2 faces')
    with raises_naming(ValueError, 'train', 'hat', 'mask-anno'):
        CelebAMaskHQDataset(str(root), 'train', parts='hat')


def test_unknown_names(root: Path) -> None:
    with raises_naming(ValueError, 'parts', 'bair', 'hair'):
        CelebAMaskHQDataset(str(root), parts=['skin', 'bair'])
    with raises_naming(ValueError, 'parts'):
        CelebAMaskHQDataset(str(root), parts=[])
    with raises_naming(ValueError, 'split', 'valid', "('train', 'val', 'test')"):
        CelebAMaskHQDataset(str(root), 'valid')
    assert len(PARTS) == 18


def test_missing_files(root: Path) -> None:
    with raises_naming(DatasetNotFoundError, 'CelebAMask-HQ', 'https://github.com'):
        CelebAMaskHQDataset(str(root / 'nowhere'))
    (root / MASKS).rename(root / 'elsewhere')
    with raises_naming(FileNotFoundError, 'CelebAMask-HQ', MASKS, 'https://') as half:
        CelebAMaskHQDataset(str(root))
    assert half.type is FileNotFoundError
    (root / 'elsewhere').rename(root / MASKS)
    (root / 'CelebA-HQ-img' / '3.jpg').unlink()
    with raises_naming(FileNotFoundError, '1 of 2 images', 'train', '3.jpg'):
        CelebAMaskHQDataset(str(root))
    (root / MAPPING).write_text('idx orig_idx orig_file\n0 x 1.jpg\n')
    with raises_naming(ValueError, 'mapping.txt', 'idx, orig_idx, orig_file'):
        CelebAMaskHQDataset(str(root))


def test_masks_without_foreground_and_of_another_shape(root: Path) -> None:
    dataset = CelebAMaskHQDataset(str(root), 'test', pipeline=LOAD)
    folder = root / 'CelebAMask-HQ-mask-anno' / '0'
    cv2.imwrite(str(folder / '00002_l_eye.png'), np.zeros((32, 32, 3), np.uint8))
    assert len(dataset[0]['gt_masks']) == 2  # an empty one is no target
    shutil.copy(folder / '00002_l_eye.png', folder / '00002_skin.png')
    shutil.copy(folder / '00002_l_eye.png', folder / '00002_hair.png')
    blank = dataset[0]
    assert blank['gt_masks'].shape == (0, 64, 64) and not blank['gt_seg_map'].any()
    modes = {'1 point': dict(kind='points', targets='parts')}
    assert GeneratePrompts(modes, num_prompts=2)(dict(blank)) is None  # in training another sample is taken
    with raises_naming(ValueError, 'mask', 'foreground'):
        GeneratePrompts(modes, seed=0)(dict(blank))
    cv2.imwrite(str(folder / '00002_hair.png'), np.full((32, 40, 3), 255, np.uint8))
    with raises_naming(ValueError, '00002_hair.png', '40 x 32', '64 x 64'):
        dataset[0]
