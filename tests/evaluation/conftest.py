"""Hand-made masks, and predictions as metrics receive them: plain dicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch


def _masks(*pictures: str) -> torch.Tensor:
    """(N, H, W) bool from drawings whose rows are separated by '/' and whose foreground is '#'."""
    return torch.tensor([[[cell == '#' for cell in row] for row in picture.split('/')] for picture in pictures])


def _sample(
    predictions: torch.Tensor,
    truth: torch.Tensor | None,
    modes: tuple[str, ...] = ('box',),
    mode_ids: list[int] | None = None,
    target_ids: list[int] | None = None,
    draw_ids: list[int] | None = None,
    **meta: str,
) -> dict[str, Any]:
    """A predicted sample.

    Args:
        predictions: (P, H, W) bool; logits are +3 in the foreground and -3 elsewhere.
        truth: (T, H, W) bool.
        meta: sample_id, dataset_name, defect_class.
    """
    number = len(predictions)
    instances = dict(mask_logits=predictions.float() * 6 - 3, iou_scores=torch.zeros(number))
    for name, ids in dict(mode_ids=mode_ids, target_ids=target_ids, draw_ids=draw_ids).items():
        instances[name] = torch.tensor([0] * number if ids is None else ids)
    result = dict(pred_instances=instances, prompts=dict(modes=modes), sample_id='one', dataset_name='MTD')
    if truth is not None:
        result['gt_masks'] = dict(data=truth.to(torch.uint8))
    return {**result, **meta}


@pytest.fixture
def masks() -> Callable[..., torch.Tensor]:
    return _masks


@pytest.fixture
def sample() -> Callable[..., dict[str, Any]]:
    return _sample
