"""The command simulate-boxes: true boxes, noise, false boxes, and a file that BoxesFromFile reads."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmsam_ext.cli import simulate_boxes as tool
from mmsam_ext.structures.prompt_files import PromptFile
from tests.shrink import write_mtd


def results() -> dict:
    labels = np.zeros((40, 60), np.uint8)
    labels[5:8, 10:30] = labels[20, 40] = 1
    labels[30:, :5] = 255
    return dict(gt_seg_map=labels, img_path='/somewhere/mtd/MT_Crack/Imgs/1.jpg')


def test_true_boxes_by_hand() -> None:
    rows = list(tool.boxes_of(results(), noise=0.0, false=0, seed=0))
    assert [row['bbox'] for row in rows] == [[10, 5, 20, 3], [40, 20, 1, 1]]
    assert {row['file_name'] for row in rows} == {'MT_Crack/Imgs/1.jpg'}
    assert all(0.3 <= row['score'] <= 1 for row in rows)


def test_noise_and_false_boxes() -> None:
    rows = list(tool.boxes_of(results(), noise=0.4, false=50, seed=0))
    assert rows == list(tool.boxes_of(results(), noise=0.4, false=50, seed=0)) and len(rows) == 52
    assert rows != list(tool.boxes_of(results(), noise=0.4, false=50, seed=1))
    assert rows[0]['bbox'] != [10, 5, 20, 3] and abs(rows[0]['bbox'][0] - 10) <= 0.8 * 20
    boxes = np.array([row['bbox'] for row in rows[2:]])
    assert (boxes[:, :2] >= -0.01).all() and (boxes[:, :2] + boxes[:, 2:] <= [60.01, 40.01]).all()
    assert (boxes[:, 2:] >= 0.05 * np.array([60, 40])).all() and (boxes[:, 2:] <= 0.5 * np.array([60, 40]) + 0.01).all()
    assert all(0.1 <= row['score'] <= 0.6 for row in rows[2:])


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = write_mtd(tmp_path / 'mtd')
    config = tmp_path / 'config.py'
    config.write_text(
        "model = dict()\ntest_dataloader = dict(dataset=dict(type='MTDDataset', ann_file='', "
        f'data_root={str(root)!r}, serialize_data=False))\n'
    )
    tool.main([str(config), '--out', str(tmp_path / 'boxes.json'), '--false', '1'])
    rows = json.loads((tmp_path / 'boxes.json').read_text())
    file = PromptFile(str(tmp_path / 'boxes.json'))
    name = rows[0]['file_name']
    assert len(file.of_image(None, f'/elsewhere/{name}')) == sum(row['file_name'] == name for row in rows) >= 2
    assert f'{len(rows)} boxes' in capsys.readouterr().out
