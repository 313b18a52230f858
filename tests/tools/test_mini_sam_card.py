"""tools/mini_sam_card.py: its own numbers by hand, its rows, and a table from a run."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

TOOLS = Path(__file__).resolve().parents[2] / 'tools'


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(TOOLS))
    spec = importlib.util.spec_from_file_location('mini_sam_card', TOOLS / 'mini_sam_card.py')
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_fill_the_box_by_hand(card: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / 'MT_Crack' / 'Imgs'
    folder.mkdir(parents=True)
    for kind in ('Blowhole', 'Break', 'Fray', 'Uneven'):
        (tmp_path / f'MT_{kind}' / 'Imgs').mkdir(parents=True)
    masks = [np.zeros((40, 50), np.uint8) for _ in range(2)]
    masks[0][5:15, 5:15] = masks[0][25:35, 5:15] = 255  # 200 of a box of 30 x 10; each fills its own
    masks[1][10:20, 10:30] = 255
    masks[1][10:15, 10:20] = 0  # 150 of 200
    for index, mask in enumerate(masks):
        cv2.imwrite(str(folder / f'{index}.jpg'), np.full((40, 50, 3), 99, np.uint8))
        cv2.imwrite(str(folder / f'{index}.png'), mask)
    (tmp_path / 'val.txt').write_text('MT_Crack/Imgs/0\nMT_Crack/Imgs/1\n')
    assert card.fill_the_box(tmp_path, 'val.txt', None) == pytest.approx((100 * (2 / 3 + 0.75) / 2, 100 * 1.75 / 2))
    assert card.fill_the_box(tmp_path, 'val.txt', 1) == pytest.approx((200 / 3, 100))


def test_row(card: ModuleType) -> None:
    metrics = {'mIoU/box': 71.96, 'mIoU/1 point': 5.0, 'calibration': 3.14, 'correlation': -0.4}
    assert card.row('x', metrics, ['1 point', 'box']) == '| x | 5.0 | 72.0 | -0.40 | 3.1 |'
    del metrics['correlation']
    assert card.row('x', metrics, ['box']) == '| x | 72.0 | - | 3.1 |'


def test_table_of_a_run(card: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    tables = ['objects', 'clicks', 'background']
    monkeypatch.setattr(sys, 'argv', ['mini_sam_card.py', '--tables', *tables, '--images', '3'])
    card.main()
    lines = capsys.readouterr().out.splitlines()
    (cells,) = [line.strip('|').split('|') for line in lines if line.startswith('| objects')]
    assert all(20 < float(value) < 100 for value in cells[1:5]) and float(cells[6]) < 40
    (clicks,) = [line for line in lines if line.startswith('clicks on 3 objects')]
    assert clicks.count(':') == 4 and 'NoC80' in clicks
    nothing = [line for line in lines if 'on the background of 3 images' in line]
    assert [line.split()[1] for line in nothing] == ['point', 'box']
    assert all(0 <= float(share) <= 100 for line in nothing for share in re.findall(r'([\d.]+) %', line))
