"""Clicks on SAM: against ``segment_anything``'s predictor clicked literally, and through the Runner."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.runner import Runner
from segment_anything import SamPredictor

from mmsam_ext.engine.loops import ClickSettings, click_image
from mmsam_ext.evaluation.functional import Clicker
from mmsam_ext.structures import Prompts
from tests.models.small import SIZE, disc, sample, segmentor_of, stock_sam
from tests.naming import raises_naming
from tests.shrink import CONFIGS, shrink, spare_formatting


@pytest.fixture(scope='module')
def image() -> np.ndarray:
    """(H, W, 3) uint8 RGB."""
    return np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def literal(image: np.ndarray, target: np.ndarray, clicks: int, settings: ClickSettings) -> tuple[list, list[float]]:
    """The usual evaluation of SAM in publications: one object, one click after another, through SamPredictor."""
    predictor = SamPredictor(stock_sam())
    predictor.set_image(image)
    clicker, mask, low_res = Clicker(target), np.zeros_like(target), None
    ious = []
    for number in range(1, clicks + 1):
        clicker.next_click(mask)
        masks, scores, logits = predictor.predict(
            point_coords=np.array([click[:2] for click in clicker.clicks], float),
            point_labels=np.array([int(click.positive) for click in clicker.clicks]),
            mask_input=low_res if settings.feed_back else None,
            multimask_output=settings.takes_best(number),
        )
        best = int(scores.argmax())
        mask, low_res = masks[best], logits[best][None]
        ious.append(clicker.iou(mask))
    return clicker.clicks, ious


@pytest.mark.parametrize('multimask', ['first', 'every', 'never'])
@pytest.mark.parametrize('feed_back', [True, False])
def test_equals_clicks_on_sam_predictor(image: np.ndarray, multimask: str, feed_back: bool) -> None:
    settings = ClickSettings(max_clicks=6, multimask=multimask, feed_back=feed_back)
    targets = torch.stack([disc(), disc(x=90, y=30, radius=12)])
    model = segmentor_of(stock_sam())
    asked = sample(Prompts.create(kinds=[0, 0], target_ids=[0, 1], modes=('clicks',)), masks=targets)
    asked.set_metainfo(dict(ori_shape=(SIZE, SIZE), img_shape=(SIZE, SIZE)))
    pixels = torch.from_numpy(image).permute(2, 0, 1).flip(0)  # BGR, as mmcv loads
    data = model.data_preprocessor(dict(inputs=[pixels], data_samples=[asked]), False)
    with torch.no_grad():
        features = model.extract_feat(data['inputs'])
        result = click_image(model, features, (SIZE, SIZE), data['data_samples'][0], settings)
    for row, target in enumerate(targets.numpy().astype(bool)):
        clicks, ious = literal(image, target, 6, settings)
        assert result.prompts.points[row].tolist() == [[float(click.x), float(click.y)] for click in clicks]
        assert result.prompts.point_labels[row].tolist() == [int(click.positive) for click in clicks]
        assert result.pred_instances.click_ious[row].tolist() == pytest.approx(ious, abs=2e-3)


class PerfectModel:
    """Segments the object a little better with each click: its first columns, then all of it."""

    def __init__(self, target: torch.Tensor, needed: int) -> None:
        self.target, self.needed, self.batches = target, needed, []

    def predict_from_features(self, features, batch, samples, multimask, keep_low_res):
        from mmsam_ext.structures.samples import write_prediction

        self.last = batch.points
        self.batches.append((len(batch), batch.points.shape[1], multimask, batch.masks.numel() > 0))
        width = self.target.shape[-1]
        share = min(1.0, batch.points.shape[1] / self.needed)
        mask = self.target.clone()
        mask[:, int(share * width) :] = 0
        logits = (mask.float() * 2 - 1).expand(len(batch), -1, -1)
        write_prediction(samples[0], logits, torch.ones(len(batch)), low_res_logits=logits[:, ::4, ::4])


def click(settings: ClickSettings, draws: int = 1, model_clicks: int = 3):
    target = torch.zeros(16, 16, dtype=torch.uint8)
    target[:, :] = 1
    prompts = Prompts.create(kinds=[0] * draws, draw_ids=list(range(draws)), modes=('clicks',))
    asked = sample(prompts, masks=target[None])
    asked.set_metainfo(dict(ori_shape=(16, 16), img_shape=(16, 16)))
    model = PerfectModel(target, model_clicks)

    class Features:
        embedding = torch.zeros(1)

    return model, click_image(model, Features(), (16, 16), asked, settings)


def test_clicks_stop_when_nothing_is_wrong_or_enough_is_right() -> None:
    model, result = click(ClickSettings(max_clicks=5))
    expected = [5 / 16, 10 / 16, 1, 1, 1]
    assert result.pred_instances.click_ious.tolist() == [expected]
    assert model.batches == [(1, 1, True, False), (1, 2, False, True), (1, 3, False, True)]
    model, result = click(ClickSettings(max_clicks=5, stop_at=0.6))
    assert result.pred_instances.click_ious.tolist() == [[5 / 16, 10 / 16, 10 / 16, 10 / 16, 10 / 16]]
    assert len(model.batches) == 2


def test_only_the_last_clicks_are_given_to_the_model() -> None:
    """A model that needs three clicks gets two: clicks go on, its mask does not; what is recorded has all of them."""
    model, result = click(ClickSettings(max_clicks=4, last_clicks=2))
    assert result.pred_instances.click_ious.tolist() == [[5 / 16, 10 / 16, 10 / 16, 10 / 16]]
    assert model.batches == [(1, 1, True, False), *[(1, 2, False, True)] * 3]
    assert result.prompts.points.shape[1] == 4
    assert torch.equal(model.last, result.prompts.points[:, 2:])


def test_realistic_clicks_differ_by_draw_and_repeat_by_seed() -> None:
    points = [click(ClickSettings(seed=seed), draws=4)[1].prompts.points for seed in (0, 0, 1)]
    assert torch.equal(points[0], points[1]) and not torch.equal(points[0], points[2])
    assert len(points[0][:, 0].unique(dim=0)) > 1


def test_empty_object_is_named() -> None:
    asked = sample(Prompts.create(kinds=[0], target_ids=[1]), masks=torch.zeros(2, 8, 8))
    with raises_naming(ValueError, 'one.png', 'target 1'):
        click_image(None, None, (8, 8), asked, ClickSettings())


@pytest.mark.parametrize(
    ('settings', 'value'),
    [
        (dict(max_clicks=0), '0'),
        (dict(multimask='best'), "'best'"),
        (dict(stop_at=90), '90'),
        (dict(last_clicks=0), 'last_clicks=0'),
    ],
)
def test_bad_settings(settings: dict, value: str) -> None:
    with raises_naming(ValueError, *settings, value):
        ClickSettings(**settings)


def test_through_the_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MTD by clicks, shrunk: curves of all objects, with a picture and a table."""
    spare_formatting(monkeypatch)
    cfg = shrink(CONFIGS / 'sam_tiny_mtd_clicks.py', tmp_path)
    cfg.test_cfg.max_clicks = 3
    cfg.test_evaluator.update(csv_path=str(tmp_path / 'clicks.csv'), figure_path=str(tmp_path / 'clicks.png'))
    results = Runner.from_cfg(cfg).test()
    assert 1 <= results['NoC80'] <= 3 and 0 <= results['IoU@1'] <= 100 and 'IoU@5' not in results
    assert len((tmp_path / 'clicks.csv').read_text().splitlines()) == 1 + 4 and (tmp_path / 'clicks.png').is_file()
