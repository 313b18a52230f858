"""The metrics on hand-made predictions with numbers worked by hand."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mmengine.logging import MMLogger
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS

from mmsam_ext.evaluation import PromptIoUMetric, StabilityMetric
from tests.naming import raises_naming

Sample = Callable[..., dict[str, Any]]
Masks = Callable[..., torch.Tensor]


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lines that the metrics log."""
    lines: list[str] = []
    for module in ('prompt_iou_metric', 'stability_metric'):
        monkeypatch.setattr(f'mmsam_ext.evaluation.metrics.{module}.print_log', lambda text, **_: lines.append(text))
    return lines


def evaluate(metric: Any, samples: list[dict[str, Any]]) -> dict[str, float]:
    for one in samples:
        metric.process({}, [one])
    assert len(metric.results) == len(samples)  # one record a sample, which collect_results relies on
    metric.results[:] = pickle.loads(pickle.dumps(metric.results))
    return metric.evaluate(len(samples))


def test_prompts_of_one_draw_are_united_and_draws_averaged(masks: Masks, sample: Sample) -> None:
    truth = masks('##..')
    predictions = masks('#...', '.#..', '##..', '#.#.', '####')
    one = sample(
        predictions, truth, modes=('boxes', 'noisy'), mode_ids=[0, 0, 1, 1, 1], draw_ids=[0, 0, 0, 1, 2]
    )  # fmt: skip
    results = evaluate(PromptIoUMetric(boundary=False), [one])
    # boxes: two halves united, 1. noisy: mean of 1, 1/3, 1/2
    assert results == pytest.approx({'mIoU/boxes': 100, 'mIoU/noisy': 1100 / 18, 'mIoU': (100 + 1100 / 18) / 2})


def test_targets_are_compared_with_their_own_mask(masks: Masks, sample: Sample) -> None:
    truth = masks('##.#', '##..', '...#')  # row 0 is the whole
    one = sample(masks('##..', '..##'), truth, target_ids=[1, 2])
    assert evaluate(PromptIoUMetric(boundary=False), [one])['mIoU/box'] == pytest.approx((100 + 50) / 2)


def test_averages_over_groups_of_modes(masks: Masks, sample: Sample, tmp_path: Path, log: list[str]) -> None:
    """As box-level and point-level in SPT's tables: a mean over datasets in each mode, then over the group's modes."""
    truth, modes = masks('####'), ('box', 'boxes', '5 points')
    one = sample(masks('####', '##..', '#...'), truth, modes=modes, mode_ids=[0, 1, 2], dataset_name='a')
    two = sample(masks('##..', '####', '###.'), truth, modes=modes, mode_ids=[0, 1, 2], dataset_name='b')
    groups = {'box-level': ['box', 'boxes'], 'point-level': ['5 points'], 'not all there': ['box', '10 points']}
    path = tmp_path / 'iou.csv'
    results = evaluate(PromptIoUMetric(boundary=False, mode_groups=groups, csv_path=str(path)), [one, two])
    assert {key: value for key, value in results.items() if '/' not in key or 'level' in key} == pytest.approx(
        {'mIoU/box-level': 75, 'mIoU/point-level': 50, 'mIoU': (75 + 75 + 50) / 3}
    )
    assert 'mIoU/not all there' not in results
    assert 'box-level' in log[-1] and '75.00' in log[-1]
    with path.open() as file:
        rows = {row['mode']: row for row in csv.DictReader(file) if row['dataset'] == 'mean'}
    assert (rows['box-level']['targets'], float(rows['box-level']['mIoU'])) == ('4', pytest.approx(75))


