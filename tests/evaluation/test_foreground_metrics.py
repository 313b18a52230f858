"""Metrics of whole images: averages, undefined values, and evaluation on several ranks."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
import torch

from mmsam_ext.evaluation import MAE, AnomalyMetric, DiceIoU, EMeasure
from mmsam_ext.evaluation.functional import e_measure, level_histograms
from mmsam_ext.evaluation.metrics.anomaly_metric import GroupScores
from tests.naming import missing_names, raises_naming


def sample(logits: torch.Tensor, target: torch.Tensor, group: str = 'MTD', **changes: Any) -> dict[str, Any]:
    """A predicted sample of ours: (H, W) logits and (H, W) bool."""
    result = dict(
        seg_logits=dict(data=logits[None]),
        pred_instances={},
        gt_sem_seg=dict(data=target[None].long()),
        dataset_name=group,
        defect_class=f'{group}/scratch',
        sample_id='one',
    )
    return {**result, **changes}


def random(seed: int, share: float = 0.3) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(12, 9, generator=generator) < share
    return torch.randn(12, 9, generator=generator) + target, target


def evaluate(metric: Any, samples: list[dict[str, Any]]) -> dict[str, float]:
    for one in samples:
        metric.process({}, [one])
    return metric.evaluate(len(samples))


def test_means_over_images_then_groups() -> None:
    a, b, c = random(0), random(1), random(2)
    samples = [sample(*a, 'A'), sample(*b, 'A'), sample(*c, 'B')]
    curves = [e_measure(level_histograms(logits.sigmoid(), target)).curve for logits, target in (a, b, c)]
    results = evaluate(EMeasure(), samples)
    assert results['A/mE'] == pytest.approx(float((curves[0] + curves[1]).mean() / 2))
    assert results['A/maxE'] == pytest.approx(float((curves[0] + curves[1]).max() / 2))
    assert results['mE'] == pytest.approx((results['A/mE'] + float(curves[2].mean())) / 2)
    assert evaluate(EMeasure(by='category'), samples) == results, 'category A of defect_class A/scratch'
    errors = [(logits.sigmoid() - target.float()).abs().mean() for logits, target in (a, b, c)]
    results = evaluate(MAE(normalize=False), samples)
    assert results['MAE'] == pytest.approx(float((errors[0] + errors[1]) / 2 + errors[2]) / 2, abs=1e-3)  # 8 bits


def test_dice_and_iou_by_hand() -> None:
    target = torch.tensor([[True, True, False, False]])
    logits = torch.tensor([[1.0, -1.0, 1.0, -1.0]])  # one hit of two, one false alarm
    assert evaluate(DiceIoU(), [sample(logits, target)]) == pytest.approx(dict(Dice=50.0, IoU=100 / 3))
    assert evaluate(DiceIoU(threshold=0.8), [sample(logits, target)]) == dict(Dice=0.0, IoU=0.0)
    with raises_naming(ValueError, 'threshold', '1.0'):
        DiceIoU(threshold=1.0)


def test_other_segmentors_of_mmseg() -> None:
    logits, target = random(0)
    ours = evaluate(EMeasure(), [sample(logits, target)])
    two = sample(logits, target, seg_logits=dict(data=torch.stack([torch.ones_like(logits), logits + 1])))
    one = sample(logits, target, seg_logits=dict(data=logits.sigmoid()[None]))
    del one['pred_instances']
    for other in (one, two):
        assert evaluate(EMeasure(), [other]) == pytest.approx(ours, abs=1e-3)


@pytest.mark.parametrize('make', [DiceIoU, AnomalyMetric])
def test_empty_category_is_undefined(make: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """An undefined score is excluded from the means and logged once for its category."""
    logged: list[str] = []
    monkeypatch.setattr(
        'mmsam_ext.evaluation.metrics.foreground.print_log', lambda text, *args, **_: logged.append(text)
    )
    logits, target = random(0)
    samples = [sample(logits, target, 'A'), sample(logits, torch.zeros_like(target), 'B')]
    results = evaluate(make(), samples)
    assert {key for key in results if key.startswith('B/')} == set()
    warnings = [text for text in logged if not missing_names(text, *make.names, 'B', '1 images')]
    assert len(warnings) == 1 and not any('undefined for A' in text and 'pixel' in text for text in logged)
    assert 'undefined' in logged[-1], 'in the table, too'
    alone = evaluate(make(), samples[:1])
    assert all(results[name] == results[f'A/{name}'] == value for name, value in alone.items())
    assert evaluate(make(), samples[1:]) == {}


def test_e_measure_of_empty_masks_is_defined() -> None:
    logits, target = random(0)
    assert 0 < evaluate(EMeasure(), [sample(logits, torch.zeros_like(target))])['mE'] < 1.02


@pytest.mark.parametrize(
    ('change', 'names'),
    [
        (dict(seg_logits=dict(data=torch.zeros(3, 12, 9))), ('seg_logits', '(3, 12, 9)')),
        (dict(seg_logits=dict(data=torch.full((1, 12, 9), torch.nan))), ('seg_logits', 'NaN')),
        (dict(seg_logits=dict(data=torch.zeros(1, 12, 8))), ('(12, 8)', '(12, 9)')),
        (
            dict(gt_sem_seg=dict(data=torch.full((1, 12, 9), 2))),
            ('gt_sem_seg', '[2]', '255'),
        ),
    ],
)
def test_bad_samples(change: dict, names: tuple[str, ...]) -> None:
    for metric in (EMeasure(), AnomalyMetric()):
        with raises_naming(ValueError, 'one', *names):
            metric.process({}, [sample(*random(0), **change)])
    unpredicted = sample(*random(0))
    del unpredicted['seg_logits']
    with raises_naming(ValueError, 'one', 'seg_logits'):
        EMeasure().process({}, [unpredicted])


@pytest.mark.parametrize('make', [MAE, EMeasure, DiceIoU, AnomalyMetric])
def test_ignored_pixels_do_not_count(make: type) -> None:
    """An image with a column of ignored pixels has the scores of the image without this column."""
    (logits, target), (_, other) = random(0), random(1)
    target[:, -1] = False
    wild = torch.cat([logits, torch.full((12, 3), 9.0)], 1)
    labels = torch.cat([target.long(), torch.full((12, 3), 255)], 1)
    normal = torch.zeros_like(other)
    given = sample(wild, labels, gt_sem_seg=dict(data=labels[None]))
    expected = evaluate(make(), [sample(logits, target), sample(logits, normal)])
    assert expected and evaluate(make(), [given, sample(logits, normal)]) == pytest.approx(expected)
    nothing = sample(wild, labels, gt_sem_seg=dict(data=torch.full_like(labels, 255)[None]))
    assert evaluate(make(), [given, nothing, sample(logits, normal)]) == pytest.approx(expected)


def test_bad_arguments() -> None:
    for make in (EMeasure, AnomalyMetric):
        with raises_naming(ValueError, 'by', 'class'):
            make(by='class')
    with raises_naming(ValueError, 'limit', '0'):
        AnomalyMetric(limit=0)


def test_anomaly_scores_of_a_perfect_and_a_blind_map() -> None:
    targets = [random(seed, share)[1] for seed, share in ((0, 0.2), (1, 0.3), (2, 0.0))]
    perfect = [sample(target.float() - 0.5, target) for target in targets]
    results = evaluate(AnomalyMetric(), perfect)
    assert set(results) == set(AnomalyMetric.names) and all(value == pytest.approx(100) for value in results.values())
    blind = evaluate(AnomalyMetric(), [sample(torch.zeros_like(target).float(), target) for target in targets])
    share = float(torch.stack(targets).double().mean())
    assert blind['pixel_AUROC'] == blind['image_AUROC'] == 50
    assert blind['pixel_AP'] == pytest.approx(100 * share) and blind['image_AP'] == pytest.approx(100 * 2 / 3)
    assert blind['AUPRO'] == pytest.approx(15), 'the diagonal up to 0.3, over 0.3'


def test_anomaly_memory_does_not_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    metric = AnomalyMetric()
    for seed in range(30):
        metric.process({}, [sample(*random(seed))])
    assert metric.results == [] and list(metric._groups) == [('MTD', '')]
    held = metric._groups['MTD', '']
    tensors = (*held.pixels, *held.images, held.regions)
    assert sum(tensor.numel() * tensor.element_size() for tensor in tensors) == 5 * 65536 * 8


def test_ranks_together_are_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three images on two ranks: the sampler repeats one on the second, which must not count."""
    samples = [sample(*random(seed), 'AB'[seed % 2]) for seed in range(3)]
    alone = evaluate(AnomalyMetric(), samples)
    module = 'mmsam_ext.evaluation.metrics.anomaly_metric'
    parts: list[dict[str, GroupScores]] = []
    for rank, indices in ((0, (0, 2)), (1, (1, 0))):
        metric = AnomalyMetric()
        for index in indices:
            metric.process({}, [samples[index]])
        monkeypatch.setattr(f'{module}.get_world_size', lambda: 2)
        monkeypatch.setattr(f'{module}.get_rank', lambda rank=rank: rank)
        monkeypatch.setattr('mmengine.evaluator.BaseMetric.evaluate', lambda self, size: parts.extend(self.results))
        metric.evaluate(3)
        monkeypatch.undo()
    assert AnomalyMetric().compute_metrics(parts) == alone


