"""Losses by prompt and mask: MMSegmentation's own reduce over a batch and cannot pick the best of several masks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn


class MaskLoss(nn.Module):
    """Base class: one number for each of M masks of each of P prompts.

    Args:
        loss_weight: Factor of the loss.
    """

    #: Whether the loss judges a mask (and so takes part in picking the best of several) or the IoU head.
    judges_mask = True

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, logits: Tensor, targets: Tensor, iou: Tensor) -> Tensor:
        """Weighted loss.

        Args:
            logits: (P, M, h, w).
            targets: (P, h, w) in [0, 1]; area averages, so soft at edges.
            iou: (P, M) of the IoU head.

        Returns:
            (P, M).
        """
        return self.loss_weight * self.compute(logits, targets[:, None].expand_as(logits), iou)

    def compute(self, logits: Tensor, targets: Tensor, iou: Tensor) -> Tensor:
        """The unweighted loss; `targets` is (P, M, h, w) here."""
        raise NotImplementedError


@MODELS.register_module()
class MaskBCELoss(MaskLoss):
    """Binary cross entropy, averaged over the pixels of a mask."""

    def compute(self, logits: Tensor, targets: Tensor, iou: Tensor) -> Tensor:
        """Return the cross entropy, (P, M)."""
        return F.binary_cross_entropy_with_logits(logits, targets, reduction='none').mean((-2, -1))


@MODELS.register_module()
class MaskFocalLoss(MaskLoss):
    """Compute the sigmoid focal loss (Lin et al. 2017), averaged over the pixels of a mask.

    It is written in PyTorch because mmcv's has no CPU kernel.

    Args:
        gamma: Focusing exponent.
        alpha: Weight of the foreground, 1 - alpha of the background.
        loss_weight: Factor of the loss; SAM takes 20.
    """

    def __init__(self, gamma: float = 2.0, alpha: float = 0.25, loss_weight: float = 20.0) -> None:
        super().__init__(loss_weight)
        self.gamma, self.alpha = gamma, alpha

    def compute(self, logits: Tensor, targets: Tensor, iou: Tensor) -> Tensor:
        """Return the focal loss, (P, M)."""
        probability = logits.sigmoid()
        entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction='none')
        hit = probability * targets + (1 - probability) * (1 - targets)
        balance = self.alpha * targets + (1 - self.alpha) * (1 - targets)
        return (balance * (1 - hit) ** self.gamma * entropy).mean((-2, -1))


@MODELS.register_module()
class MaskDiceLoss(MaskLoss):
    """1 - (2 sum(p t) + eps) / (sum(p) + sum(t) + eps) with p the predicted probability and t the target.

    Args:
        eps: Smoothing in pixels; 1 as in SAM's loss (and DETR's).
        loss_weight: Factor of the loss.
        empty_weight: Further factor where the target has no pixel. There the loss is sum(p) / (sum(p) + eps): its
            gradient grows until about `eps` pixels are predicted in all, and pushes the logits of every pixel far below
            zero. Where many targets are empty (several classes without prompts, normal images, prompts on the
            background) that outweighs what the others teach. With 0 these targets are left to the cross entropy.

    Raises:
        ValueError: `empty_weight` is negative.
    """

    def __init__(self, eps: float = 1.0, loss_weight: float = 1.0, empty_weight: float = 0.0) -> None:
        super().__init__(loss_weight)
        if not empty_weight >= 0:
            raise ValueError(f'MaskDiceLoss: empty_weight={empty_weight}, expected 0 or more')
        self.eps, self.empty_weight = eps, empty_weight

    def compute(self, logits: Tensor, targets: Tensor, iou: Tensor) -> Tensor:
        """Return the Dice loss, (P, M)."""
        probability = logits.sigmoid()
        both = (probability * targets).sum((-2, -1))
        total = probability.sum((-2, -1)) + targets.sum((-2, -1))
        loss = 1 - (2 * both + self.eps) / (total + self.eps)
        if self.empty_weight == 1:
            return loss
        return torch.where((targets > 0).any(-1).any(-1), loss, self.empty_weight * loss)


@MODELS.register_module()
class IoUPredictionLoss(MaskLoss):
    """Compute the squared error of the IoU head against the true IoU of each mask.

    Paper: Segment Anything, appendix A.

    Args:
        loss_weight: Factor of the loss.
        empty: IoU in [0, 1] of an empty mask with an empty target. 1 says that they agree; 0, for prompts on the
            background, teaches the head to score "nothing here" low whatever the mask is.

    Raises:
        ValueError: `empty` is out of its range.
    """

    judges_mask = False

    def __init__(self, loss_weight: float = 1.0, empty: float = 1.0) -> None:
        super().__init__(loss_weight)
        if not 0 <= empty <= 1:
            raise ValueError(f'IoUPredictionLoss: empty={empty}, expected an IoU in [0, 1]')
        self.empty = empty

    def compute(self, logits: Tensor, targets: Tensor, iou: Tensor) -> Tensor:
        """Return the squared error, (P, M)."""
        with torch.no_grad():
            predicted, true = logits > 0, targets > 0.5
            both = (predicted & true).sum((-2, -1))
            union = (predicted | true).sum((-2, -1))
            actual = torch.where(union > 0, both / union.clamp(min=1), self.empty)
        return (iou - actual) ** 2
