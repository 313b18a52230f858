"""The point-sampled loss: against the losses of all pixels where both must agree, and against PointRend's steps."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmsam_ext.models.losses import PointSampledLoss, best_mask_losses
from mmsam_ext.models.losses.point_sampled_loss import sample_points
from mmsam_ext.structures import MaskPrediction
from tests.naming import raises_naming
from tests.numeric import OPERATION, assert_close

BOTH = dict(bce=dict(type='MaskBCELoss'), dice=dict(type='MaskDiceLoss'))


def build(**options) -> PointSampledLoss:
    return MODELS.build(dict(type='PointSampledLoss', losses=BOTH, **options))


def test_points_by_hand() -> None:
    """Centres of pixels are their values, the middle of two is their mean, and outside of centres the border counts."""
    maps = torch.tensor([[[[0.0, 4.0], [8.0, 12.0]]]])
    points = torch.tensor([[[0.25, 0.25], [0.75, 0.75], [0.5, 0.25], [0.5, 0.5], [0.0, 0.0]]])
    assert sample_points(maps, points).tolist() == [[0, 12, 2, 6, 0]]


def test_constant_masks_cost_what_all_pixels_cost() -> None:
    """Where all pixels are alike, so are all points: the same cross entropy, and Dice of the same shares."""
    logits = torch.tensor([1.5, -0.5]).view(1, 2, 1, 1).expand(1, 2, 6, 8).contiguous().requires_grad_()
    targets, iou = torch.ones(1, 6, 8), torch.zeros(1, 2)
    ours = build(num_points=48)(logits, targets, iou)
    expected = sum(MODELS.build(loss)(logits, targets, iou) for loss in BOTH.values())
    assert ours.shape == (1, 2)
    assert_close(ours, expected, OPERATION)


def test_draws_are_those_of_pointrend() -> None:
    """Literally: 3 n candidates, the 0.75 n with the smallest absolute logit, and 0.25 n new ones."""
    masks = 4 * torch.randn(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    loss = build(num_points=40)
    torch.manual_seed(7)
    points = loss.draw(masks)
    torch.manual_seed(7)
    candidates = torch.rand(3, 120, 2)
    new = torch.rand(3, 10, 2)
    for row in range(3):
        values = F.grid_sample(masks[row][None], 2 * candidates[row][None, :, None] - 1, align_corners=False,
                               padding_mode='border').flatten()  # fmt: skip
        chosen = candidates[row][values.abs().argsort()[:30]]
        assert {tuple(point) for point in points[row, :30].tolist()} == {tuple(point) for point in chosen.tolist()}
        assert torch.equal(points[row, 30:], new[row])
    shares = sample_points(masks, points[:, :30]).abs().mean() / sample_points(masks, points[:, 30:]).abs().mean()
    assert shares < 0.4, 'points lie where the mask is uncertain'


@pytest.mark.parametrize('importance', [0.0, 1.0])
def test_all_or_none_by_uncertainty(importance: float) -> None:
    assert build(num_points=20, importance=importance).draw(torch.randn(2, 1, 8, 8)).shape == (2, 20, 2)


def test_pixels_without_a_label_cost_nothing() -> None:
    """Certain and right where there is a label, certain and wrong where there is none; and no gradient from there."""
    targets = torch.zeros(1, 8, 8)
    targets[:, :, :4] = 1
    logits = torch.where(targets > 0, 30.0, -30.0)[:, None].clone()
    logits[..., 3:5] = 17.0
    logits.requires_grad_()
    ignored = torch.zeros(1, 8, 8, dtype=torch.bool)
    ignored[:, :, 3:5] = True
    prediction = MaskPrediction(logits=logits, iou=torch.zeros(1, 1))
    losses = torch.nn.ModuleDict(dict(points=build(num_points=500)))
    torch.manual_seed(0)
    (value,) = best_mask_losses(losses, prediction, targets.masked_fill(ignored, 0.0), ignored).values()
    value.backward()
    assert value.item() < 1e-3 and not logits.grad[..., 3:5].any()


def test_without_it_no_random_number_is_drawn() -> None:
    """All-pixel losses, and with them every training from before, stay bit for bit."""
    state = torch.get_rng_state()
    prediction = MaskPrediction(logits=torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)),
                                iou=torch.zeros(2, 1))  # fmt: skip
    losses = torch.nn.ModuleDict({name: MODELS.build(loss) for name, loss in BOTH.items()})
    best_mask_losses(losses, prediction, torch.ones(2, 8, 8), torch.zeros(2, 8, 8, dtype=torch.bool))
    assert torch.equal(torch.get_rng_state(), state)


def test_bad_arguments() -> None:
    for options in (dict(num_points=0), dict(oversample=0.5), dict(importance=1.5)):
        ((name, value),) = options.items()
        with raises_naming(ValueError, f'{name}={value}'):
            build(**options)
    with raises_naming(ValueError, 'iou'):
        MODELS.build(dict(type='PointSampledLoss', losses=dict(iou=dict(type='IoUPredictionLoss'))))
