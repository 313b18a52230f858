"""Decode several times, with the last mask as a mask prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from mmsam_ext.structures import MaskPrediction, PromptBatch, PromptKind, SAMFeatures

from .mask_selection import select_masks

if TYPE_CHECKING:
    from .promptable_segmentor import PromptableSegmentor


def number_of_rounds(settings: Mapping[str, Any]) -> int:
    """Return ``test_cfg.rounds``, 1 by default.

    Raises:
        ValueError: It is not a whole number from 1.
    """
    rounds = settings.get('rounds', 1)
    if isinstance(rounds, bool) or not isinstance(rounds, int) or rounds < 1:
        raise ValueError(f'PromptableSegmentor: test_cfg.rounds is {rounds!r}, expected a whole number from 1')
    return rounds


def decode_rounds(model: PromptableSegmentor, features: SAMFeatures, batch: PromptBatch) -> MaskPrediction:
    """Decode as often as ``test_cfg.rounds`` says; each round gets the masks of the one before as mask prompts.

    As in interactive training (Segment Anything, appendix A), but without a new point. The mask that goes in again is
    the single-mask output, and for a prompt of one point the mask that the IoU head prefers. Prompts that bring a mask
    keep that one, and empty prompts stay empty: both are predicted as in one round.

    Args:
        model: The model.
        features: Features of the batch, embedding (B, C, h, w).
        batch: P prompts.

    Returns:
        The last round's masks: logits (P, M, 4h, 4w), iou (P, M).
    """
    prediction = model.decode(features, batch)
    again = (batch.kinds != int(PromptKind.NONE)) & ~batch.uses(PromptKind.MASK)
    rounds = number_of_rounds(model.test_cfg)
    if rounds == 1 or not bool(again.any()):
        return prediction
    kinds = torch.where(again, batch.kinds | int(PromptKind.MASK), batch.kinds)
    for _ in range(rounds - 1):
        masks = select_masks(prediction, batch, 'ambiguous')[0][:, None]
        if batch.masks.numel():
            masks = torch.where(again[:, None, None, None], masks, batch.masks)
        prediction = model.decode(features, replace(batch, masks=masks, kinds=kinds))
    return prediction
