"""GlaS, MoNuSeg, polyps and MVTec AD's split, in their own layouts; what is missing is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmsam_ext.datasets import GlaSDataset, MoNuSegDataset, MVTecADSplitDataset, PolypDataset
from tests.layouts import write_glas, write_monuseg, write_mvtec_ad_split, write_polyp
from tests.naming import raises_naming

LOAD = [dict(type='LoadImageFromFile'), dict(type='CropTile'), dict(type='LoadNucleiMask')]


def ids(dataset) -> list[str]:
    return [dataset.get_data_info(index)['sample_id'] for index in range(len(dataset))]


def test_glas(tmp_path: Path) -> None:
    root = str(write_glas(tmp_path / 'glas'))
    for split, expected in (
        ('train', ['train_1', 'train_2']),
        ('testB', ['testB_1']),
        ('test', ['testA_1', 'testB_1']),
    ):
        dataset = GlaSDataset(split, root, pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadBinaryMask')])
        assert ids(dataset) == expected
    mask = dataset[1]['gt_seg_map']
    assert sorted(np.unique(mask)) == [0, 1] and mask[45, 65] == 1 and mask[0, 0] == 0, 'gland number 4 is foreground'
    with raises_naming(ValueError, 'split', 'val'):
        GlaSDataset('val', root)
    with raises_naming(FileNotFoundError, 'GlaS', 'train_1.bmp', 'warwick'):
        GlaSDataset('train', str(tmp_path / 'nowhere'))
    Path(root, 'testA_1_anno.bmp').unlink()
    with raises_naming(FileNotFoundError, '1 of 2 images', 'testA_1'):
        GlaSDataset('test', root)


def test_polyp(tmp_path: Path) -> None:
    root = str(write_polyp(tmp_path / 'polyp'))
    train, test = PolypDataset('train', root), PolypDataset('CVC-ColonDB', root)
    assert ids(train) == ['0', '1'] and ids(test) == ['1']
    assert test.get_data_info(0)['dataset_name'] == 'CVC-ColonDB'
    for folder in ('image', 'mask'):
        Path(root, 'TrainDataset', folder).rename(Path(root, 'TrainDataset', folder + 's'))
    assert ids(PolypDataset('train', root)) == ['0', '1']
    with raises_naming(ValueError, 'subset', 'kvasir'):
        PolypDataset('kvasir', root)
    with raises_naming(FileNotFoundError, 'CVC-300', 'PraNet'):
        PolypDataset('CVC-300', root)


def test_monuseg_outlines(tmp_path: Path) -> None:
    root = str(write_monuseg(tmp_path))
    expected = np.zeros((70, 90), np.uint8)
    for x1, y1, x2, y2 in ((10, 10, 20, 30), (15, 10, 30, 20), (60, 40, 70, 50)):
        expected[y1 : y2 + 1, x1 : x2 + 1] = 1
    dataset = MoNuSegDataset('train', root, pipeline=LOAD)
    assert ids(dataset) == ['TCGA-A'] and np.array_equal(dataset[0]['gt_seg_map'], expected)
    assert MoNuSegDataset('test', root, pipeline=LOAD)[0]['gt_seg_map'][45, 65] == 1, 'PNG masks serve, too'
    tiles = MoNuSegDataset('train', root, tile=40, pipeline=LOAD)
    # 90 x 70 in tiles of 40: columns at 0, 40, 50, rows at 0, 30; those without a nucleus are dropped
    assert ids(tiles) == ['TCGA-A_0_0', 'TCGA-A_0_30', 'TCGA-A_40_30', 'TCGA-A_50_30']
    whole = dataset[0]['img']
    for sample in (tiles[index] for index in range(len(tiles))):
        x, y, _, _ = sample['tile']
        assert np.array_equal(sample['gt_seg_map'], expected[y : y + 40, x : x + 40]) and sample['gt_seg_map'].any()
        assert np.array_equal(sample['img'], whole[y : y + 40, x : x + 40]) and sample['ori_shape'] == (40, 40)


def test_monuseg_refuses(tmp_path: Path) -> None:
    root = str(write_monuseg(tmp_path))
    xml = Path(root, 'train/Annotations/TCGA-A.xml')
    with raises_naming(ValueError, 'split', 'val'):
        MoNuSegDataset('val', root)
    with raises_naming(ValueError, '90 x 70', 'tile=80'):
        MoNuSegDataset('train', root, tile=80)
    outlines = xml.read_text()
    for text, what in (('<Annotations>', 'XML'), ('<A/>', 'outline')):
        xml.write_text(text)
        with raises_naming(ValueError, 'TCGA-A.xml', what):
            MoNuSegDataset('train', root)
    xml.with_name('TCGA-Z.xml').write_text(outlines)
    with raises_naming(FileNotFoundError, 'TCGA-Z.xml', '1 of 2', 'TCGA-Z.tif'):
        MoNuSegDataset('train', root)
    xml.with_name('TCGA-Z.xml').unlink()
    xml.unlink()
    with raises_naming(FileNotFoundError, '1 of 1 images', 'TCGA-A'):
        MoNuSegDataset('train', root)
    with raises_naming(FileNotFoundError, 'MoNuSeg'):
        MoNuSegDataset('train', str(tmp_path / 'nowhere'))


def test_monuseg_takes_what_archives_hold(tmp_path: Path) -> None:
    """A Mac's shadow files, suffixes in capitals, folders that are links."""
    root = write_monuseg(tmp_path)
    folder = root / 'train/Annotations'
    (folder / 'TCGA-A.xml').rename(folder / 'TCGA-A.XML')
    (folder / '._TCGA-A.xml').write_bytes(b'\0\5\x16\7')
    (root / 'train/__MACOSX').mkdir()
    (root / 'train/__MACOSX/._TCGA-B.xml').write_bytes(b'\0\5\x16\7')
    folder.rename(root / 'elsewhere')
    folder.symlink_to(root / 'elsewhere')
    dataset = MoNuSegDataset('train', str(root), pipeline=LOAD)
    assert ids(dataset) == ['TCGA-A'] and dataset[0]['gt_seg_map'][45, 65] == 1