def test_stability_in_the_same_table(masks: Masks, sample: Sample, tmp_path: Path, log: list[str]) -> None:
    """Of #..., ##.. and ####: IoU with ##.. 1/2, 1, 1/2; ST 1/4, 2/4, 4/4, since the union is ####. One box: no ST."""
    truth, modes, path = masks('##..'), ('box', 'noisy'), tmp_path / 'table.csv'
    three = masks('##..', '#...', '##..', '####')
    one = sample(three, truth, modes=modes, mode_ids=[0, 1, 1, 1], draw_ids=[0, 0, 1, 2])
    agree = sample(
        masks('####', '##..', '##..', '##..'), truth, modes=modes, mode_ids=[0, 1, 1, 1], draw_ids=[0, 0, 1, 2]
    )
    other = sample(masks('##..'), truth, modes=modes, mode_ids=[1], dataset_name='KSDD')  # a single draw
    metric = PromptIoUMetric(boundary=False, stability=True, csv_path=str(path))
    results = evaluate(metric, [one, agree, other])
    first, second = 7 / 12, 1
    assert results == pytest.approx({
        'mIoU/box': 75, 'mIoU/noisy': (100 * (2 / 3 + 1) / 2 + 100) / 2, 'mIoU': (75 + 275 / 3) / 2,
        'ST/noisy': 100 * (first + second) / 2, 'ST': 100 * (first + second) / 2,
        'MTD/mIoU/box': 75, 'MTD/mIoU/noisy': 250 / 3, 'KSDD/mIoU/noisy': 100,
        'MTD/ST/noisy': 100 * (first + second) / 2,
    })  # fmt: skip
    alone = evaluate(StabilityMetric(), [one, agree, other])
    assert {key: value for key, value in results.items() if 'ST' in key} == pytest.approx(
        alone | {'MTD/ST/noisy': alone['ST']}
    )
    table = next(line for line in log if 'mIoU' in line).replace(' ', '')
    assert '|Dataset|Prompt|mIoU|ST|Targets|' in table
    assert '|MTD|box|75.00|-|2|' in table and '|MTD|noisy|83.33|79.17|2|' in table
    assert '|KSDD|noisy|100.00|-|1|' in table and '|mean|mean|83.33|79.17|5|' in table
    with path.open() as file:
        rows = {(row['dataset'], row['mode'], row['class']): row['ST'] for row in csv.DictReader(file)}
    assert rows['MTD', 'box', 'all'] == '' and float(rows['mean', 'noisy', 'all']) == pytest.approx(100 * 19 / 24)


def test_mean_over_images_then_over_datasets(masks: Masks, sample: Sample, tmp_path: Path, log: list[str]) -> None:
    truth, full, half, none = masks('##../....'), masks('##../....'), masks('#.../....'), masks('..../....')
    samples = [
        sample(full, truth, dataset_name='MTD', defect_class='crack'),
        sample(half, truth, dataset_name='MTD', defect_class='crack'),
        sample(none, truth, dataset_name='MTD', defect_class='fray'),
        sample(full, truth, dataset_name='KSDD', defect_class='crack'),
    ]
    path = tmp_path / 'new' / 'iou.csv'
    results = evaluate(PromptIoUMetric(csv_path=str(path)), samples)
    # masks are one pixel high, so their boundary is all of them
    mtd, ksdd = (100 + 50 + 0) / 3, 100
    mean = (mtd + ksdd) / 2
    assert results == pytest.approx({
        'mIoU/box': mean, 'mBIoU/box': mean, 'mIoU': mean, 'mBIoU': mean,
        'MTD/mIoU/box': mtd, 'MTD/mBIoU/box': mtd, 'KSDD/mIoU/box': ksdd, 'KSDD/mBIoU/box': ksdd,
    })  # fmt: skip
    with path.open() as file:
        rows = {(row['dataset'], row['mode'], row['class']): row for row in csv.DictReader(file)}
    assert {key: float(row['mIoU']) for key, row in rows.items()} == pytest.approx({
        ('MTD', 'box', 'crack'): 75, ('MTD', 'box', 'fray'): 0, ('MTD', 'box', 'all'): 50,
        ('KSDD', 'box', 'crack'): 100, ('KSDD', 'box', 'all'): 100, ('mean', 'box', 'all'): 75,
    })  # fmt: skip
    assert rows['MTD', 'box', 'all']['targets'] == '3'
    table = log[-1].replace(' ', '')
    assert '|MTD|box|50.00|50.00|3|' in table and '|mean|box|75.00|75.00|4|' in table
    assert '|MTD|crack|75.00|75.00|2|' in table


