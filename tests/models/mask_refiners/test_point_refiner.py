"""PointRefiner: an exact identity at the start, corrections at uncertain pixels alone, a thin line that it learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch.nn import functional as F

from mmsam_ext.apis import PromptSegInferencer
from mmsam_ext.evaluation.functional import boundary_f1, cl_dice
from mmsam_ext.evaluation.metrics import PromptIoUMetric
from mmsam_ext.structures import Prompts, SAMFeatures
from tests.models.small import CHANNELS, SIZE, config, disc, images, sample, segmentor
from tests.naming import raises_naming

REFINER = dict(type='PointRefiner', embed_dim=CHANNELS, image_dim=8, hidden_dim=16)
BOXES = Prompts.create(boxes=[[10, 20, 60, 70], [5, 5, 120, 120]])


def build(**changes):
    torch.manual_seed(0)
    return MODELS.build({**REFINER, **changes})


@torch.no_grad()
def test_starts_as_an_exact_identity() -> None:
    model, plain = segmentor(mask_refiner=REFINER, test_cfg=dict(untrained=True)), segmentor()
    model.mask_refiner = build()
    model.load_state_dict(plain.state_dict(), strict=False)
    before, after = (one.predict(images(), [sample(BOXES)])[0].pred_instances for one in (plain, model))
    assert torch.equal(before.mask_logits, after.mask_logits)
    item = sample(BOXES, masks=disc()[None], labels=disc())
    losses, expected = model.loss(images(), [item]), plain.loss(images(), [item])
    assert losses.pop('loss_refine') > 0 and all(torch.equal(losses[name], expected[name]) for name in expected)


@torch.no_grad()
def test_corrects_the_most_uncertain_pixels_alone() -> None:
    refiner = build(share=0.05)
    refiner.out.weight.normal_()
    image = images(2)
    features = SAMFeatures(torch.randn(2, CHANNELS, 8, 8), (), image)
    logits = torch.randn(3, 32, 32) * 5
    index = torch.tensor([0, 1, 1])
    resized = F.interpolate(logits[:, None], (SIZE, SIZE), mode='bilinear')[:, 0]
    refined = refiner(features, index, logits, (SIZE, SIZE))
    changed = (refined != resized).flatten(1)
    count = round(0.05 * SIZE * SIZE)
    assert changed.sum(1).tolist() == [count] * 3
    for row in range(3):
        uncertain = resized[row].flatten().abs().sort().values[count - 1]
        assert torch.equal(changed[row], resized[row].flatten().abs() <= uncertain)
    # One pixel by hand: its own features, the embedding between its neighbours, and its logit.
    place = int(changed[2].nonzero()[7])
    y, x = divmod(place, SIZE)
    fine = refiner.fine(image[1:])[0, :, y, x]
    grid = torch.tensor([[[[(x + 0.5) / SIZE * 2 - 1, (y + 0.5) / SIZE * 2 - 1]]]])
    coarse = F.grid_sample(
        refiner.coarse(features.embedding[1:]), grid, padding_mode='border', align_corners=False
    ).flatten()
    expected = refiner.out(refiner.mlp(torch.cat([fine, coarse, resized[2].flatten()[place, None] / 10])))
    assert float(refined[2, y, x] - resized[2, y, x]) == pytest.approx(float(expected), abs=1e-4)


def test_learns_a_line_of_one_pixel() -> None:
    """On the decoder's grid the line is four pixels wide; its true pixels are bright in the image."""
    truth = torch.zeros(1, 64, 64)
    truth[0, 31] = 1
    features = SAMFeatures(torch.zeros(1, CHANNELS, 4, 4), (), truth[:, None].repeat(1, 3, 1, 1) * 2)
    coarse = torch.full((1, 16, 16), -3.0)
    coarse[0, 7] = 1.0
    refiner = build(share=0.3)
    index, ignored = torch.zeros(1, dtype=torch.long), torch.zeros(1, 64, 64, dtype=torch.bool)
    before = F.interpolate(coarse[:, None], (64, 64), mode='bilinear')[:, 0] > 0
    optimizer = torch.optim.Adam(refiner.parameters(), 1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        refiner.loss(features, index, coarse, truth, ignored)['loss_refine'].backward()
        optimizer.step()
    with torch.no_grad():
        after = refiner(SAMFeatures(features.embedding, (), features.image), index, coarse, (64, 64)) > 0
    iou = [float((mask & truth.bool()).sum() / (mask | truth.bool()).sum()) for mask in (before, after)]
    assert iou[0] < 0.35 and iou[1] > 0.95


def test_ignored_pixels_and_gradients() -> None:
    refiner = build()
    features = SAMFeatures(torch.randn(1, CHANNELS, 8, 8), (), images())
    logits = torch.randn(1, 32, 32, requires_grad=True)
    everything = torch.ones(1, SIZE, SIZE, dtype=torch.bool)
    index, target = torch.zeros(1, dtype=torch.long), torch.ones(1, SIZE, SIZE)
    assert refiner.loss(features, index, logits, target, everything)['loss_refine'] == 0
    torch.nn.init.normal_(refiner.out.weight)
    refiner.loss(features, index, logits, target, ~everything)['loss_refine'].backward()
    assert logits.grad is None and all(p.grad is not None for p in refiner.parameters())


def test_bad_options() -> None:
    for options in (dict(share=0), dict(importance=1.5), dict(train_points=0), dict(oversample=0.5)):
        with raises_naming(ValueError, 'PointRefiner', *(f'{name}={value}' for name, value in options.items())):
            build(**options)
    with raises_naming(ValueError, 'PointRefiner', 'image'):
        build()(SAMFeatures(torch.zeros(1, CHANNELS, 4, 4)), torch.tensor([0]), torch.zeros(1, 16, 16), (64, 64))


@torch.no_grad()
def test_inferencer_refines_and_returns_mask_prompts(tmp_path) -> None:
    torch.save(segmentor(mask_refiner=REFINER).state_dict(), tmp_path / 'weights.pth')
    test = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile')]))
    settings = Config(dict(model=config(mask_refiner=REFINER), test_dataloader=test))
    inferencer = PromptSegInferencer(settings, tmp_path / 'weights.pth', device='cpu')
    image = np.random.default_rng(0).integers(0, 255, (90, 120, 3), dtype=np.uint8)
    called = inferencer(image, boxes=[[10, 20, 60, 70]])['predictions'][0]['masks']
    inferencer.set_image(image)
    masks, _, low_res = inferencer.predict(boxes=[[10, 20, 60, 70]])
    np.testing.assert_array_equal(masks, called)
    assert low_res.shape == (1, 32, 32)
    assert inferencer.predict(boxes=[[10, 20, 60, 70]], masks=low_res)[0].shape == (1, 90, 120)


def test_thin_columns_of_the_metric() -> None:
    """The two functions, averaged over draws as IoU is; ignored pixels are an error."""
    truth = disc(40, 20, 20, 10)
    masks = torch.stack([disc(40, 22, 20, 10), disc(40, 20, 20, 6)]).float() * 2 - 1
    predictions = dict(mask_logits=masks, target_ids=torch.zeros(2).long(), mode_ids=torch.zeros(2).long())
    record = dict(
        sample_id='s7',
        gt_masks=dict(data=truth[None]),
        pred_instances=dict(predictions, draw_ids=torch.arange(2)),
        prompts=dict(modes=('box',)),
    )
    metric = PromptIoUMetric(thin=True, tolerance=1.5, boundary=False)
    metric.process(None, [record])
    results = metric.evaluate(1)
    assert set(results) == {'mIoU', 'mIoU/box', 'clDice', 'clDice/box', 'BF1', 'BF1/box'}
    assert results['clDice'] == pytest.approx(100 * float(cl_dice(masks > 0, truth.bool()).mean()))
    assert results['BF1'] == pytest.approx(100 * float(boundary_f1(masks > 0, truth.bool(), 1.5).mean()))
    assert results['BF1'] < float(100 * boundary_f1(masks > 0, truth.bool(), 5).mean())
    ignored = torch.zeros(1, 40, 40)
    ignored[0, 0] = 255
    with raises_naming(ValueError, 's7', 'gt_sem_seg', '255', 'thin'):
        metric.process(None, [dict(record, gt_sem_seg=dict(data=ignored))])
