"""Mask AP against pycocotools called directly, on random small sets."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from mmsam_ext.evaluation import CocoMaskAP
from tests.naming import raises_naming

coco = pytest.importorskip('pycocotools.coco')
cocoeval = pytest.importorskip('pycocotools.cocoeval')
from tests.evaluation.coco_sets import SIZE, encode, random_set, sample  # noqa: E402 (needs pycocotools)

NAMES = {'AP': 0, 'AP50': 1, 'AP75': 2, 'APs': 3, 'APm': 4, 'APl': 5}


def reference(annotations: dict, found: dict[int, dict]) -> list[float]:
    """The numbers that pycocotools prints, with its own defaults."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO()
        truth.dataset = json.loads(json.dumps(annotations))
        truth.createIndex()
        rows = [
            dict(image_id=image, category_id=int(category), score=float(score * iou), segmentation=encode(mask))
            for image, one in found.items()
            for mask, score, iou, category in zip(
                one['masks'], one['scores'], one['ious'], one['categories'], strict=True
            )
        ]
        evaluator = cocoeval.COCOeval(truth, truth.loadRes(rows), 'segm')
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return list(evaluator.stats)


def test_equals_pycocotools_to_the_last_digit(tmp_path: Path) -> None:
    compared = 0
    for seed in range(50):
        annotations, found = random_set(seed)
        if not any(len(one['masks']) for one in found.values()):
            continue
        path = tmp_path / f'{seed}.json'
        path.write_text(json.dumps(annotations))
        metric = CocoMaskAP()
        metric.process(None, [sample(image, path, one) for image, one in found.items()])
        results = metric.evaluate(len(found))
        expected = reference(annotations, found)
        for name, place in NAMES.items():
            if expected[place] == -1:
                assert name not in results
            else:
                assert results[name] == results[f'{name}/box'] == 100 * expected[place], (seed, name)
                compared += 1
    assert compared > 150


def test_score_of_box_or_of_iou_alone(tmp_path: Path) -> None:
    """A right mask with a low score of its box and a high IoU, and a wrong one with both the other way round."""
    right, wrong = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    right[20:60, 20:60], wrong[80:100, 100:150] = 1, 1
    annotation = dict(
        id=1, image_id=7, category_id=1, iscrowd=0, segmentation=encode(right), area=1600.0, bbox=[20, 20, 40, 40]
    )
    path = tmp_path / 'truth.json'
    path.write_text(
        json.dumps(
            dict(images=[dict(id=7, height=SIZE[0], width=SIZE[1])], annotations=[annotation], categories=[dict(id=1)])
        )
    )
    found = dict(
        masks=np.stack([right, wrong]),
        scores=np.array([0.2, 0.9]),
        ious=np.array([0.9, 0.5]),
        categories=np.array([1, 1]),
    )
    expected = dict(iou=100.0, box=50.0, product=50.0)  # first or second of two
    for score, value in expected.items():
        metric = CocoMaskAP(score=score)
        metric.process(None, [sample(7, path, found)])
        assert metric.evaluate(1)['AP'] == pytest.approx(value)


def test_boundary_ap_is_stricter(tmp_path: Path) -> None:
    """A mask one pixel larger at two sides: mask IoU 0.952, boundary IoU (4 pixels wide) 511 of 657."""
    truth, grown = np.zeros(SIZE, np.uint8), np.zeros(SIZE, np.uint8)
    truth[40:80, 40:80], grown[40:81, 40:81] = 1, 1
    annotation = dict(
        id=1, image_id=7, category_id=1, iscrowd=0, segmentation=encode(truth), area=1600.0, bbox=[40, 40, 40, 40]
    )
    path = tmp_path / 'truth.json'
    path.write_text(
        json.dumps(
            dict(images=[dict(id=7, height=SIZE[0], width=SIZE[1])], annotations=[annotation], categories=[dict(id=1)])
        )
    )
    found = dict(masks=grown[None], scores=np.array([1.0]), ious=np.array([1.0]), categories=np.array([1]))
    metric = CocoMaskAP(boundary=True)
    metric.process(None, [sample(7, path, found)])
    results = metric.evaluate(1)
    inner, outer, shared = 40**2 - 32**2, 41**2 - 33**2, 40**2 - 33**2
    thresholds = np.linspace(0.5, 0.95, 10)
    assert results['AP'] == pytest.approx(100 * (1600 / 1681 >= thresholds).mean())
    assert results['boundaryAP'] == pytest.approx(100 * (shared / (inner + outer - shared) >= thresholds).mean())
    assert results['boundaryAP50'] == pytest.approx(100.0)


def test_draws_and_datasets_are_averaged(tmp_path: Path) -> None:
    annotations, found = random_set(3)
    path = tmp_path / 'truth.json'
    path.write_text(json.dumps(annotations))
    single = []
    for drop in (0, 1):
        metric = CocoMaskAP()
        metric.process(
            None,
            [sample(image, path, {key: value[drop:] for key, value in one.items()}) for image, one in found.items()],
        )
        single.append(metric.evaluate(len(found))['AP'])
    metric = CocoMaskAP()
    for image, one in found.items():
        both = [sample(image, path, {key: value[drop:] for key, value in one.items()}, draw=drop) for drop in (0, 1)]
        for part in ('prompt_info', 'pred_instances'):
            both[0][part] = {key: torch.cat([one[part][key] for one in both]) for key in both[0][part]}
        metric.process(
            None, [both[0], sample(image, path, {key: value[:0] for key, value in one.items()}, dataset='none')]
        )
    assert metric.evaluate(2 * len(found))['coco/AP/box'] == pytest.approx(sum(single) / 2)


def test_bad_input(tmp_path: Path) -> None:
    with raises_naming(ValueError, "'best'"):
        CocoMaskAP(score='best')
    annotations, found = random_set(3)
    path = tmp_path / 'truth.json'
    path.write_text(json.dumps(annotations))
    image, one = next((image, one) for image, one in found.items() if len(one['masks']))
    one['categories'] = np.full(len(one['masks']), 77)
    metric = CocoMaskAP()
    metric.process(None, [sample(image, path, one)])
    with raises_naming(ValueError, 'truth.json', '77'):
        metric.evaluate(1)
    broken = sample(image, path, one)
    del broken['prompt_info']
    with raises_naming(ValueError, f'image {image}', 'prompt_info'):
        CocoMaskAP().process(None, [broken])
    path.write_text(json.dumps(dict(images=[])))
    metric.process(None, [sample(image, path, one)])
    with raises_naming(ValueError, 'truth.json', 'annotations'):
        metric.evaluate(1)
