"""Segmentation stability (Stable-SAM)."""

from __future__ import annotations

import torch
from torch import Tensor

from .mask_iou import mask_area


def stability(masks: Tensor) -> Tensor:
    """Compute ST of Stable-SAM: the mean over B masks of ``IoU(M_i, union of all M_i)``.

    The B masks are predictions from B draws of the same kind of prompt for the same target. ST is 1 if all masks agree,
    which includes a single mask and masks that are all empty.

    Args:
        masks: (..., B, H, W) bool.

    Returns:
        (...,) float64 in [0, 1].

    Raises:
        ValueError: The masks are not bool, or B is 0.
    """
    if masks.dtype != torch.bool or masks.ndim < 3 or masks.shape[-3] == 0:
        raise ValueError(
            f'masks are {masks.dtype} of shape {tuple(masks.shape)}, expected bool of shape (..., B, H, W) with B >= 1'
        )
    # a mask lies within the union, so its intersection with the union is its own area
    area = mask_area(masks)  # (..., B)
    union = mask_area(masks.any(-3)).unsqueeze(-1)  # (..., 1)
    return torch.where(union > 0, area / union.clamp(min=1), torch.ones_like(area)).mean(-1)
