"""Interactive rounds: where the next point falls, and what the next prompt holds."""

from __future__ import annotations

import pytest
import torch
from mmseg.registry import MODELS

from mmsam_ext.models.segmentors.interactive_segmentor import _number_of_rounds, error_points
from mmsam_ext.models.segmentors.prompt_targets import prompt_targets
from mmsam_ext.structures import PromptBatch, PromptKind, Prompts
from tests.models.small import SIZE, config, disc, images, sample, segmentor
from tests.naming import raises_naming
from tests.numeric import LAYER, assert_close


def interactive(**changes):
    return segmentor(type='InteractiveSegmentor', **changes)


def test_error_points_against_brute_force():
    """Every cell of the error region is drawn about equally often, no other ever, with its true label."""
    torch.manual_seed(0)
    predicted = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0]], dtype=torch.bool)
    true = torch.tensor([[0, 1, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1]], dtype=torch.bool)
    wrong = {(x, y): int(true[y, x]) for y in range(3) for x in range(4) if predicted[y, x] != true[y, x]}
    assert wrong == {(0, 0): 0, (2, 0): 1, (3, 2): 1}
    points, labels = error_points(predicted.expand(3000, -1, -1), true.expand(3000, -1, -1))
    counts = dict.fromkeys(wrong, 0)
    for (x, y), label in zip(points.tolist(), labels.tolist(), strict=True):
        assert wrong[int(x), int(y)] == label
        counts[int(x), int(y)] += 1
    assert all(abs(count - 1000) < 120 for count in counts.values())  # 4.6 standard deviations


def test_error_points_where_nothing_is_wrong():
    torch.manual_seed(0)
    true = torch.zeros(2, 3, 4, dtype=torch.bool)
    true[0, 2, 1] = True  # a target, found: a point of it; no target, none found: a point of the background
    points, labels = error_points(true.clone(), true)
    assert points[0].tolist() == [1, 2] and labels.tolist() == [1, 0]


@torch.no_grad()
def test_second_round_gets_the_mask_and_one_more_point(monkeypatch):
    model = interactive(rounds=2)
    prompts = Prompts.create(
        points=[[[50, 70], [1, 1]], [[9, 9], [0, 0]]],
        point_labels=[[1, 0], [1, -1]],
        boxes=[[20, 30, 80, 99]] * 2,
        kinds=[PromptKind.POINTS, PromptKind.BOX],  # the second prompt does not use its points
        target_ids=[0, 1],
        modes=('click',),
    )
    rounds, decode = [], model.decode
    monkeypatch.setattr(model, 'decode', lambda *args, **kwargs: (rounds.append(args[1]), decode(*args, **kwargs))[1])
    torch.manual_seed(0)
    item = sample(prompts, torch.stack([disc(), disc(x=60, radius=10)]))
    model.loss(images(), [item])
    first, second = rounds
    assert torch.equal(first.points, prompts.points) and torch.equal(first.kinds, prompts.kinds)
    assert second.kinds.tolist() == [
        PromptKind.POINTS | PromptKind.MASK,
        PromptKind.BOX | PromptKind.POINTS | PromptKind.MASK,
    ]
    assert second.point_labels[0, :2].tolist() == [1, 0] and second.point_labels[1, :2].tolist() == [-1, -1]
    prediction = decode(model.extract_feat(images()), PromptBatch.from_prompts([prompts], (SIZE, SIZE)))
    assert_close(second.masks, prediction.logits[:, :1], LAYER)  # two points, a box: not ambiguous
    targets, _ = prompt_targets([item], first, (32, 32))
    for row in range(2):
        x, y = second.points[row, 2].tolist()
        column, line = (x + 0.5) / 4 - 0.5, (y + 0.5) / 4 - 0.5  # pixels -> cells: a cell's centre
        assert column == int(column) and line == int(line)
        found = bool(prediction.logits[row, 0, int(line), int(column)] > 0)
        true = bool(targets[row, int(line), int(column)] > 0.5)
        assert found != true and int(second.point_labels[row, 2]) == int(true)
    assert second.target_ids.tolist() == [0, 1]


