"""Datasets of several classes: class folders, index masks, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from mmsam_ext.datasets import BinaryDefectDataset, MTDDataset, binary_defect
from tests.conftest import find_data
from tests.naming import assert_names, raises_naming

PIPELINE = [TRANSFORMS.build(dict(type=name)) for name in ('LoadImageFromFile', 'LoadBinaryMask')]


def write(root: Path, name: str, mask: np.ndarray) -> None:
    for folder, content in (('images', np.full((*mask.shape, 3), 90, np.uint8)), ('masks', mask)):
        path = root / folder / f'{name}.png'
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), content)


def mask_of(*values: int) -> np.ndarray:
    """(20, 30), a column of ten pixels for each value."""
    mask = np.zeros((20, 30), np.uint8)
    for index, value in enumerate(values):
        mask[:10, index] = value
    return mask


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    for name in ('scratch/a', 'dent/b', 'dent/c'):
        write(tmp_path / 'mine', name, mask_of(255, 255))
    return tmp_path / 'mine'


@pytest.fixture
def numbers(tmp_path: Path) -> Path:
    write(tmp_path / 'numbered', 'a', mask_of(1, 3, 255))
    write(tmp_path / 'numbered', 'b', mask_of(2, 2))
    return tmp_path / 'numbered'


def test_class_folders(folders: Path) -> None:
    dataset = BinaryDefectDataset(data_root=str(folders), classes='folders', pipeline=PIPELINE, test_mode=True)
    assert dataset.metainfo['classes'] == ('background', 'dent', 'scratch') == dataset.METAINFO['classes']
    assert len(dataset.metainfo['palette']) == 3 and BinaryDefectDataset.METAINFO['classes'][1] == 'defect'
    assert [sorted(np.unique(dataset[index]['gt_seg_map'])) for index in range(3)] == [[0, 1], [0, 1], [0, 2]]
    ordered = BinaryDefectDataset(data_root=str(folders), classes=['scratch', 'dent'], pipeline=PIPELINE)
    assert ordered[2]['gt_seg_map'].sum() == 20 and ordered[0]['gt_seg_map'].sum() == 40


def test_index_masks(numbers: Path) -> None:
    classes = dict(dent=[1, 2], crack=3)
    dataset = BinaryDefectDataset(data_root=str(numbers), classes=classes, pipeline=PIPELINE, lazy_init=True)
    assert dataset.metainfo['classes'] == ('background', 'dent', 'crack') and not dataset._fully_initialized
    np.testing.assert_array_equal(dataset[0]['gt_seg_map'], mask_of(1, 2, 255))
    np.testing.assert_array_equal(dataset[1]['gt_seg_map'], mask_of(1, 1))


@pytest.mark.parametrize(
    ('classes', 'names'),
    [
        (['scratch', 'scratch'], ('mine', 'scratch', 'once')),
        ([], ('mine', 'classes')),
        (['background'], ('mine', 'background')),
        ('names', ('mine', 'names', 'folders')),
        (dict(a=1, b=[2, 1]), ('mine', 'b', '1', 'a')),
        (dict(a='1'), ('mine', 'a', '1')),
    ],
)
def test_wrong_options(folders: Path, classes: object, names: tuple[str, ...]) -> None:
    with raises_naming(ValueError, *names):
        BinaryDefectDataset(data_root=str(folders), classes=classes)


def test_wrong_data(folders: Path, numbers: Path) -> None:
    with raises_naming(ValueError, 'b.png', 'dent'):
        BinaryDefectDataset(data_root=str(folders), classes=['scratch'])
    with raises_naming(ValueError, 'a.png', '[0, 1, 3, 255]', '[3]', '[1, 2]'):
        BinaryDefectDataset(data_root=str(numbers), classes=dict(a=1, b=2))


def test_class_without_a_sample_is_logged(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(binary_defect, 'print_log', lambda message, **_: lines.append(message))
    BinaryDefectDataset(data_root=str(folders), classes=['scratch', 'dent', 'crack'])
    assert_names(lines[-1], 'mine', '1 of 3 classes', 'crack')


def test_mtd_has_five_classes() -> None:
    dataset = MTDDataset(data_root=str(find_data('mtd')), ann_file='val.txt', classes='folders', pipeline=PIPELINE)
    names = ('background', 'MT_Blowhole', 'MT_Break', 'MT_Crack', 'MT_Fray', 'MT_Uneven')
    assert dataset.metainfo['classes'] == names and len(dataset) == 72
    for index in range(0, 72, 9):
        sample = dataset[index]
        (label,) = set(np.unique(sample['gt_seg_map'])) - {0}
        assert names[label] == sample['defect_class']
