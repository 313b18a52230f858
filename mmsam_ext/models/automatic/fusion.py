"""Masks with scores as one anomaly map."""

from __future__ import annotations

from torch import Tensor


def fuse_masks(masks: Tensor, scores: Tensor, most: int) -> Tensor:
    """Average the best masks: sum of mask times score, over one plus the number of masks, in each pixel.

    Paper: SAA+ (arXiv:2305.10724, section 4.4, confidence prompts).

    Args:
        masks: (N, H, W) bool.
        scores: (N,).
        most: How many of the highest scores count.

    Returns:
        (H, W) float, 0 where no mask is.
    """
    best = scores.argsort(descending=True, stable=True)[:most]
    chosen = masks[best].to(scores.dtype)  # (K, H, W)
    return (chosen * scores[best, None, None]).sum(0) / (1 + chosen.sum(0))
