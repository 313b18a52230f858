"""Presence: identity when off and at the start, learns, empties masks by its threshold, and scores images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.registry import DATASETS, TRANSFORMS
from torch.nn import functional as F

from mmsam_ext.apis import PromptSegInferencer
from mmsam_ext.engine.hooks import NormalImagesHook
from mmsam_ext.evaluation.functional import false_alarm_rate, score_bins, score_histogram
from mmsam_ext.evaluation.metrics import AnomalyMetric
from mmsam_ext.models.presence_heads.presence_head import highest_logits
from mmsam_ext.structures import Prompts
from mmsam_ext.structures.samples import OUTSIDE
from tests.datasets.test_classes import mask_of, write
from tests.models.small import CHANNELS, SIZE, config, disc, images, sample, segmentor
from tests.naming import raises_naming

HEAD = dict(type='PresenceHead', embed_dim=CHANNELS, hidden_dim=16)


def with_head(**changes):
    """A model with the head as it starts, and one without it."""
    model, plain = segmentor(presence_head=HEAD, **changes), segmentor()
    torch.nn.init.zeros_(model.presence_head.out.weight)
    torch.nn.init.zeros_(model.presence_head.out.bias)
    model.load_state_dict(plain.state_dict(), strict=False)
    return model, plain


@torch.no_grad()
def test_starts_as_an_identity() -> None:
    model, plain = with_head(test_cfg=dict(presence_threshold=0.5, untrained=True))
    (with_it,), (without) = model.predict(images(), [sample()]), plain.predict(images(), [sample()])[0]
    assert torch.equal(with_it.pred_instances.mask_logits, without.pred_instances.mask_logits)
    assert with_it.pred_instances.presence.tolist() == [0.0] and 'presence' not in without.pred_instances
    item = sample(masks=disc()[None], labels=disc())
    losses, before = model.loss(images(), [item]), plain.loss(images(), [item])
    assert losses.pop('loss_presence').item() == pytest.approx(np.log(2), abs=1e-6)
    assert all(torch.equal(losses[name], before[name]) for name in before)


def test_loss_is_by_hand_and_leaves_the_mask_alone() -> None:
    model, _ = with_head()
    empty = torch.zeros_like(disc())
    items = [sample(masks=disc()[None], labels=disc()), sample(masks=empty[None], labels=empty)]
    torch.nn.init.normal_(model.presence_head.out.weight)
    losses = model.loss(images(2), items)
    batch = model.prompt_batch(items, images(2))
    presence = model.decode(model.extract_feat(images(2)), batch).presence
    expected = (F.softplus(-presence[0]) + F.softplus(presence[1])) / 2
    assert losses['loss_presence'].item() == pytest.approx(expected.item(), abs=1e-5)
    losses['loss_presence'].backward()
    assert model.presence_head.hidden.weight.grad.abs().sum() > 0
    assert all(p.grad is None for name, p in model.named_parameters() if not name.startswith('presence_head.'))


@torch.no_grad()
def test_threshold_empties_masks_and_only_those() -> None:
    model, plain = with_head()
    model.presence_head.out.weight.normal_()
    box = Prompts.create(boxes=[[10, 20, 60, 70], [5, 5, 120, 120]])
    kept = model.predict(images(), [sample(box)])[0].pred_instances
    low, high = kept.presence.sigmoid().sort().values.tolist()
    assert low < high
    model.test_cfg['presence_threshold'] = (low + high) / 2
    cut = model.predict(images(), [sample(box)])[0].pred_instances
    row = int(kept.presence.argmin())
    assert not (cut.mask_logits[row] > 0).any() and float(cut.mask_logits[row].max()) <= OUTSIDE
    assert torch.equal(cut.mask_logits[1 - row], kept.mask_logits[1 - row])
    plain.test_cfg['presence_threshold'] = 0.5
    with raises_naming(ValueError, 'presence_threshold', '0.5', 'presence_head'):
        plain.predict(images(), [sample(box)])


def test_highest_logits() -> None:
    masks = torch.arange(2000.0).reshape(1, 40, 50)
    expected = [199.9, (199.9 + 199.8) / 2, 198.95, 189.95, 99.95]
    np.testing.assert_allclose(highest_logits(masks)[0].numpy(), expected, rtol=1e-4)


def test_false_alarms_by_hand() -> None:
    """Twenty defects at 1 to 20: 95 % are found at 2 and above, where 3 of 4 normal images are taken for defective."""
    defects, normal = torch.arange(1.0, 21), torch.tensor([0.5, 2.0, 2.5, 30.0])
    histograms = [score_histogram(score_bins(scores)) for scores in (defects, normal)]
    assert float(false_alarm_rate(*histograms, 0.95)) == 0.75
    assert float(false_alarm_rate(*histograms, 1.0)) == 0.75 and float(false_alarm_rate(*histograms, 0.9)) == 0.25
    assert false_alarm_rate(histograms[0], torch.zeros_like(histograms[1])) is None


def test_image_scores_of_the_metric() -> None:
    """Pixels say the opposite of the presence head."""
    metric = AnomalyMetric(image_score='presence', recall=0.95)
    pixels = AnomalyMetric(recall=0.95)
    for index, (presence, level, defect) in enumerate([(2.0, -3.0, True), (1.0, -2.0, True), (-1.0, 3.0, False)]):
        target = torch.zeros(1, 4, 4, dtype=torch.long)
        target[0, 0, 0] = int(defect)
        record = dict(
            sample_id=str(index),
            gt_sem_seg=dict(data=target),
            seg_logits=dict(data=torch.full((1, 4, 4), level)),
            pred_instances=dict(presence=torch.tensor([presence, -5.0])),
        )
        metric.process(None, [record])
        pixels.process(None, [record])
    results = metric.evaluate(3)
    assert results['image_AUROC'] == 100 and results['image_false_alarms'] == 0
    by_pixel = pixels.evaluate(3)
    assert by_pixel['image_AUROC'] == 0 and by_pixel['image_false_alarms'] == 100
    del record['pred_instances']['presence']
    with raises_naming(ValueError, '2', 'presence', 'image_score'):
        metric.process(None, [record])
    for options in (dict(image_score='mask'), dict(image_score='presence', min_max=True), dict(recall=0)):
        with raises_naming(ValueError, 'AnomalyMetric', *(str(value) for value in options.values())):
            AnomalyMetric(**options)


@pytest.mark.parametrize('seed', [None, 0], ids=['training', 'evaluation'])
def test_prompts_around_the_image(seed: int | None) -> None:
    """A whole-image prompt has a target in images with and without defects; other modes are left out of the latter."""
    modes = dict(
        image=dict(kind='box', targets='image'), box=dict(kind='box'), off=dict(kind='points', targets='background')
    )
    generate = TRANSFORMS.build(dict(type='GeneratePrompts', modes=modes, seed=seed))
    for labels, expected in (
        (np.zeros((9, 12), np.uint8), ['image', 'off']),
        (np.eye(9, 12, dtype=np.uint8), list(modes)),
    ):
        results = generate(dict(img=np.zeros((9, 12, 3), np.uint8), sample_id='s7', gt_seg_map=labels))
        prompts = results['prompts']
        assert [prompts.metainfo['modes'][index] for index in prompts.mode_ids.tolist()] == expected
        assert prompts.boxes[0].tolist() == [0, 0, 11, 8] and prompts.target_ids[0] == 0
        np.testing.assert_array_equal(results['gt_masks'][0], labels)
    with raises_naming(ValueError, 'bad', 'points', 'image'):
        TRANSFORMS.build(dict(type='GeneratePrompts', modes=dict(bad=dict(kind='points', targets='image'))))


def test_training_prompts_of_normal_images_are_those_that_exist() -> None:
    modes = dict(image=dict(kind='box', targets='image'), box=dict(kind='box', weight=9))
    generate = TRANSFORMS.build(dict(type='GeneratePrompts', modes=modes, num_prompts=20))
    results = generate(dict(img=np.zeros((9, 12, 3), np.uint8), sample_id='s7', gt_seg_map=np.zeros((9, 12), np.uint8)))
    assert results['prompts'].mode_ids.tolist() == [0] * 20


@pytest.mark.parametrize(('values', 'kind'), [((255, 255), 'with'), ((0, 0), 'without'), ((255, 0), None)])
def test_training_images_of_one_kind(tmp_path, values: tuple[int, ...], kind: str | None) -> None:
    for index, value in enumerate(values):
        write(tmp_path / 'mine', str(index), mask_of(value))
    data = dict(type='BinaryDefectDataset', data_root=str(tmp_path / 'mine'), drop_empty=False)
    dataset = DATASETS.build(dict(type='ConcatDataset', datasets=[data]))
    runner = type('Runner', (), dict(train_dataloader=type('Loader', (), dict(dataset=dataset))))
    if kind is None:
        NormalImagesHook().before_train(runner)
        return
    with raises_naming(ValueError, 'mine', '2', kind):
        NormalImagesHook().before_train(runner)


@pytest.mark.parametrize('part', ['presence_head', 'mask_refiner'])
def test_interactive_rounds_do_not_train_them(part: str) -> None:
    kind = dict(presence_head='PresenceHead', mask_refiner='PointRefiner')[part]
    with raises_naming(ValueError, 'InteractiveSegmentor', part):
        segmentor(type='InteractiveSegmentor', **{part: dict(type=kind, embed_dim=CHANNELS)})


@pytest.mark.parametrize('test_cfg', [{}, dict(mode='slide', crop_size=(128, 128), stride=(64, 64), overview=False)])
def test_inferencer_returns_probabilities(tmp_path, test_cfg: dict) -> None:
    """Those of the segmentor's own prediction; a model without the head returns none."""
    model = segmentor(presence_head=HEAD, test_cfg=test_cfg)
    torch.save(model.state_dict(), tmp_path / 'weights.pth')
    test = dict(dataset=dict(pipeline=[dict(type='LoadImageFromFile')]))
    changes = dict(presence_head=HEAD, test_cfg=test_cfg)
    settings = Config(dict(model=config(**changes), test_dataloader=test))
    inferencer = PromptSegInferencer(settings, tmp_path / 'weights.pth', device='cpu')
    image = np.random.default_rng(0).integers(0, 255, (SIZE, SIZE, 3), dtype=np.uint8)
    boxes = [[10, 20, 60, 70], [5, 5, 120, 120]]
    (prediction,) = inferencer(image, boxes=boxes)['predictions']
    inputs = model.data_preprocessor(dict(inputs=[torch.from_numpy(image).permute(2, 0, 1)]), False)['inputs']
    with torch.no_grad():
        expected = model.predict(inputs, [sample(Prompts.create(boxes=boxes))])[0].pred_instances.presence.sigmoid()
    np.testing.assert_allclose(prediction['presence'], expected.numpy(), rtol=1e-4)
