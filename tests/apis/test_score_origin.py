"""What `scores.csv` says about the origin of the scores."""

from __future__ import annotations

import pytest
from mmengine.config import Config
from mmseg.registry import MODELS

from mmsam_ext.apis.score_origin import PRETRAINED, TRAINED, UNTRAINED, same_weights, score_origin
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
        (dict(trainable=[r'^mask_decoder\.'], losses=dict(iou=dict(IOU['losses']['iou'], loss_weight=0))), UNTRAINED),
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


def test_the_base_is_known_by_any_path_and_as_a_copy(tmp_path, monkeypatch) -> None:
    """By another path, weights that training starts from were said to be trained with the masks."""
    monkeypatch.chdir(tmp_path)
    for name, content in dict(base=b'PK\3\4-1', trained=b'PK\3\4-2').items():
        (tmp_path / f'{name}.pth').write_bytes(content)
    (tmp_path / 'copy.pth').write_bytes(b'PK\3\4-1')
    (tmp_path / 'link.pth').symlink_to('base.pth')
    base = str(tmp_path / 'base.pth')
    same = ('base.pth', './base.pth', 'copy.pth', 'link.pth', tmp_path / 'base.pth')
    assert all(same_weights(name, base) for name in same)
    others = ('trained.pth', 'missing.pth', 'https://example.org/base.pth', 'mmsam_ext://sam_tiny')
    assert not any(same_weights(name, base) for name in others) and not same_weights('base.pth', None)
