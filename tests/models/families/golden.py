"""What public implementations of other SAMs predict, kept by ``tools/analysis/family_goldens.py``."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import torch
from analysis.family_goldens import PROMPTS, mask_prompt, named_weights
from torch import Tensor

from mmsam_ext.models.segmentors import PromptableSegmentor
from mmsam_ext.structures import MaskPrediction, PromptBatch, PromptKind, Prompts

FOLDER = Path(__file__).parent


@cache
def golden(family: str) -> tuple[dict[str, Tensor], dict[str, np.ndarray]]:
    """The weights of a public implementation with its key names, and its predictions by prompt."""
    content = dict(np.load(FOLDER / f'{family}.npz'))
    return named_weights(json.loads(str(content.pop('shapes')))), content


def prompts(name: str, height: int, width: int) -> Prompts:
    """A prompt of the table for an image of H x W pixels."""
    given = PROMPTS[name]
    kind, fields = 0, {}
    if 'points' in given:
        kind |= PromptKind.POINTS
        fields |= dict(points=[given['points']], point_labels=[given['labels']])
    if 'box' in given:
        kind |= PromptKind.BOX
        fields |= dict(boxes=[given['box']])
    if 'mask' in given:
        kind |= PromptKind.MASK
        fields |= dict(masks=mask_prompt(height // 4, width // 4))
    return Prompts.create(**fields, kinds=[kind])


@torch.no_grad()
def predict(model: PromptableSegmentor, inputs: Tensor, name: str) -> MaskPrediction:
    """All masks of one prompt for the first image of a batch."""
    size = tuple(inputs.shape[-2:])
    given = [prompts(name, *size)] + [prompts('point', *size)] * (len(inputs) - 1)
    return model.decode(model.extract_feat(inputs), PromptBatch.from_prompts(given, size))


def at_golden(logits: Tensor) -> Tensor:
    """The pixels that the golden values have."""
    return logits[..., ::3, ::3]
