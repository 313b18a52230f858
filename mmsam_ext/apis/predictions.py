"""Predicted samples as arrays, the way the inferencer returns them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from .image_inputs import Source
from .prompt_sets import PromptSet


def to_numpy(tensor: Tensor) -> np.ndarray:
    """Return a tensor as an array on the CPU: bool stays bool, every float becomes float32."""
    return (tensor if tensor.dtype == torch.bool else tensor.float()).cpu().numpy()


def prediction(source: Source, prompts: PromptSet, sample: SegDataSample, with_logits: bool) -> dict[str, Any]:
    """Return the prediction of one image.

    Args:
        source: The image.
        prompts: What was given for it.
        sample: The model's output.
        with_logits: Whether to add `logits` (P, H, W).

    Returns:
        `path`, `name`, `prompts` (P descriptions), `masks` (P, H, W) bool, `scores` (P,) estimated IoU, and `union`
        (H, W) bool.
    """
    instances = sample.pred_instances
    masks = to_numpy(instances.mask_logits > 0)
    result = dict(
        path=source.path,
        name=source.name,
        prompts=prompts.describe(),
        masks=masks,
        scores=to_numpy(instances.iou_scores),
        union=masks.any(0),
    )
    return result | (dict(logits=to_numpy(instances.mask_logits)) if with_logits else {})