def test_monuseg_keeps_empty_tiles_if_asked(tmp_path: Path) -> None:
    root = write_monuseg(tmp_path)
    tiles = MoNuSegDataset('train', str(root), tile=40, drop_empty=False, pipeline=LOAD)
    assert len(tiles) == 6 and sorted(bool(tile['gt_seg_map'].any()) for tile in tiles) == [False] * 2 + [True] * 4
    (root / 'train/Annotations/TCGA-A.xml').unlink()
    whole = MoNuSegDataset('train', str(root), missing_mask='normal', pipeline=LOAD)
    assert len(whole) == 1 and not whole[0]['gt_seg_map'].any()


@pytest.mark.parametrize(
    ('first', 'second'),
    [
        ('train/Tissue Images/TCGA-A.tif', 'train/copies/TCGA-A.tif'),
        ('train/Annotations/TCGA-A.xml', 'train/copies/TCGA-A.XML'),
    ],
)
def test_monuseg_refuses_a_name_twice(first: str, second: str, tmp_path: Path) -> None:
    root = write_monuseg(tmp_path)
    (root / second).parent.mkdir()
    (root / second).write_bytes((root / first).read_bytes())
    with raises_naming(ValueError, first, second):
        MoNuSegDataset('train', str(root))


def test_mvtec_split(tmp_path: Path) -> None:
    root = str(write_mvtec_ad_split(tmp_path))
    parts = {
        seed: [set(ids(MVTecADSplitDataset(split, seed=seed, data_root=root))) for split in ('train', 'test')]
        for seed in range(4)
    }
    for train, test in parts.values():
        assert not train & test and len(train | test) == 7
        assert sum('crack' in name for name in train) == 4 and sum('hole' in name for name in train) == 1
    assert parts[0] == [set(ids(MVTecADSplitDataset(s, data_root=root))) for s in ('train', 'test')]
    assert len({frozenset(train) for train, _ in parts.values()}) > 1, 'another seed, another split'
    for split, share, names in (('val', 0.8, ('split', 'val')), ('train', 1.0, ('train_share', '1.0'))):
        with raises_naming(ValueError, *names):
            MVTecADSplitDataset(split, data_root=root, train_share=share)
