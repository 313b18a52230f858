"""SAM 2's choice among the masks of a prompt, by the stability of the single-mask output."""

from __future__ import annotations

import torch
from torch import Tensor

#: The single mask is stable if the masks at the thresholds +delta and -delta have at least this IoU.
DELTA, STABLE = 0.05, 0.98


def stable_choice(logits: Tensor, iou: Tensor) -> Tensor:
    """Choose the single-mask output where it is stable, else the mask for ambiguous prompts of the highest estimate.

    Paper: SAM 2: Segment Anything in Images and Videos (arXiv:2408.00714), appendix D.1; threshold and rule are those
    of its code.

    Args:
        logits: (P, M, H, W), the single-mask output first.
        iou: (P, M) estimates.

    Returns:
        (P,) numbers of masks, from 0 to M - 1.
    """
    return torch.where(stability(logits[:, 0]) >= STABLE, 0, iou[:, 1:].argmax(1) + 1)


def stability(logits: Tensor) -> Tensor:
    """Return the IoU of the masks at the thresholds +0.05 and -0.05; 1 where both are empty.

    Args:
        logits: (P, H, W).

    Returns:
        (P,), from 0 to 1.
    """
    inner, outer = ((logits > threshold).flatten(1).sum(1) for threshold in (DELTA, -DELTA))
    return torch.where(outer > 0, inner / outer.clamp(min=1), 1.0)
