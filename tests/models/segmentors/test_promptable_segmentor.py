"""The segmentor's three modes, on what it promises beyond stock SAM."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmsam_ext.models.segmentors.mask_selection import select_masks
from mmsam_ext.structures import MaskPrediction, PromptBatch, PromptKind, Prompts
from tests.models.prompts import mixed
from tests.models.small import SIZE, config, disc, images, sample, segmentor
from tests.naming import raises_naming
from tests.numeric import LAYER, assert_close, assert_same_mask, error_in_ulps


def boxes(*corners: list[float], **fields) -> Prompts:
    return Prompts.create(boxes=corners, **fields)


def batch() -> list[SegDataSample]:
    """Two images, 4 + 3 prompts, the last of which ask for the second mask."""
    prompts = mixed()
    prompts[1].target_ids[:] = torch.tensor([0, 1, 1])
    whole, part = disc(), disc(x=60, radius=10)
    return [sample(prompts[0], whole[None]), sample(prompts[1], torch.stack([whole, part]))]


# ---------------------------------------------------------------- modes


def test_forward_in_three_modes():
    model = segmentor()
    inputs = images(2)
    losses = model(inputs, batch(), mode='loss')
    assert set(losses) == {'loss_bce', 'loss_dice'} and all(loss.ndim == 0 for loss in losses.values())
    raw = model(inputs, batch(), mode='tensor')
    assert isinstance(raw, MaskPrediction) and raw.logits.shape == (7, 4, 32, 32)
    results = model(inputs, batch(), mode='predict')
    assert [len(result.pred_instances) for result in results] == [4, 3]
    union = model.encode_decode(inputs, batch())
    assert union.shape == (2, 1, SIZE, SIZE)
    expected = raw.logits[4:, :1].amax(0, keepdim=True)
    expected = F.interpolate(expected, (SIZE, SIZE), mode='bilinear', align_corners=False)
    assert_close(union[1:], expected, LAYER)


@torch.no_grad()
def test_losses_by_hand():
    """Mean over prompts of each loss on the single mask, each prompt against the target it asks for."""
    model = segmentor()
    samples = batch()
    prediction = model(images(2), samples, mode='tensor')
    small = [F.interpolate(s.gt_masks.data[None].float(), (32, 32), mode='area')[0] for s in samples]
    targets = [small[0][0]] * 4 + [small[1][0], small[1][1], small[1][1]]
    losses = model.loss(images(2), samples)
    expected = torch.stack(
        [F.binary_cross_entropy_with_logits(prediction.logits[i, 0], target) for i, target in enumerate(targets)]
    )
    assert_close(losses['loss_bce'], expected.mean(), LAYER)


@torch.no_grad()
def test_standard_outputs_beside_instances():
    model = segmentor()
    prompts = boxes(
        [1, 2, 30, 40], [50, 60, 100, 110], target_ids=[0, 1], draw_ids=[0, 3], mode_ids=[1, 0], modes=('a', 'b')
    )
    item = sample(prompts)
    item.set_metainfo(dict(img_shape=(96, 128), ori_shape=(48, 64), pad_shape=(128, 128)))
    (result,) = model.predict(images(), [item])
    instances = result.pred_instances
    assert instances.target_ids.tolist() == [0, 1] and instances.draw_ids.tolist() == [0, 3]
    assert instances.mode_ids.tolist() == [1, 0] and instances.iou_scores.shape == (2,)
    raw = model(images(), [item], mode='tensor')
    expected = F.interpolate(raw.logits[:, :1], (128, 128), mode='bilinear', align_corners=False)[..., :96, :]
    expected = F.interpolate(expected, (48, 64), mode='bilinear', align_corners=False)[:, 0]
    assert_close(instances.mask_logits, expected, LAYER)
    assert_close(result.seg_logits.data, expected.amax(0, keepdim=True), LAYER)
    assert result.pred_sem_seg.data.dtype == torch.int64
    assert_same_mask(result.pred_sem_seg.data, (expected > 0).any(0, keepdim=True))


@torch.no_grad()
def test_flipped_images_are_flipped_back():
    """Test-time augmentation of MMSegmentation averages `seg_logits`, which must be in the frame of the original."""
    model = segmentor()
    plain, flipped = sample(Prompts.empty()), sample(Prompts.empty())
    meta = dict(img_shape=(96, 128), ori_shape=(96, 128))
    plain.set_metainfo(meta)
    for direction, axis in dict(horizontal=-1, vertical=-2).items():
        flipped.set_metainfo(dict(meta, flip=True, flip_direction=direction))
        a, b = model.predict(images(), [plain])[0].seg_logits, model.predict(images(), [flipped])[0].seg_logits
        assert_close(b.data, a.data.flip(axis), LAYER)


@torch.no_grad()
def test_prediction_without_samples():
    model = segmentor()
    results = model(images(2), mode='predict')
    expected = model(images(2), [sample(Prompts.empty()), sample(Prompts.empty())], mode='tensor')
    assert [result.pred_sem_seg.shape for result in results] == [(128, 128)] * 2
    assert torch.equal(results[1].pred_instances.iou_scores, expected.iou[1:, 0])


def test_twenty_prompts_encode_an_image_once():
    model = segmentor()
    calls = []
    model.backbone.register_forward_hook(lambda module, args, output: calls.append(len(args[0])))
    twenty = boxes(*[[1, 2, 30 + i, 40] for i in range(20)])
    model.predict(images(2), [sample(twenty), sample(twenty)])
    assert calls == [2]
    model.loss(images(), [sample(twenty, disc()[None])])
    assert calls == [2, 1]


# ---------------------------------------------------------------- MMSegmentation's own samples


def test_sample_of_mmsegs_own_pipeline_trains_and_ignores_255():
    """`gt_sem_seg` alone: label 1 is the target, pixels of label 255 have no say whatever the logits there."""
    model = segmentor()
    labels = disc().long()
    labels[:40] = 255
    item = sample(labels=labels)
    losses = model.loss(images(), [item])
    sum(losses.values()).backward()
    assert model.mask_decoder.mask_tokens.weight.grad.abs().sum() > 0

    prediction = model(images(), [item], mode='tensor')
    from mmsam_ext.models.segmentors.prompt_targets import prompt_targets

    targets, ignored = prompt_targets([item], PromptBatch.from_samples([item], images()), (32, 32))
    assert ignored[0, :10].all() and not ignored[0, 10:].any()
    expected = F.interpolate(disc()[None, None].float(), (32, 32), mode='area')[0]
    assert_close(targets[:, 10:], expected[:, 10:], LAYER)
    assert not targets[:, :10].any()
    changed = MaskPrediction(prediction.logits.clone(), prediction.iou)
    changed.logits[..., :10, :] += 100 * torch.randn(10, 32)
    before, after = (model.mask_losses(p, targets, ignored) for p in (prediction, changed))
    assert {name: float(v) for name, v in before.items()} == {name: float(v) for name, v in after.items()}
    # They cost nothing: the mean over the map counts them as 0.
    kept = F.binary_cross_entropy_with_logits(prediction.logits[0, 0, 10:], targets[0, 10:], reduction='sum')
    assert_close(before['loss_bce'], kept / 32**2, LAYER)
    changed.logits[..., 10:, :] += 1
    assert float(model.mask_losses(changed, targets, ignored)['loss_bce']) != float(before['loss_bce'])


def test_train_step_on_a_batch_of_two_sizes():
    """The preprocessor pads images and labels; padding is ignored."""
    from mmengine.optim import OptimWrapper

    model = MODELS.build(config())
    wrapper = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.01))
    samples = []
    for width in (128, 96):
        item = SegDataSample(metainfo=dict(sample_id=str(width)))
        item.gt_sem_seg = PixelData(data=disc()[None, :, :width].long())
        samples.append(item)
    data = dict(inputs=[torch.randint(0, 256, (3, 128, w), dtype=torch.uint8) for w in (128, 96)], data_samples=samples)
    logs = model.train_step(data, wrapper)
    assert torch.isfinite(logs['loss'])
    assert_close(logs['loss'], logs['loss_bce'] + logs['loss_dice'])


def test_errors_name_the_sample():
    model = segmentor()
    with raises_naming(ValueError, 'folder/one.png', 'gt_masks', 'gt_sem_seg'):
        model.loss(images(), [sample(Prompts.empty())])
    asks = boxes([1, 2, 3, 4], target_ids=[2])
    with raises_naming(ValueError, 'folder/one.png', 'target_ids', '2', 'gt_masks', '1'):
        model.loss(images(), [sample(asks, disc()[None])])
    with raises_naming(ValueError, 'train_cfg.multimask', 'yes', 'both'):
        segmentor(train_cfg=dict(multimask='yes'))
    with raises_naming(ValueError, 'test_cfg.multimask', 'both'):
        segmentor(test_cfg=dict(multimask='both'))


def test_nothing_to_minimise_is_said():
    model = segmentor(losses=None)
    with raises_naming(ValueError, 'losses'):
        model.loss(images(), [sample(Prompts.empty(), disc()[None])])


# ---------------------------------------------------------------- several masks


def prediction_of(*levels: float) -> MaskPrediction:
    """One prompt whose masks have constant logits."""
    logits = torch.tensor(levels).view(1, -1, 1, 1).repeat(1, 1, 4, 4).requires_grad_()
    return MaskPrediction(logits, torch.full((1, len(levels)), 0.5, requires_grad=True))


def test_only_the_best_of_three_is_penalised():
    model = segmentor(
        train_cfg=dict(multimask=True), losses=dict(bce=dict(type='MaskBCELoss'), iou=dict(type='IoUPredictionLoss'))
    )
    prediction = prediction_of(0.0, -3.0, 2.0, 1.0)  # the target is everything: mask 2 is best
    losses = model.mask_losses(prediction, torch.ones(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool))
    assert error_in_ulps(losses['loss_bce'], F.softplus(torch.tensor(-2.0))) < LAYER
    sum(losses.values()).backward()
    reached = prediction.logits.grad.abs().sum((0, 2, 3)) > 0
    assert reached.tolist() == [False, False, True, False]
    # The IoU head learns from all three: 0.5 - 0, 0.5 - 1, 0.5 - 1, over 3 masks.
    assert_close(prediction.iou.grad, torch.tensor([[0.0, 1.0, -1.0, -1.0]]) / 3, LAYER)


def test_single_and_both():
    target, ignored = torch.ones(1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool)
    for multimask, reached in {False: [0], 'both': [0, 2]}.items():
        model = segmentor(train_cfg=dict(multimask=multimask))
        prediction = prediction_of(0.0, -3.0, 2.0, 1.0)
        losses = model.mask_losses(prediction, target, ignored)
        sum(losses.values()).backward()
        assert (prediction.logits.grad.abs().sum((0, 2, 3)) > 0).nonzero()[:, 0].tolist() == reached
    assert set(losses) == {'loss_bce', 'loss_dice', 'loss_bce_multi', 'loss_dice_multi'}


@torch.no_grad()
def test_the_mask_that_is_predicted():
    prompts = Prompts.create(
        points=[[[9, 9], [20, 20]], [[9, 9], [0, 0]], [[9, 9], [0, 0]]],
        point_labels=[[1, 1], [1, -1], [1, -1]],
        boxes=[[1, 2, 30, 40]] * 3,
        kinds=[1, 1, 3],
    )
    raw = segmentor()(images(), [sample(prompts)], mode='tensor')
    preferred = raw.iou[:, 1:].argmax(1) + 1
    wanted = {False: [0, 0, 0], True: preferred.tolist(), 'ambiguous': [0, int(preferred[1]), 0]}
    for multimask, chosen in wanted.items():
        (result,) = segmentor(test_cfg=dict(multimask=multimask)).predict(images(), [sample(prompts)])
        assert_close(result.pred_instances.iou_scores, raw.iou[range(3), chosen], LAYER)
        expected = F.interpolate(
            raw.logits[range(3), chosen][None], (SIZE, SIZE), mode='bilinear', align_corners=False
        )[0]
        assert_close(result.pred_instances.mask_logits, expected, LAYER)


@torch.no_grad()
def test_an_unstable_single_mask_gives_way_to_the_preferred_one():
    """By hand: IoU of the thresholds 1, 0.9 and 0.99, and two empty masks; the limit is 0.98."""
    single = torch.full((4, 10, 10), -3.0)
    single[0] = 3.0
    single[1, :, :9], single[1, :, 9] = 3.0, 0.04  # 90 pixels above +0.05 and 100 above -0.05
    single[2].view(-1)[:99], single[2].view(-1)[99] = 3.0, -0.04  # 99 and 100, still stable
    logits = torch.cat([single[:, None], torch.ones(4, 3, 10, 10) * torch.tensor([1.0, 2.0, 4.0]).view(3, 1, 1)], 1)
    iou = torch.tensor([[0.9, 0.1, 0.8, 0.2]] * 4)
    batch = PromptBatch.from_prompts([Prompts.create(boxes=[[1, 2, 30, 40]] * 4)], (SIZE, SIZE))
    chosen, scores = select_masks(MaskPrediction(logits, iou), batch, 'stable')
    assert torch.equal(chosen, torch.stack([single[0], torch.full((10, 10), 2.0), single[2], single[3]]))
    assert torch.equal(scores, torch.tensor([0.9, 0.8, 0.9, 0.9]))


@torch.no_grad()
def test_rounds_feed_masks_back():
    """A box gets its single mask, a point the mask that is preferred; a mask that was given stays, nothing is empty."""
    given = torch.randn(5, 1, 32, 32)
    kinds = [PromptKind.BOX, PromptKind.POINTS, PromptKind.BOX | PromptKind.MASK, PromptKind.NONE, PromptKind.POINTS]
    fields = dict(
        points=[[[50, 70], [0, 0]]] * 5,
        point_labels=[[-1, -1], [1, -1], [-1, -1], [-1, -1], [1, 0]],
        boxes=[[20, 30, 80, 99]] * 5,
    )
    prompts = Prompts.create(**fields, masks=given, kinds=kinds)
    for rounds in (2, 3):
        model = segmentor(test_cfg=dict(rounds=rounds))
        features = model.extract_feat(images())
        masks = given.clone()
        fed = [PromptKind.BOX | PromptKind.MASK, PromptKind.POINTS | PromptKind.MASK, kinds[2], PromptKind.NONE]
        fed.append(PromptKind.POINTS | PromptKind.MASK)
        last = model.decode(features, PromptBatch.from_prompts([prompts], (SIZE, SIZE)))
        first = last
        for _ in range(rounds - 1):
            masks[0, 0], masks[4, 0] = last.logits[0, 0], last.logits[4, 0]
            masks[1, 0] = last.logits[1, 1 + int(last.iou[1, 1:].argmax())]
            again = Prompts.create(**fields, masks=masks, kinds=fed)
            last = model.decode(features, PromptBatch.from_prompts([again], (SIZE, SIZE)))
        (result,) = model.predict(images(), [sample(prompts)])
        expected = F.interpolate(last.logits[:, :1], (SIZE, SIZE), mode='bilinear', align_corners=False)[:, 0]
        assert_close(result.pred_instances.mask_logits, expected, LAYER)
        assert_close(result.pred_instances.iou_scores, last.iou[:, 0], LAYER)
        assert_close(last.logits[2:4], first.logits[2:4], LAYER)
        assert all((last.logits[row] - first.logits[row]).abs().max() > 1e-3 for row in (0, 1, 4))
    with raises_naming(ValueError, 'test_cfg.rounds', '0'):
        segmentor(test_cfg=dict(rounds=0))


@torch.no_grad()
def test_oracle_takes_the_best_of_three_for_one_point():
    """For one point the mask of highest IoU with its own target, at the original size; for a box the single mask."""
    prompts = Prompts.create(
        points=[[[50, 70]], [[60, 70]], [[0, 0]]],
        point_labels=[[1], [1], [1]],
        boxes=[[0, 0, 0, 0]] * 2 + [[20, 30, 80, 99]],
        kinds=[PromptKind.POINTS, PromptKind.POINTS, PromptKind.BOX],
        target_ids=[0, 1, 0],
    )
    masks = torch.stack([disc(), disc(x=60, radius=50)])
    model = segmentor(test_cfg=dict(multimask='oracle'))
    item = sample(prompts, masks)
    item.set_metainfo(dict(img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE)))
    (result,) = model.predict(images(), [item])
    every = model._forward(images(), [item]).logits
    full = torch.nn.functional.interpolate(every, (SIZE, SIZE), mode='bilinear') > 0
    for row, target in ((0, 0), (1, 1)):
        truth = masks[target] > 0
        ious = [float((m & truth).sum() / (m | truth).sum()) for m in full[row, 1:]]
        best = max(range(3), key=ious.__getitem__)
        assert len(set(ious)) == 3
        assert_same_mask(result.pred_instances.mask_logits[row] > 0, full[row, 1 + best])
    assert_same_mask(result.pred_instances.mask_logits[2] > 0, full[2, 0])


def test_oracle_needs_the_truth():
    model = segmentor(test_cfg=dict(multimask='oracle'))
    prompts = Prompts.create(points=[[[50, 70]]], point_labels=[[1]])
    with raises_naming(ValueError, 'folder/one.png', 'gt_masks', 'test_cfg.multimask', 'oracle'):
        model.predict(images(), [sample(prompts)])