def anomaly_sample(scores: list[list[float]], truth: list[list[int]], defect_class: str) -> dict:
    """A sample with an anomaly map, as :class:`SAAPlusSegmentor` leaves it."""
    return dict(
        pred_instances={},
        seg_logits=dict(data=torch.tensor([scores])),
        gt_sem_seg=dict(data=torch.tensor([truth])),
        dataset_name='set',
        defect_class=defect_class,
    )


def test_anomaly_scores_normalised_by_category() -> None:
    """Two categories of different scales: pooled as they are, the second's background is above the first's defects."""
    samples = [
        anomaly_sample([[0.0, 0.125], [0.25, 0.5]], [[0, 0], [0, 1]], 'a/x'),
        anomaly_sample([[1.0, 1.25], [2.0, 3.0]], [[0, 0], [1, 1]], 'b/x'),
    ]
    # As they are, 0.5 is above 3 of 5 normal pixels, 2 and 3 above all. Normalised, defects are 1, 0.5 and 1, normal
    # pixels 0, 0.25, 0.5, 0 and 0.125: one tie.
    for min_max, wins in ((False, 3 + 5 + 5), (True, 5 + 4.5 + 5)):
        metric = AnomalyMetric(min_max=min_max)
        metric.process(None, samples)
        assert metric.evaluate(2)['pixel_AUROC'] == pytest.approx(100 * wins / 15)
    by_category = {}
    for min_max in (False, True):
        metric = AnomalyMetric(min_max=min_max, by='category')
        metric.process(None, samples)
        by_category[min_max] = metric.evaluate(2)
    assert by_category[False] == pytest.approx(by_category[True]), 'within a category it changes nothing'


def test_anomaly_maps_at_a_fixed_size() -> None:
    """Cubic maps and nearest masks, as cv2 has them."""
    rng = np.random.default_rng(0)
    scores, truth = rng.random((7, 9)).astype(np.float32), (rng.random((7, 9)) < 0.3).astype(np.uint8)
    metric = AnomalyMetric(size=(16, 20))
    logits, target, ignored = metric._resized(torch.from_numpy(scores), torch.from_numpy(truth) > 0, None)
    assert np.allclose(logits, cv2.resize(scores, (20, 16), interpolation=cv2.INTER_CUBIC), atol=1e-5)
    assert np.array_equal(target, cv2.resize(truth, (20, 16), interpolation=cv2.INTER_NEAREST) > 0)
    assert ignored is None
