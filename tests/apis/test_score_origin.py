"""What `scores.csv` says about the origin of the scores."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmseg.registry import MODELS

from mmsam_ext.apis.score_origin import PRETRAINED, TRAINED, UNTRAINED, score_origin
from tests.models.small import segmentor
from tests.shrink import CONFIGS, shrink

IOU = dict(losses=dict(iou=dict(type='IoUPredictionLoss')))


@pytest.mark.parametrize(
    ('changes', 'expected'),
    [
        (dict(trainable=()), PRETRAINED),
        (dict(trainable=[r'^mask_decoder\.(?!iou)']), UNTRAINED),
        (dict(trainable=[r'^mask_decoder\.(?!iou)'], **IOU), UNTRAINED),
        (dict(trainable=[r'^mask_decoder\.']), UNTRAINED),
        (dict(trainable=[r'^mask_decoder\.'], **IOU), TRAINED),
        (dict(trainable=[r'^backbone\.'], **IOU), UNTRAINED),
    ],
)
def test_by_what_a_config_trains(changes: dict, expected: str) -> None:
    model = segmentor(**changes)
    assert score_origin(model) == expected
    assert score_origin(model, adapted=False) == PRETRAINED


@pytest.mark.parametrize(('name', 'expected'), [('sam_tiny_mtd', UNTRAINED), ('sam_tiny_mtd_iou', TRAINED)])
def test_shipped_configs(name: str, expected: str, tmp_path) -> None:
    config: Config = shrink(CONFIGS / f'{name}.py', tmp_path)
    assert score_origin(MODELS.build(config.model)) == expected
