"""Readers of the published benchmarks: on their own layouts, and one clear error for each way they can be broken."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from mmseg.registry import DATASETS, TRANSFORMS

from mmsam_ext.datasets import BenchmarkSuite, DatasetNotFoundError, benchmark_suite
from mmsam_ext.evaluation import AnomalyMetric
from tests.layouts import BENCHMARKS, write_pair
from tests.naming import assert_names, raises_naming
from tests.shrink import UNSERIALIZED, write_mtd

PIPELINE = [TRANSFORMS.build(dict(type=name)) for name in ('LoadImageFromFile', 'LoadBinaryMask')]
KINDS = sorted(BENCHMARKS)
#: What each layout holds: sample -> class of defect.
EXPECTED = {
    'MVTecADDataset': {
        'bottle/broken_large/000': 'bottle/broken_large',
        'bottle/contamination/001': 'bottle/contamination',
    },
    'MPDDDataset': {'tubes/anomalous/000': 'tubes/anomalous'},
    'BTADDataset': {'01/ko/0000': '01/ko', '03/ko/0001': '03/ko'},
    'KSDD2Dataset': {'test/20000': 'defect'},
    'VisADataset': {'pcb1/000': 'pcb1/bent', 'pcb1/001': 'pcb1/missing, scratch'},
}
NAMES = dict(
    MVTecADDataset='mvtec_ad', MPDDDataset='mpdd', BTADDataset='btad', KSDD2Dataset='ksdd2', VisADataset='visa'
)


def build(kind: str, root: Path, **changes):
    settings = dict(categories=BENCHMARKS[kind][1], pipeline=PIPELINE, test_mode=True, **UNSERIALIZED)
    return DATASETS.build(dict(type=kind, data_root=str(root), **{**settings, **changes}))


@pytest.fixture(params=KINDS)
def kind(request) -> str:
    return request.param


@pytest.fixture
def root(kind: str, tmp_path: Path) -> Path:
    return BENCHMARKS[kind][0](tmp_path / 'data')


def test_native_layout(kind: str, root: Path) -> None:
    """Samples are the images with defects, with category and kind; masks are 1 on the discs of the layout."""
    dataset = build(kind, root)
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    assert {info['sample_id']: info['defect_class'] for info in infos} == EXPECTED[kind]
    assert {info['dataset_name'] for info in infos} == {NAMES[kind]}
    assert dataset.metainfo['classes'] == ('background', 'defect')
    for index in range(len(dataset)):
        sample = dataset[index]
        mask = sample['gt_seg_map']
        number = mask.shape[0] - 70  # of the pair
        assert mask.shape == sample['img'].shape[:2] == (70 + number, 90 - 3 * number)
        assert set(np.unique(mask)) == {0, 1}
        assert mask[20 + 5 * number, 30] and mask[45, 65] and not mask[5, 5]
        assert mask.sum() == pytest.approx(np.pi * (8**2 + 10**2), rel=0.1)


#: Datasets of MVTec AD's layout -> categories and folders with normal images, of which one is written.
NORMAL = {
    'MVTecADDataset': 'bottle/test/good',
    'MPDDDataset': 'tubes/test/good',
    'BTADDataset': '01/test/ok',
}


@pytest.mark.parametrize('kind', NORMAL)
def test_normal_images_if_asked(kind: str, tmp_path: Path) -> None:
    """One more sample, without a mask file and without a defect; `missing_mask` is about defects alone."""
    root = BENCHMARKS[kind][0](tmp_path / 'data')
    folder = root / NORMAL[kind]
    category = NORMAL[kind].split('/')[0]
    for old in folder.iterdir():
        old.unlink()
    write_pair(folder / '007.png', tmp_path / 'unused.png', 0)
    dataset = build(kind, root, normal=True, categories=[category], missing_mask='drop')
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    name = f'{category}/{folder.name}'
    defects = {key: value for key, value in EXPECTED[kind].items() if key.startswith(category)}
    assert {info['sample_id']: info['defect_class'] for info in infos} == {**defects, f'{name}/007': name}
    ((sample),) = [dataset[i] for i, info in enumerate(infos) if info['defect_class'] == name]
    assert sample['seg_map_path'] is None and not sample['gt_seg_map'].any()
    assert sample['gt_seg_map'].shape == (70, 90)
    shutil.rmtree(folder)
    with raises_naming(FileNotFoundError, NORMAL[kind], 'https://'):
        build(kind, root, normal=True, categories=[category])


def test_image_scores_of_mvtec_ad(tmp_path: Path) -> None:
    """Load, predict and evaluate: the image AUROC exists only if normal images are loaded."""
    root = BENCHMARKS['MVTecADDataset'][0](tmp_path)
    pipeline = [*PIPELINE, TRANSFORMS.build(dict(type='PackPromptInputs'))]
    for normal in (False, True):
        dataset = build('MVTecADDataset', root, normal=normal, pipeline=pipeline)
        metric = AnomalyMetric(by='category')
        for index in range(len(dataset)):
            data = dataset[index]
            # brightest pixel: that of a disc; the normal image has discs, too, and 60 levels more
            logits = data['inputs'].float().mean(0) + 60 * (data['data_samples'].defect_class == 'bottle/good')
            predicted = dict(data['data_samples'].to_dict(), seg_logits=dict(data=logits[None]), pred_instances={})
            metric.process({}, [predicted])
        results = metric.evaluate(len(dataset))
        assert len(dataset) == 2 + normal and 'pixel_AUROC' in results
        assert results.get('image_AUROC') == (0.0 if normal else None)
        assert (results['image_AP'] < 100) == normal


def test_default_place_and_all_categories(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with raises_naming(DatasetNotFoundError, f'data/{NAMES[kind]}', 'https://'):
        DATASETS.build(dict(type=kind))


def test_missing(kind: str, tmp_path: Path) -> None:
    with raises_naming(DatasetNotFoundError, f'{tmp_path}/no', 'https://'):
        build(kind, tmp_path / 'no')


def test_category_missing(kind: str, root: Path) -> None:
    """All categories are loaded by default."""
    shutil.rmtree(root / BENCHMARKS[kind][1][0])
    with raises_naming(FileNotFoundError, 'https://'):
        build(kind, root, categories=None)


def test_unknown_category(kind: str, root: Path) -> None:
    with raises_naming(ValueError, 'categories', 'botle'):
        build(kind, root, categories=['botle'])
    with raises_naming(ValueError, 'categories'):
        build(kind, root, categories=[])


@pytest.mark.parametrize(
    ('kind', 'remove', 'names'),
    [
        ('MVTecADDataset', 'bottle/test', ('MVTec AD', 'bottle/test')),
        ('MVTecADDataset', 'bottle/ground_truth/broken_large', ('MVTec AD', 'ground_truth/broken_large')),
        ('MVTecADDataset', 'bottle/ground_truth/broken_large/000_mask.png', ('1 of 2 images', 'broken_large/000')),
        ('MPDDDataset', 'tubes/test/anomalous', ('MPDD', 'tubes')),
        ('BTADDataset', '01/ground_truth', ('BTAD', '01/ground_truth/ko')),
        ('KSDD2Dataset', 'test/20000_GT.png', ('1 of 2 images', 'test/20000')),
        ('VisADataset', 'pcb1/image_anno.csv', ('VisA', 'pcb1/image_anno.csv')),
        ('VisADataset', 'pcb1/Data/Masks', ('VisA', 'Masks/Anomaly')),
        ('VisADataset', 'pcb1/Data/Images/Anomaly', ('VisA', 'Images/Anomaly')),
    ],
)
def test_half_there(kind: str, remove: str, names: tuple[str, ...], root: Path) -> None:
    path = root / remove
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with raises_naming(FileNotFoundError, *names):
        build(kind, root)


def test_annotations_of_visa(tmp_path: Path) -> None:
    root = BENCHMARKS['VisADataset'][0](tmp_path)
    path = root / 'pcb1/image_anno.csv'
    lines = path.read_text().splitlines()
    path.write_text('\n'.join(lines[:-1]))
    with raises_naming(ValueError, 'image_anno.csv', '1 of 2 images', 'Anomaly/001'):
        build('VisADataset', root)
    path.write_text('\n'.join(['name,label', *lines[1:]]))
    with raises_naming(ValueError, 'image_anno.csv', "['name', 'label']", 'image', 'mask'):
        build('VisADataset', root)


def test_parts_of_ksdd2(tmp_path: Path) -> None:
    root = BENCHMARKS['KSDD2Dataset'][0](tmp_path)
    assert [info['sample_id'] for info in build('KSDD2Dataset', root, categories=None).load_data_list()] == [
        'test/20000', 'test/20001',
    ]  # fmt: skip
    both = build('KSDD2Dataset', root, categories=['train', 'test'])
    assert [both.get_data_info(index)['sample_id'] for index in range(len(both))] == ['train/10000', 'test/20000']


def test_classes_of_mtd(tmp_path: Path) -> None:
    root = str(write_mtd(tmp_path))
    settings = dict(type='MTDDataset', data_root=root, ann_file='', **UNSERIALIZED)
    whole = DATASETS.build(settings)
    cracks = DATASETS.build(dict(settings, defect_classes=['MT_Crack']))
    assert (len(whole), len(cracks)) == (4, 2)
    assert {cracks.get_data_info(index)['defect_class'] for index in range(2)} == {'MT_Crack'}
    with raises_naming(ValueError, 'defect_classes', 'crack', 'MT_Crack'):
        DATASETS.build(dict(type='MTDDataset', data_root=root, defect_classes=['crack']))
    shutil.rmtree(tmp_path / 'MT_Fray')
    with raises_naming(FileNotFoundError, 'MTD', 'MT_Fray/Imgs'):
        DATASETS.build(settings)


def test_mtd_without_a_defect(tmp_path: Path) -> None:
    """With the class MT_Free alone, the folders of defects need not exist."""
    folder = tmp_path / 'MT_Free' / 'Imgs'
    folder.mkdir(parents=True)
    for index in range(2):
        write_pair(folder / f'exp1_num_{index}.jpg', folder / f'exp1_num_{index}.png', index)
        cv2.imwrite(str(folder / f'exp1_num_{index}.png'), 0 * cv2.imread(str(folder / f'exp1_num_{index}.png'), 0))
    settings = dict(type='MTDDataset', data_root=str(tmp_path), ann_file='', defect_classes=['MT_Free'], **UNSERIALIZED)
    free = DATASETS.build(dict(settings, drop_empty=False))
    assert [free.get_data_info(index)['sample_id'] for index in range(2)] == [
        'MT_Free/Imgs/exp1_num_0', 'MT_Free/Imgs/exp1_num_1',
    ]  # fmt: skip
    with raises_naming(ValueError, '2 masks', 'drop_empty'):
        DATASETS.build(settings)
    shutil.rmtree(folder)
    folder.mkdir()
    with raises_naming(FileNotFoundError, 'MTD', 'MT_Free', 'Imgs'):
        DATASETS.build(settings)


def test_lists_of_mtd(tmp_path: Path) -> None:
    root = write_mtd(tmp_path)
    settings = dict(type='MTDDataset', data_root=str(root), **UNSERIALIZED)
    with raises_naming(ValueError, 'train.txt', '4 samples', 'defect_classes', 'MT_Break'):
        DATASETS.build(dict(settings, defect_classes=['MT_Break']))
    (root / 'train.txt').unlink()
    with raises_naming(FileNotFoundError, f'{root}/train.txt', f'mtd_split.py {root}'):
        DATASETS.build(settings)


# ---------------------------------------------------------------- several of them


def suite(tmp_path: Path, *kinds: str) -> BenchmarkSuite:
    """Return a suite of MVTec AD, KSDD2 and VisA of which `kinds` exist on the disk."""
    configs = []
    for one in ('MVTecADDataset', 'KSDD2Dataset', 'VisADataset'):
        write, categories = BENCHMARKS[one]
        folder = tmp_path / one
        root = str(write(folder) if one in kinds else folder)
        configs.append(dict(type=one, categories=categories, data_root=root, **UNSERIALIZED))
    return DATASETS.build(dict(type='BenchmarkSuite', datasets=configs, pipeline=PIPELINE))


def test_suite_goes_on_without_those_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[tuple[str, int]] = []
    monkeypatch.setattr(benchmark_suite, 'print_log', lambda text, level, **_: lines.append((text, level)))
    dataset = suite(tmp_path, 'MVTecADDataset', 'VisADataset')
    names = [dataset[index]['dataset_name'] for index in range(len(dataset))]
    assert names == ['mvtec_ad'] * 2 + ['visa'] * 2
    assert dataset.metainfo['classes'] == ('background', 'defect')
    ((text, level),) = lines
    assert level == logging.WARNING
    assert_names(text, '1 of 3 datasets', 'KSDD2')
    assert_names(text, f'{tmp_path}/KSDD2Dataset', 'https://www.vicos.si')


def test_suite_with_none_of_them(tmp_path: Path) -> None:
    with raises_naming(DatasetNotFoundError, '3 datasets', 'MVTec', 'KSDD2', 'VisA'):
        suite(tmp_path)


#: Readers of published datasets -> what they must be told.
READERS = {
    **dict.fromkeys((*KINDS, 'MTDDataset', 'CelebAMaskHQDataset', 'HQSeg44KDataset'), {}),
    **dict.fromkeys(('GlaSDataset', 'MoNuSegDataset', 'MVTecADSplitDataset'), dict(split='test')),
    'PolypDataset': dict(subset='Kvasir'),
}


@pytest.mark.parametrize('reader', READERS)
def test_every_reader_says_where_it_was_expected_and_is_passed_over(
    reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr(benchmark_suite, 'print_log', lambda text, **_: lines.append(text))
    absent = dict(type=reader, data_root=str(tmp_path / 'absent'), **READERS[reader])
    with raises_naming(DatasetNotFoundError, f'{tmp_path}/absent', 'https://'):
        DATASETS.build(dict(absent, pipeline=PIPELINE))
    here = dict(type='MTDDataset', data_root=str(write_mtd(tmp_path / 'mtd')), **UNSERIALIZED)
    dataset = DATASETS.build(dict(type='BenchmarkSuite', datasets=[absent, here], pipeline=PIPELINE))
    assert {dataset[index]['dataset_name'] for index in range(len(dataset))} == {'mtd'}
    (line,) = lines
    assert_names(line, f'{tmp_path}/absent')


def test_all_readers_are_here() -> None:
    """Every dataset reader is in the table above or has a test file of its own."""
    own = {'BinaryDefectDataset', 'BenchmarkSuite', 'PromptMixDataset'}
    own |= {'CocoPromptDataset', 'SBDDataset', 'GrabCutDataset', 'BerkeleyDataset', 'DAVIS345Dataset'}
    names = {name for name, made in DATASETS.module_dict.items() if made.__module__.startswith('mmsam_ext.')}
    assert {name for name in names if not name.startswith('Synthetic')} - own == set(READERS)


def test_suite_does_not_pass_over_a_dataset_that_is_half_there(tmp_path: Path) -> None:
    (tmp_path / 'KSDD2Dataset').mkdir()
    with raises_naming(FileNotFoundError, 'KSDD2'):
        suite(tmp_path, 'MVTecADDataset')