@torch.no_grad()
def test_one_point_continues_from_its_best_mask(monkeypatch):
    model = interactive(rounds=2)
    prompts = Prompts.create(points=[[[50, 70]]], point_labels=[[1]])
    rounds, decode = [], model.decode
    monkeypatch.setattr(model, 'decode', lambda *args, **kwargs: (rounds.append(args[1]), decode(*args, **kwargs))[1])
    model.loss(images(), [sample(prompts, disc()[None])])
    prediction = decode(model.extract_feat(images()), PromptBatch.from_prompts([prompts], (SIZE, SIZE)))
    best = int(prediction.iou[0, 1:].argmax()) + 1
    assert_close(rounds[1].masks[0, 0], prediction.logits[0, best], LAYER)


@torch.no_grad()
def test_no_point_falls_where_the_label_is_unknown(monkeypatch):
    model = interactive(rounds=2)
    labels = disc().long()
    labels[:, 40:] = 255
    prompts = Prompts.create(boxes=[[20, 30, 80, 99]] * 50)
    rounds, decode = [], model.decode
    monkeypatch.setattr(model, 'decode', lambda *args, **kwargs: (rounds.append(args[1]), decode(*args, **kwargs))[1])
    model.loss(images(), [sample(prompts, labels=labels)])
    assert rounds[1].points[:, -1, 0].max() < 40


@torch.no_grad()
def test_one_round_is_the_plain_segmentor():
    item = sample(Prompts.create(boxes=[[20, 30, 80, 99]]), disc()[None])
    plain, one = segmentor().loss(images(), [item]), interactive(rounds=1).loss(images(), [item])
    assert {name: float(value) for name, value in plain.items()} == {name: float(value) for name, value in one.items()}


def test_image_is_encoded_once_and_the_last_round_trains():
    model = interactive(rounds=3, train_cfg=dict(multimask='both')).train()
    calls = []
    model.backbone.register_forward_hook(lambda *args: calls.append(1))
    losses = model.loss(images(), [sample(Prompts.create(boxes=[[20, 30, 80, 99]]), disc()[None])])
    assert calls == [1] and set(losses) == {'loss_bce', 'loss_dice', 'loss_bce_multi', 'loss_dice_multi'}
    sum(losses.values()).backward()
    assert model.prompt_encoder.mask_downscaling[0].weight.grad.abs().sum() > 0  # the mask prompt of a later round


