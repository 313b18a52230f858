"""`DiceIoU`: Dice and IoU of the predicted foreground."""

from __future__ import annotations

import torch
from mmseg.registry import METRICS
from torch import Tensor

from ..functional import mask_area, mask_iou
from .foreground import ForegroundMetric


@METRICS.register_module()
class DiceIoU(ForegroundMetric):
    """Compute Dice and IoU of each image in percent, averaged over images (ODS-SAM, Tables 2 to 6; LViT's protocol).

    The keys are ``Dice`` and ``IoU``. Images without foreground are excluded; if a group has no other images, its
    scores are undefined.

    Args:
        threshold: A pixel is foreground if its probability is greater than this.
        kwargs: See :class:`ForegroundMetric`.
    """

    names = ('Dice', 'IoU')

    def __init__(self, threshold: float = 0.5, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 < threshold < 1:
            raise ValueError(f'DiceIoU: threshold={threshold}, expected a number between 0 and 1')
        self.logit = float(torch.tensor(threshold, dtype=torch.float64).logit())

    def measure(self, logits: Tensor, target: Tensor) -> Tensor | None:
        """Return Dice and IoU, (2,), or None for an empty target."""
        area = mask_area(target)
        if not area:
            return None
        pred = logits > self.logit
        dice = 2 * mask_area(pred & target) / (mask_area(pred) + area)
        return 100 * torch.stack([dice, mask_iou(pred, target)])

    def summarize(self, means: Tensor) -> dict[str, float]:
        """See :class:`ForegroundMetric`."""
        return dict(Dice=float(means[0]), IoU=float(means[1]))