def test_boundary_iou_differs_from_iou(sample: Sample) -> None:
    """A square of 40 in a square of 50 on 100 x 100, d = 3: IoU 1600 / 2500; the two rings do not meet."""
    truth, pred = torch.zeros(2, 1, 100, 100, dtype=bool)
    truth[:, 20:70, 20:70] = True
    pred[:, 25:65, 25:65] = True
    results = evaluate(PromptIoUMetric(prefix='val'), [sample(pred, truth)])
    assert results == pytest.approx({'val/mIoU/box': 64, 'val/mBIoU/box': 0, 'val/mIoU': 64, 'val/mBIoU': 0})
    # d = 14 at 0.1: rings 2500 - 22^2 and 1600 - 12^2 share 1600 - 22^2
    wide = evaluate(PromptIoUMetric(dilation_ratio=0.1), [sample(pred, truth)])
    shared, ring, inner = 1600 - 22**2, 2500 - 22**2, 1600 - 12**2
    assert wide['mBIoU'] == pytest.approx(100 * shared / (ring + inner - shared))


def test_empty_targets_are_counted_not_scored(masks: Masks, sample: Sample, log: list[str]) -> None:
    empty = masks('....')
    samples = [
        sample(masks('##..'), masks('##..')),
        sample(masks('##..'), empty),  # prompted all the same
        sample(masks('####')[:0], empty),  # or not prompted at all
        sample(masks('####')[:0], masks('##..')),
    ]
    assert evaluate(PromptIoUMetric(), samples)['mIoU'] == 100
    assert log[0] == 'PromptIoUMetric: 2 empty targets in 4 samples, not scored'
    assert log[1] == 'PromptIoUMetric: 1 of 4 samples had no prompt'
    assert evaluate(PromptIoUMetric(), samples[1:3]) == {}
    assert log[-1] == 'PromptIoUMetric: no target to score'


def test_truth_of_plain_mmseg_samples(masks: Masks, sample: Sample) -> None:
    one = sample(masks('#...'), None, gt_sem_seg=dict(data=masks('##..').long()))
    del one['prompts'], one['dataset_name'], one['sample_id']
    assert evaluate(PromptIoUMetric(boundary=False), [one]) == {'mIoU/none': 50, 'mIoU': 50}


def test_two_ranks_give_the_numbers_of_one(sample: Sample) -> None:
    """collect_results interleaves the ranks' records and drops those that pad the last batch."""
    generator = torch.Generator().manual_seed(0)
    samples = [
        sample(torch.rand(3, 20, 20, generator=generator) > 0.5, torch.rand(1, 20, 20, generator=generator) > 0.5,
               draw_ids=[0, 1, 2], defect_class=str(index % 3))
        for index in range(7)
    ]  # fmt: skip
    for metric in (PromptIoUMetric(), PromptIoUMetric(stability=True), StabilityMetric()):
        expected = evaluate(metric, samples)
        ranks = []
        for rank in range(2):
            metric.process({}, (samples + samples[:1])[rank::2])
            ranks.append(metric.results[:])
            metric.results.clear()
        interleaved = [record for pair in zip(*ranks, strict=True) for record in pair][:7]
        assert metric.compute_metrics(interleaved) == expected
        assert metric.compute_metrics(interleaved[::-1]) == expected


def test_stability_by_hand(masks: Masks, sample: Sample, log: list[str]) -> None:
    modes = ('noise', 'box')
    first = sample(  # noise: draw 0 is two prompts; areas 2, 3, 1 of a union of 4
        masks('#...', '.#..', '###.', '...#', '####'), None, modes, [0, 0, 0, 0, 1], draw_ids=[0, 0, 1, 2, 0]
    )  # fmt: skip
    second = sample(masks('....', '....'), None, modes, draw_ids=[0, 1])  # all empty: they agree
    third = sample(masks('####'), None, modes)
    st = 100 * ((2 / 4 + 3 / 4 + 1 / 4) / 3 + 1) / 2
    assert evaluate(StabilityMetric(), [first, second, third]) == pytest.approx({'ST/noise': st, 'ST': st})
    assert log[:2] == [
        'StabilityMetric: box: 1 targets with a single draw, left out',
        'StabilityMetric: noise: 1 targets with a single draw, left out',
    ]
    assert evaluate(StabilityMetric(), [third]) == {}
    assert log[-1] == 'StabilityMetric: no target with several draws'