@pytest.mark.parametrize('kind', ['PromptableSegmentor', 'InteractiveSegmentor'])
def test_one_image_is_learnt(kind):
    torch.manual_seed(0)
    model = MODELS.build(config(type=kind)).train()  # PyTorch's own initialisation
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    item = sample(Prompts.create(boxes=[[25, 45, 75, 95]]), disc()[None])
    history = []
    for _ in range(25):
        loss = sum(model.loss(images(), [item]).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(float(loss))
    assert history[-1] < 0.5 * history[0]
    (result,) = model.eval().predict(images(), [item])
    found, true = result.pred_sem_seg.data[0] > 0, disc() > 0
    assert (found & true).sum() / (found | true).sum() > 0.7


@pytest.mark.parametrize('rounds', [0, (0, 3), (3, 2), (1, 2, 3)])
def test_rounds_out_of_range(rounds):
    with raises_naming(ValueError, 'rounds', rounds):
        interactive(rounds=rounds)


@torch.no_grad()
def test_a_random_number_of_rounds(monkeypatch):
    """1 to 3 rounds with chances of 6, 3 and 2 in 11; each round adds a point to the last round's mask."""
    model = interactive(rounds=(1, 3))
    item = sample(Prompts.create(points=[[[50, 70]]], point_labels=[[1]]), disc()[None])
    seen, decode = [], model.decode
    monkeypatch.setattr(model, 'decode', lambda *args, **kwargs: (seen.append(args[1]), decode(*args, **kwargs))[1])
    torch.manual_seed(0)
    lengths = []
    for _ in range(30):
        seen.clear()
        model.loss(images(), [item])
        lengths.append(len(seen))
        assert [batch.points.shape[1] for batch in seen] == list(range(1, len(seen) + 1))
    assert set(lengths) == {1, 2, 3}
    drawn = torch.tensor([_number_of_rounds(1, 3) for _ in range(2200)])
    counts = torch.bincount(drawn, minlength=4).tolist()
    assert counts[0] == 0
    for count, expected in zip(counts[1:], (1200, 600, 400), strict=True):
        assert abs(count - expected) < 110  # 4.7 standard deviations of the first, which are the largest


@torch.no_grad()
def test_a_fixed_number_of_rounds_draws_nothing():
    """One round without random points: the random state is as before, whether rounds is a number or a pair."""
    item = sample(Prompts.create(boxes=[[20, 30, 80, 99]]), disc()[None])
    for rounds in (1, (1, 1)):
        model, inputs = interactive(rounds=rounds), images()
        state = torch.get_rng_state()
        model.loss(inputs, [item])
        assert torch.equal(torch.get_rng_state(), state)


def test_prompts_on_the_background():
    """Empty targets: losses and gradients are finite over all rounds, and every further point is a negative one."""
    losses = dict(
        focal=dict(type='MaskFocalLoss'), dice=dict(type='MaskDiceLoss'), iou=dict(type='IoUPredictionLoss', empty=0.0)
    )
    model = interactive(rounds=4, losses=losses, train_cfg=dict(multimask='both')).train()
    prompts = Prompts.create(boxes=[[2, 2, 20, 20], [60, 60, 99, 90]], target_ids=[0, 0])
    item = sample(prompts, torch.zeros_like(disc())[None])
    seen, decode = [], model.decode
    model.decode = lambda *args, **kwargs: (seen.append(args[1]), decode(*args, **kwargs))[1]
    values = model.loss(images(), [item])
    sum(values.values()).backward()
    assert len(seen) == 4 and seen[-1].point_labels[:, 1:].unique().tolist() == [0]
    assert all(value.isfinite() for value in values.values())
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    assert gradients and all(gradient.isfinite().all() for gradient in gradients)


@torch.no_grad()
def test_a_share_of_the_prompts_is_corrected(monkeypatch):
    """Half of five and half of one: two and one go on, each with its own target and mask."""
    model = interactive(rounds=3, corrected=0.5)
    one = Prompts.create(boxes=[[20 + i, 30, 80, 99] for i in range(5)], target_ids=[0, 1, 0, 1, 0])
    other = Prompts.create(boxes=[[5, 5, 60, 60]])
    masks = torch.stack([disc(), disc(x=60, radius=10)])
    seen, decode, judge = [], model.decode, model.mask_losses
    monkeypatch.setattr(model, 'decode', lambda *args, **kwargs: (seen.append([args[1]]), decode(*args, **kwargs))[1])
    monkeypatch.setattr(model, 'mask_losses', lambda *args: (seen[-1].extend(args), judge(*args))[1])
    torch.manual_seed(0)
    model.loss(images(2), [sample(one, masks), sample(other, masks[:1])])
    (_, first, all_targets, _), (second, _, targets, _), (third, *_, ignored) = seen
    assert second.numbers == third.numbers == (2, 1) and len(targets) == len(ignored) == 3
    rows = [int((one.boxes == box).all(1).nonzero()) for box in second.boxes[:2]] + [5]
    assert torch.equal(targets, all_targets[rows])
    assert torch.equal(second.masks[:, 0], first.logits[rows, 0])


def test_share_out_of_range():
    with raises_naming(ValueError, 'corrected', '0'):
        interactive(corrected=0)
