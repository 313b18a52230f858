"""Losses against torchvision, PyTorch and numbers worked by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torchvision.ops import sigmoid_focal_loss

from tests.naming import raises_naming
from tests.numeric import LAYER, OPERATION, assert_close


def case(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(2, 3, 5, 7, generator=generator)
    return logits, torch.rand(2, 5, 7, generator=generator), torch.rand(2, 3, generator=generator)


@pytest.mark.parametrize('soft', [False, True])
def test_focal_equals_torchvision(soft):
    logits, targets, iou = case()
    targets = targets if soft else (targets > 0.5).float()
    loss = MODELS.build(dict(type='MaskFocalLoss', gamma=1.5, alpha=0.3, loss_weight=20.0))(logits, targets, iou)
    every = targets[:, None].expand_as(logits)
    expected = 20 * sigmoid_focal_loss(logits, every, alpha=0.3, gamma=1.5, reduction='none').mean((2, 3))
    assert_close(loss, expected, LAYER)


def test_focal_by_hand():
    """One foreground pixel with p = 0.5: 0.25 * 0.5^2 * ln 2, times SAM's 20."""
    loss = MODELS.build(dict(type='MaskFocalLoss'))(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1), torch.zeros(1, 1))
    assert_close(loss.squeeze(), 20 * 0.25 * 0.25 * math.log(2))


def test_bce_equals_torch_mask_by_mask():
    logits, targets, iou = case()
    loss = MODELS.build(dict(type='MaskBCELoss', loss_weight=2.0))(logits, targets, iou)
    assert loss.shape == (2, 3)
    expected = 2 * F.binary_cross_entropy(logits[1, 2].sigmoid(), targets[1])
    assert_close(loss[1, 2], expected, LAYER)


def test_dice_by_hand():
    """p = (1/2, 3/4), t = (1, 0): 1 - (2 * 1/2 + 1) / (5/4 + 1 + 1) = 1 - 2 / 3.25."""
    logits = torch.tensor([0.0, math.log(3)]).view(1, 1, 1, 2)
    loss = MODELS.build(dict(type='MaskDiceLoss'))(logits, torch.tensor([[[1.0, 0.0]]]), torch.zeros(1, 1))
    assert_close(loss.squeeze(), 1 - 2 / 3.25)
    unsmoothed = MODELS.build(dict(type='MaskDiceLoss', eps=0.0, loss_weight=3.0))
    assert_close(unsmoothed(logits, torch.tensor([[[1.0, 0.0]]]), torch.zeros(1, 1)).squeeze(), 3 * (1 - 1 / 2.25))


def test_dice_of_an_empty_target_and_an_empty_prediction_is_nearly_none():
    logits = torch.full((1, 1, 4, 4), -40.0)
    loss = MODELS.build(dict(type='MaskDiceLoss', empty_weight=1))(logits, torch.zeros(1, 4, 4), torch.zeros(1, 1))
    assert_close(loss.squeeze(), 0.0, scale=1.0)


def test_dice_leaves_empty_targets_to_other_losses():
    """Only the loss of the prompt without an object changes with `empty_weight`, by that factor; 0 by default."""
    logits = torch.zeros(2, 1, 2, 2, requires_grad=True)
    targets = torch.stack([torch.eye(2), torch.zeros(2, 2)])
    # p = 1/2 everywhere: 1 - (2 * 1 + 1) / (2 + 2 + 1) with the object, 1 - 1 / (2 + 1) without.
    for weight in (1.0, 0.5, 0.0):
        loss = MODELS.build(dict(type='MaskDiceLoss', empty_weight=weight))(logits, targets, torch.zeros(2, 1))
        assert_close(loss[:, 0], torch.tensor([1 - 3 / 5, weight * 2 / 3]))
    loss = MODELS.build(dict(type='MaskDiceLoss'))(logits, targets, torch.zeros(2, 1))
    (gradient,) = torch.autograd.grad(loss.sum(), logits)
    assert gradient[0].abs().min() > 0 and not gradient[1].any()
    with raises_naming(ValueError, 'MaskDiceLoss', 'empty_weight', '-1'):
        MODELS.build(dict(type='MaskDiceLoss', empty_weight=-1))


def test_iou_loss_against_sets():
    logits, targets, iou = case()
    loss = MODELS.build(dict(type='IoUPredictionLoss', loss_weight=0.5))(logits, targets, iou)
    for row in range(2):
        true = {tuple(place) for place in (targets[row] > 0.5).nonzero().tolist()}
        for mask in range(3):
            predicted = {tuple(place) for place in (logits[row, mask] > 0).nonzero().tolist()}
            actual = len(predicted & true) / len(predicted | true)
            assert_close(loss[row, mask], 0.5 * (float(iou[row, mask]) - actual) ** 2, OPERATION, scale=1.0)


def test_iou_loss_of_nothing_found_where_nothing_is_and_its_gradient():
    logits = torch.full((1, 1, 2, 2), -1.0, requires_grad=True)
    iou = torch.tensor([[0.25]], requires_grad=True)
    loss = MODELS.build(dict(type='IoUPredictionLoss'))(logits, torch.zeros(1, 2, 2), iou)
    assert_close(loss.squeeze(), 0.75**2)  # an empty union counts as IoU 1
    loss.sum().backward()
    assert logits.grad is None
    assert_close(iou.grad.squeeze(), -1.5)


def test_iou_loss_teaches_0_for_an_empty_target():
    """With empty=0 an empty mask and a filled one both have IoU 0, and a mask that fits its target still has 1."""
    logits = torch.stack([torch.full((2, 2), -1.0), torch.full((2, 2), 1.0)]).expand(2, 2, 2, 2)
    targets = torch.stack([torch.zeros(2, 2), torch.ones(2, 2)])
    iou = torch.full((2, 2), 0.25, requires_grad=True)
    loss = MODELS.build(dict(type='IoUPredictionLoss', empty=0.0))(logits, targets, iou)
    assert_close(loss, torch.tensor([[0.25**2, 0.25**2], [0.25**2, 0.75**2]]))
    loss.sum().backward()
    assert_close(iou.grad, torch.tensor([[0.5, 0.5], [0.5, -1.5]]))
    with raises_naming(ValueError, 'IoUPredictionLoss', 'empty', '2'):
        MODELS.build(dict(type='IoUPredictionLoss', empty=2))


def test_losses_judge_masks_but_for_the_iou_head():
    judges = {name: MODELS.get(name).judges_mask for name in ('MaskBCELoss', 'MaskDiceLoss', 'MaskFocalLoss')}
    assert all(judges.values()) and not MODELS.get('IoUPredictionLoss').judges_mask