def test_mmsegs_iou_metric_takes_our_output(masks: Masks) -> None:
    MMLogger.get_instance('test_evaluation')
    metric = METRICS.build(dict(type='IoUMetric', iou_metrics=['mIoU']))
    assert isinstance(metric, IoUMetric)
    metric.dataset_meta = dict(classes=('background', 'defect'))
    truth = masks('##..').long()
    truth[0, 0, 3] = 255
    metric.process({}, [dict(pred_sem_seg=dict(data=masks('#..#').long()), gt_sem_seg=dict(data=truth))])
    # defect 1 of 2, background 1 of 2, the ignored pixel apart
    assert metric.evaluate(1) == pytest.approx({'aAcc': 66.67, 'mIoU': 50.0, 'mAcc': 75.0})


@pytest.mark.parametrize('scale', [1, 2])
def test_ignored_pixels_have_no_iou(masks: Masks, sample: Sample, scale: int) -> None:
    """Without the last pixel 1 of 2, with it 1 of 3; labels may have the size of the network's input."""
    labels = torch.tensor([[[1, 1, 0, 255]]]).repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    one = sample(masks('#..#'), masks('##..'), sample_id='tile/7') | dict(gt_sem_seg=dict(data=labels))
    assert evaluate(PromptIoUMetric(boundary=False), [one])['mIoU'] == pytest.approx(50)
    if scale == 1:
        del one['gt_masks']
        assert evaluate(PromptIoUMetric(boundary=False), [one])['mIoU'] == pytest.approx(50)
    with raises_naming(ValueError, 'tile/7', 'gt_sem_seg', '255', 'boundary=False'):
        PromptIoUMetric().process({}, [one])


@pytest.mark.parametrize(
    ('change', 'names'),
    [
        (dict(gt_masks=dict(data=torch.zeros(1, 5, 4))), ('mask_logits', '(1, 4)', '(5, 4)')),
        (dict(gt_masks=dict(data=torch.full((1, 1, 4), 255))), ('gt_masks', '[255]')),
        (dict(gt_masks=dict(data=torch.zeros(1, 4))), ('gt_masks', '(1, 4)', '(T, H, W)')),
        (dict(prompts=dict(modes=())), ('mode_ids', '[0]', 'modes', '()')),
    ],
)
def test_errors_name_the_sample(masks: Masks, sample: Sample, change: dict[str, Any], names: tuple[str, ...]) -> None:
    one = sample(masks('##..'), masks('##..'), sample_id='tile/7')
    with raises_naming(ValueError, 'tile/7', *names):
        PromptIoUMetric().process({}, [one | change])


def test_errors_in_predictions_name_the_sample(masks: Masks, sample: Sample) -> None:
    metric = PromptIoUMetric()
    one = sample(masks('##..'), masks('##..'), sample_id='tile/7')
    one['pred_instances']['mask_logits'][0, 0, 1] = float('nan')
    with raises_naming(ValueError, 'tile/7', 'mask_logits', 'row 0', 'NaN'):
        metric.process({}, [one])
    with raises_naming(ValueError, 'tile/7', 'draw_ids', '2', '1', 'mask_logits'):
        metric.process({}, [sample(masks('##..'), masks('##..'), sample_id='tile/7', draw_ids=[0, 1])])
    with raises_naming(ValueError, 'tile/7', 'target_ids', '3', '1'):
        metric.process({}, [sample(masks('##..'), masks('##..'), sample_id='tile/7', target_ids=[3])])
    with raises_naming(ValueError, 'tile/7', 'gt_masks', 'gt_sem_seg'):
        metric.process({}, [sample(masks('##..'), None, sample_id='tile/7')])
    with raises_naming(ValueError, 'tile/7', 'pred_instances'):
        StabilityMetric().process({}, [dict(sample_id='tile/7')])
    with raises_naming(ValueError, 'dilation_ratio', '2'):
        PromptIoUMetric(dilation_ratio=2)
