"""BinaryDefectDataset: pairs, classes, options, and one clear error for each way a dataset can be broken."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from mmsam_ext.datasets import BinaryDefectDataset, MTDDataset, SyntheticDefectDataset, binary_defect
from tests.conftest import find_data
from tests.naming import assert_names, raises_naming

# Built here: names in a config would be looked up in the default scope, which depends on what ran before.
PIPELINE = [TRANSFORMS.build(dict(type=name)) for name in ('LoadImageFromFile', 'LoadBinaryMask')]


def square(size: int = 6) -> np.ndarray:
    mask = np.zeros((30, 40), np.uint8)
    mask[3 : 3 + size, 4 : 4 + size] = 255
    return mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four samples: two with a class folder, one of another format, one in upper case."""
    rng = np.random.default_rng(0)
    for name, mask in (
        ('crack/a.jpg', 'crack/a.png'),
        ('dent/b.png', 'dent/b.bmp'),
        ('c.tif', 'c.png'),
        ('d.PNG', 'd.PNG'),
    ):
        for folder, file in (('images', name), ('masks', mask)):
            path = tmp_path / 'mine' / folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            image = rng.integers(0, 255, (30, 40, 3)).astype(np.uint8) if folder == 'images' else square()
            path.write_bytes(cv2.imencode(path.suffix, image)[1].tobytes())
    return tmp_path / 'mine'


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The warnings that are logged."""
    lines: list[str] = []
    monkeypatch.setattr(binary_defect, 'print_log', lambda message, **_: lines.append(message))
    return lines


def test_pairs(root: Path) -> None:
    dataset = BinaryDefectDataset(data_root=str(root), pipeline=PIPELINE, test_mode=True)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert [info['sample_id'] for info in infos] == ['c', 'crack/a', 'd', 'dent/b']
    assert [info['defect_class'] for info in infos] == ['defect', 'crack', 'defect', 'dent']
    assert {info['dataset_name'] for info in infos} == {'mine'}
    assert infos[3]['seg_map_path'].endswith('b.bmp') and infos[1]['img_path'].endswith('a.jpg')
    assert dataset.metainfo['classes'] == ('background', 'defect')
    for index in range(4):
        sample = dataset[index]
        np.testing.assert_array_equal(sample['gt_seg_map'], square() // 255)
        assert sample['img'].shape == (30, 40, 3) and sample['seg_fields'] == ['gt_seg_map']


def test_options_of_base_dataset(root: Path) -> None:
    (root / 'list.txt').write_text('dent/b\n\ncrack/a.jpg\nc\n')
    dataset = BinaryDefectDataset(
        data_root=str(root), ann_file='list.txt', indices=2, lazy_init=True, dataset_name='x', filter_cfg=dict(),
        metainfo=dict(note=1),
    )  # fmt: skip
    assert not dataset._fully_initialized
    dataset.full_init()
    assert [dataset.get_data_info(index)['sample_id'] for index in range(len(dataset))] == ['dent/b', 'crack/a']
    assert dataset.get_data_info(0)['dataset_name'] == 'x' and dataset.metainfo['note'] == 1


def test_mask_suffix_in_one_folder(tmp_path: Path) -> None:
    for name in ('a', 'b'):
        cv2.imwrite(str(tmp_path / f'{name}.jpg'), square())
        cv2.imwrite(str(tmp_path / f'{name}_mask.png'), square())
    prefix = dict(img_path='', seg_map_path='')
    dataset = BinaryDefectDataset(data_root=str(tmp_path), data_prefix=prefix, mask_suffix='_mask')
    assert [dataset.get_data_info(index)['sample_id'] for index in range(2)] == ['a', 'b'] and len(dataset) == 2


def test_missing_mask(root: Path, logged: list[str]) -> None:
    (root / 'masks/c.png').unlink()
    with raises_naming(FileNotFoundError, 'mine', '1 of 4 images', 'masks', 'c'):
        BinaryDefectDataset(data_root=str(root))
    assert len(BinaryDefectDataset(data_root=str(root), missing_mask='drop')) == 3
    assert_names(logged[-1], '1 of 4 images', 'dropped', 'c')
    dataset = BinaryDefectDataset(data_root=str(root), missing_mask='normal', pipeline=PIPELINE)
    assert len(dataset) == 4 and dataset[0]['gt_seg_map'].sum() == 0
    assert_names(logged[-1], '1 of 4 images', 'without', 'c')
    with raises_naming(ValueError, 'missing_mask', 'skip'):
        BinaryDefectDataset(data_root=str(root), missing_mask='skip')


def test_empty_mask(root: Path, logged: list[str]) -> None:
    cv2.imwrite(str(root / 'masks/c.png'), square(0))
    assert len(BinaryDefectDataset(data_root=str(root))) == 3
    assert_names(logged[-1], '1 of 4 samples', 'dropped', 'c')
    assert len(BinaryDefectDataset(data_root=str(root), drop_empty=False)) == 4
    for name in ('crack/a.png', 'dent/b.bmp', 'd.PNG'):
        cv2.imwrite(str(root / 'masks' / name), square(0))
    with raises_naming(ValueError, '4 masks'):
        BinaryDefectDataset(data_root=str(root))


def test_mask_without_image_is_logged(root: Path, logged: list[str]) -> None:
    cv2.imwrite(str(root / 'masks/lonely.png'), square())
    assert len(BinaryDefectDataset(data_root=str(root))) == 4
    assert_names(logged[-1], 'masks', 'lonely')


@pytest.mark.parametrize('drop_empty', [True, False])
def test_size(root: Path, drop_empty: bool) -> None:
    cv2.imwrite(str(root / 'masks/c.png'), square()[:20])
    with raises_naming(ValueError, 'c.png', '40 x 20', '40 x 30', 'c.tif'):
        BinaryDefectDataset(data_root=str(root), drop_empty=drop_empty)


def test_values(root: Path) -> None:
    cv2.imwrite(str(root / 'masks/c.png'), square() // 255 * 3)
    with raises_naming(ValueError, 'c.png', '0, 3'):
        BinaryDefectDataset(data_root=str(root))
    kept = BinaryDefectDataset(data_root=str(root), drop_empty=False, pipeline=PIPELINE)
    with raises_naming(ValueError, 'c.png', '0, 3'):
        kept[0]


def test_truncated_image(root: Path) -> None:
    path = root / 'images/crack/a.jpg'
    path.write_bytes(path.read_bytes()[:-100])
    with raises_naming(ValueError, 'a.jpg', 'JPEG'):
        BinaryDefectDataset(data_root=str(root))


def test_folders(root: Path) -> None:
    with raises_naming(FileNotFoundError, 'data_prefix.seg_map_path', 'labels'):
        BinaryDefectDataset(data_root=str(root), data_prefix=dict(img_path='images', seg_map_path='labels'))
    (root / 'list.txt').write_text('c\nnone\n')
    with raises_naming(FileNotFoundError, 'list.txt', '1 of 2', 'none'):
        BinaryDefectDataset(data_root=str(root), ann_file='list.txt')
    (root / 'list.txt').write_text('c\nc\n')
    with raises_naming(ValueError, 'list.txt', 'c'):
        BinaryDefectDataset(data_root=str(root), ann_file='list.txt')
    with raises_naming(FileNotFoundError, 'ann_file', 'none.txt'):
        BinaryDefectDataset(data_root=str(root), ann_file='none.txt')
    shutil.copy(root / 'images/c.tif', root / 'images/c.bmp')
    with raises_naming(ValueError, 'c.bmp', 'c.tif'):
        BinaryDefectDataset(data_root=str(root))
    shutil.rmtree(root / 'masks')
    (root / 'masks').mkdir()
    (root / 'images/c.bmp').unlink()
    with raises_naming(FileNotFoundError, '4 images', '0 masks'):
        BinaryDefectDataset(data_root=str(root))


def test_mtd_missing(tmp_path: Path) -> None:
    with raises_naming(
        FileNotFoundError, 'MTD', tmp_path / 'nowhere', 'github.com/abin24/Magnetic-tile-defect-datasets'
    ):
        MTDDataset(data_root=str(tmp_path / 'nowhere'))
    (tmp_path / 'train.txt').write_text('MT_Crack/Imgs/x\n')
    with raises_naming(FileNotFoundError, 'train.txt', '1 of 1', 'MT_Crack/Imgs/x.jpg'):
        MTDDataset(data_root=str(tmp_path))


def test_mtd(logged: list[str]) -> None:
    """Published numbers of the copy at hand: 73 in val, one empty, "fill the box" 0.564."""
    dataset = MTDDataset(data_root=str(find_data('mtd')), ann_file='val.txt', pipeline=PIPELINE, test_mode=True)
    assert len(dataset) == 72
    assert_names(logged[-1], '1 of 73 samples', 'dropped')
    shares, classes = [], set()
    for index in range(len(dataset)):
        sample = dataset[index]
        mask = sample['gt_seg_map']
        raw = cv2.imread(sample['seg_map_path'], cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(mask, raw > 127)
        ys, xs = np.nonzero(mask)
        shares.append(mask.sum() / (np.ptp(ys) + 1) / (np.ptp(xs) + 1))
        classes.add(sample['defect_class'])
        assert sample['sample_id'].startswith(sample['defect_class'] + '/Imgs/exp') and sample['dataset_name'] == 'mtd'
    assert np.mean(shares) == pytest.approx(0.564, abs=5e-4)
    assert classes == {'MT_Blowhole', 'MT_Break', 'MT_Crack', 'MT_Fray', 'MT_Uneven'}


def test_mtd_all_and_normal() -> None:
    root = str(find_data('mtd'))
    assert len(MTDDataset(data_root=root, ann_file='', drop_empty=False)) == 234 + 73
    normal = MTDDataset(data_root=root, ann_file='normal.txt', drop_empty=False, indices=3, pipeline=PIPELINE)
    assert [normal[index]['gt_seg_map'].sum() for index in range(3)] == [0, 0, 0]


def test_procedural_datasets_skip_loaders() -> None:
    loaders = [dict(type='mmseg.LoadImageFromFile'), dict(type='LoadBinaryMask')]
    dataset = SyntheticDefectDataset(length=2, size=(64, 64), pipeline=loaders)
    assert not dataset.pipeline.transforms and dataset[1]['img'].shape == (64, 64, 3)


@pytest.mark.parametrize('folder', ['images', 'masks'])
def test_a_pipe_does_not_hang(folder: str, root: Path) -> None:
    os.mkfifo(root / folder / 'e.png')
    with raises_naming(ValueError, f'{folder}/e.png', 'pipe'):
        BinaryDefectDataset(data_root=str(root), pipeline=PIPELINE)


def test_links_to_folders_above_do_not_repeat_the_samples(root: Path) -> None:
    """os.walk followed such a link forty times; a link to another folder is followed."""
    (root / 'images' / 'again').symlink_to(root / 'images')
    (root / 'images' / 'crack' / 'up').symlink_to('..')
    assert len(BinaryDefectDataset(data_root=str(root), pipeline=PIPELINE)) == 4
    for name in ('images', 'masks'):
        (root / name / 'linked').symlink_to(root / name / 'dent')
    assert len(BinaryDefectDataset(data_root=str(root), pipeline=PIPELINE)) == 5
