"""All masks of an image, against ``segment_anything``'s generator on the same random weights."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import init_default_scope
from segment_anything import SamAutomaticMaskGenerator

from mmsam_ext.apis import InferenceError, SegmentEverything
from mmsam_ext.apis.inference_pipeline import InferencePipeline
from mmsam_ext.cli import everything
from tests.models.small import SIZE, segmentor_of, stock_sam
from tests.naming import assert_names, raises_naming

STEPS = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(SIZE, SIZE), keep_ratio=True, backend='pillow'),
    dict(type='PackPromptInputs'),
]


@pytest.fixture(scope='module')
def sam():
    return stock_sam()


@pytest.fixture(scope='module')
def inferencer(sam) -> Any:
    """What `SegmentEverything` needs of an inferencer: a model with the weights of `sam`, and a pipeline."""
    init_default_scope('mmseg')
    model = segmentor_of(sam)
    config = Config(dict(test_dataloader=dict(dataset=dict(pipeline=STEPS))))
    return SimpleNamespace(model=model, pipeline=InferencePipeline(config, model.data_preprocessor))


def image(height: int = 96, width: int = 150) -> np.ndarray:
    """(H, W, 3) uint8 BGR, coarse colours and noise."""
    rng = np.random.default_rng(0)
    coarse = cv2.resize(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8), (width, height))
    return (coarse // 2 + rng.integers(0, 128, (height, width, 3))).astype(np.uint8)


CASES = {
    'plain': dict(),
    'suppression': dict(box_nms_thresh=0.7, crop_nms_thresh=0.7),
    'crops': dict(crop_n_layers=1, crop_n_points_downscale_factor=2),
    'small regions': dict(min_mask_region_area=30),
    'predicted IoU': dict(pred_iou_thresh=0.1, stability_score_thresh=0.0),
}


def settings(sam, **changes: Any) -> dict[str, Any]:
    """Thresholds under which random weights, whose masks are speckled all over, keep some masks and drop others."""
    few = dict(points_per_side=6, pred_iou_thresh=0.0, stability_score_thresh=0.9, stability_score_offset=0.02)
    return few | dict(box_nms_thresh=1.0, crop_nms_thresh=1.0) | changes


@pytest.mark.parametrize('case', CASES)
def test_equals_the_generator_of_sam(sam, inferencer, case: str) -> None:
    picture = image()
    options = settings(sam, **CASES[case])
    ours = SegmentEverything(inferencer, points_per_batch=10, **options)(picture)
    theirs = SamAutomaticMaskGenerator(sam, points_per_batch=7, **options).generate(
        np.ascontiguousarray(picture[..., ::-1])
    )
    assert len(ours) == len(theirs) >= (1 if case == 'suppression' else 10)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine['crop_box'] == other['crop_box'] and mine['point_coords'] == other['point_coords']
        assert mine['predicted_iou'] == pytest.approx(other['predicted_iou'], abs=1e-4)
        # Rounding may move a pixel whose logit is nearly 0.
        assert np.count_nonzero(mine['segmentation'] != other['segmentation']) <= 3


def test_a_threshold_of_predicted_iou_drops_masks(sam, inferencer) -> None:
    picture = image()
    options = settings(sam)
    everything = SegmentEverything(inferencer, **options)(picture)
    middle = float(np.median([record['predicted_iou'] for record in everything]))
    some = SegmentEverything(inferencer, **options | dict(pred_iou_thresh=max(middle, 1e-6)))(picture)
    assert 0 < len(some) <= len(everything)
    assert all(record['predicted_iou'] > middle for record in some)


def test_nothing_is_good_enough(inferencer) -> None:
    assert SegmentEverything(inferencer, points_per_side=3, pred_iou_thresh=1e6, crop_n_layers=1)(image()) == []


def test_bad_input(inferencer) -> None:
    with raises_naming(InferenceError, 'points_per_side', '0'):
        SegmentEverything(inferencer, points_per_side=0)
    with raises_naming(InferenceError, 'crop_n_layers', '-1'):
        SegmentEverything(inferencer, crop_n_layers=-1)
    with raises_naming(InferenceError, '2 images'):
        SegmentEverything(inferencer)([image(), image()])


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Pictures and records of a folder with one broken file; run-length encodings by hand."""
    (tmp_path / 'in').mkdir()
    cv2.imwrite(str(tmp_path / 'in/a.png'), cv2.circle(image(), (75, 48), 25, (0, 0, 255), -1))
    (tmp_path / 'in/b.png').write_bytes(b'no image')
    arguments = [str(tmp_path / 'in'), '--out', str(tmp_path / 'out'), '--points-per-side', '3']
    assert everything.main([*arguments, '--pred-iou', '0.5', '--stability', '0.5']) == 1
    shown = capsys.readouterr()
    records = json.loads((tmp_path / 'out/a_png_everything.json').read_text())
    assert len(records) > 0 and f'a.png: {len(records)} masks' in shown.out and 'b.png' in shown.err
    assert sum(records[0]['segmentation']['counts'][1::2]) == records[0]['area']
    assert cv2.imread(str(tmp_path / 'out/a_png_everything.png')).shape == (96, 150, 3)
    assert '--pred-iou' not in shown.err
    assert everything.main([*arguments, '--points-per-side', '0']) == 2
    capsys.readouterr()
    assert everything.main([*arguments, '--pred-iou', '0.999', '--stability', '0.97']) == 1
    shown = capsys.readouterr()
    assert 'a.png: 0 masks' in shown.out
    assert_names(shown.err, '--pred-iou', '0.999', '--stability', '0.97')
    mask = np.array([[False, True], [True, True]])
    assert everything.run_length(mask) == dict(size=[2, 2], counts=[1, 3])
    assert everything.run_length(~mask)['counts'] == [0, 1, 3]
