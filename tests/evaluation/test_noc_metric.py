"""NoC on a hand-worked case."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch

from mmsam_ext.evaluation import NoCMetric
from tests.naming import raises_naming


def clicked(ious: list[list[float]], dataset: str = 'SBD', name: str = 'one') -> dict:
    """A sample as the loop leaves it: a row of IoUs for each of its objects."""
    number = len(ious)
    instances = dict(
        click_ious=torch.tensor(ious, dtype=torch.float64),
        target_ids=torch.arange(number),
        draw_ids=torch.zeros(number, dtype=torch.int64),
    )
    return dict(pred_instances=instances, sample_id=name, dataset_name=dataset)


def test_hand_worked(tmp_path: Path) -> None:
    metric = NoCMetric(
        thresholds=(0.8, 0.9),
        report_clicks=(1, 3),
        csv_path=str(tmp_path / 'a/b.csv'),
        figure_path=str(tmp_path / 'c.png'),
    )
    metric.process(None, [clicked([[0.5, 0.85, 0.9], [0.2, 0.4, 0.84]], name='a')])
    metric.process(None, [clicked([[0.9, 0.1, 0.1]], name='b')])
    metric.process(None, [clicked([[0.0, 0.0, 0.0]], dataset='DAVIS', name='c')])
    results = metric.evaluate(3)
    assert results['SBD/NoC80'] == pytest.approx((2 + 3 + 1) / 3)
    assert results['SBD/NoC90'] == pytest.approx((3 + 3 + 1) / 3)
    assert results['SBD/failures80'] == 0 and results['SBD/failures90'] == 1
    assert results['DAVIS/NoC80'] == 3 and results['DAVIS/failures80'] == 1
    assert results['NoC80'] == pytest.approx((2 + 3) / 2)
    assert results['failures90'] == 2
    assert results['SBD/IoU@1'] == pytest.approx(100 * (0.5 + 0.2 + 0.9) / 3)
    rows = list(csv.reader((tmp_path / 'a/b.csv').open()))
    assert rows[0][-1] == 'iou_3' and rows[2][:5] == ['SBD', 'a', '1', '0', '0.200000'] and len(rows) == 5
    assert (tmp_path / 'c.png').read_bytes()[:4] == b'\x89PNG'


def test_one_dataset_has_no_dataset_keys() -> None:
    metric = NoCMetric()
    metric.process(None, [clicked([[0.5] * 20])])
    assert set(metric.evaluate(1)) == {
        *(f'{name}{percent}' for name in ('NoC', 'failures') for percent in (80, 85, 90)),
        *(f'IoU@{number}' for number in (1, 3, 5, 10, 20)),
    }


def test_nothing_clicked() -> None:
    metric = NoCMetric()
    metric.process(None, [clicked([])])
    assert metric.evaluate(1) == {}


def test_bad_input() -> None:
    with raises_naming(ValueError, '1.5'):
        NoCMetric(thresholds=(0.5, 1.5))
    with raises_naming(ValueError, 'part_7', 'click_ious'):
        NoCMetric().process(None, [dict(pred_instances={}, sample_id='part_7')])
