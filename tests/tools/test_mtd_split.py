"""The command mtd-split: a seeded split of each class, which the dataset reads."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmseg.registry import DATASETS

from mmsam_ext.cli import mtd_split as tool
from tests.naming import raises_naming
from tests.shrink import UNSERIALIZED, write_mtd

NAMES = [
    f'{kind}/Imgs/exp1_num_{index}' for kind, number in (('MT_Crack', 40), ('MT_Fray', 8)) for index in range(number)
]


def test_split() -> None:
    train, val = tool.split(NAMES, 0.25, 0)
    assert sorted(train + val) == sorted(NAMES) and train == sorted(train) and val == sorted(val)
    assert [sum(name.startswith(kind) for name in val) for kind in ('MT_Crack', 'MT_Fray')] == [10, 2]
    assert tool.split(NAMES[::-1], 0.25, 0) == (train, val)
    assert tool.split(NAMES, 0.25, 1) != (train, val)


def test_lists_are_read(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = write_mtd(tmp_path / 'mtd')
    with raises_naming(SystemExit, 'mtd-split', 'train.txt'):
        tool.main([str(root), '--val', '0.5'])
    for name in ('train.txt', 'val.txt'):
        (root / name).unlink()
    tool.main([str(root), '--val', '0.5'])
    assert capsys.readouterr().out.splitlines() == [f'{root}/{name}.txt: 2 samples' for name in ('train', 'val')]
    found = []
    for name in ('train.txt', 'val.txt'):
        dataset = DATASETS.build(dict(type='MTDDataset', data_root=str(root), ann_file=name, **UNSERIALIZED))
        found += [dataset.get_data_info(index)['sample_id'] for index in range(len(dataset))]
    assert len(set(found)) == len(found) == 4
    assert {name.split('/')[0] for name in found[:2]} == {name.split('/')[0] for name in found[2:]}


@pytest.mark.parametrize('val', ['0', '1', '0.1', '-1'])
def test_no_list_is_empty(val: str, tmp_path: Path) -> None:
    root = write_mtd(tmp_path)
    with raises_naming(SystemExit, '4 samples', val):
        tool.main([str(root), '--val', val])


def test_not_there(tmp_path: Path) -> None:
    with raises_naming(SystemExit, 'mtd-split', 'MTD', 'MT_Blowhole/Imgs'):
        tool.main([str(tmp_path)])
