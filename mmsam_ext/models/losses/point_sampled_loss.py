"""`PointSampledLoss`: losses on points where the mask is uncertain, in place of all pixels."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from mmengine.model import ModuleDict
from mmseg.registry import MODELS
from torch import Tensor, nn

from .mask_losses import MaskLoss

#: Logit that stands for "no label here", see :func:`best_mask_losses`.
UNLABELLED = -1e4


@MODELS.register_module()
class PointSampledLoss(MaskLoss):
    """Sum losses over points of a mask, most of which are drawn where its logits are nearest to 0.

    `oversample` times `num_points` points are drawn at random, the share `importance` of `num_points` is taken from
    those with the smallest absolute logits, and the rest is drawn at random again. Logits and targets are interpolated
    bilinearly. Points that touch a pixel without a label cost nothing.

    Paper: PointRend (arXiv:1912.08193, section 3.1); the authors of SPT (arXiv:2411.17217) train with its defaults.

    Example::

        losses = dict(
            points=dict(
                type='PointSampledLoss', losses=dict(bce=dict(type='MaskBCELoss'), dice=dict(type='MaskDiceLoss'))
            )
        )

    Args:
        losses: Name -> config of a :class:`MaskLoss` that judges a mask; all see the same points.
        num_points: Points of each mask.
        oversample: 1 or more.
        importance: Share of the points that are drawn by uncertainty, in [0, 1].
        loss_weight: Factor of the sum.

    Raises:
        ValueError: An argument is out of its range, or a loss judges the IoU head.
    """

    def __init__(
        self,
        losses: Mapping[str, dict],
        num_points: int = 12544,
        oversample: float = 3.0,
        importance: float = 0.75,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__(loss_weight)
        if num_points < 1 or oversample < 1 or not 0 <= importance <= 1:
            raise ValueError(
                f'PointSampledLoss: num_points={num_points}, oversample={oversample}, importance={importance}, '
                'expected 1 or more, 1 or more, and a share in [0, 1]'
            )
        self.losses = ModuleDict({name: MODELS.build(loss) for name, loss in losses.items()})
        wrong = [name for name, loss in self.losses.items() if not loss.judges_mask]
        if wrong or not self.losses:
            raise ValueError(f'PointSampledLoss: losses={list(losses)}, expected some that judge a mask; not {wrong}')
        self.num_points, self.oversample, self.importance = num_points, oversample, importance

    def compute(self, logits: Tensor, targets: Tensor, iou: Tensor) -> Tensor:
        """Return the sum of the losses at points, (P, M)."""
        shape = logits.shape[:2]
        masks = logits.flatten(0, 1)[:, None]  # (P, M, h, w) -> (P * M, 1, h, w)
        unlabelled = (masks.detach() <= UNLABELLED).to(masks.dtype)
        points = self.draw(masks.detach())
        sampled = sample_points(masks, points)  # (P * M, n)
        wanted = sample_points(targets.flatten(0, 1)[:, None].to(masks.dtype), points)
        skipped = sample_points(unlabelled, points) > 0
        sampled, wanted = sampled.masked_fill(skipped, UNLABELLED), wanted.masked_fill(skipped, 0.0)
        values = [self._of_points(loss, sampled, wanted, iou, shape) for loss in self.losses.values()]
        return torch.stack(values).sum(0)

    @torch.no_grad()
    def draw(self, masks: Tensor) -> Tensor:
        """Draw points (B, n, 2), x and y as shares of width and height, for mask logits (B, 1, h, w)."""
        number, certain = len(masks), self.num_points - int(self.importance * self.num_points)
        device, uncertain = masks.device, self.num_points - certain
        if not uncertain:
            return torch.rand(number, certain, 2, device=device)
        drawn = torch.rand(number, int(self.num_points * self.oversample), 2, device=device)
        nearest = sample_points(masks, drawn).abs().topk(uncertain, dim=1, largest=False).indices  # (B, k)
        chosen = drawn.gather(1, nearest[..., None].expand(-1, -1, 2))
        return torch.cat([chosen, torch.rand(number, certain, 2, device=device)], 1)

    @staticmethod
    def _of_points(loss: nn.Module, sampled: Tensor, wanted: Tensor, iou: Tensor, shape: torch.Size) -> Tensor:
        """A loss at points (P * M, n), as one row of pixels; (P, M)."""
        return loss(sampled[:, None, None], wanted[:, None], iou.reshape(-1, 1)).reshape(shape)


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Interpolate maps (B, 1, h, w) bilinearly at points (B, n, 2), x and y as shares of width and height; (B, n)."""
    return F.grid_sample(maps, 2 * points[:, None] - 1, padding_mode='border', align_corners=False)[:, 0, 0]
