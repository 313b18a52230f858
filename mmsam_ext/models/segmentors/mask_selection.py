"""Which of the masks that a decoder predicts for a prompt is the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.evaluation.functional import mask_iou
from mmsam_ext.nearest import unknown_names
from mmsam_ext.structures import AMBIGUOUS, MaskPrediction, PromptBatch
from mmsam_ext.structures.samples import OUTSIDE, class_logits, sample_name, target_masks

from ..mask_decoders.stable_choice import stable_choice
from .original_size import to_original

#: Values of ``train_cfg.multimask`` and ``test_cfg.multimask``.
TRAIN_CHOICES = (False, True, 'both')
TEST_CHOICES = (False, True, 'ambiguous', 'stable', 'oracle')
#: Names in `train_cfg`, and in `test_cfg` beside those of tiles.
TRAIN_SETTINGS = ('multimask', 'compute_dtype')
TEST_SETTINGS = (
    *TRAIN_SETTINGS,
    'decoder_dtype',
    'untrained',
    'rounds',
    'presence_threshold',
    'one_step_resize',
    'mode',
)


def check_choice(name: str, value: bool | str | None, choices: Sequence[bool | str | None]) -> None:
    """Check a value of `multimask` or of another setting with a few choices.

    Raises:
        ValueError: It is not one of `choices`.
    """
    if value not in choices:
        raise ValueError(f'PromptableSegmentor: {name} is {value!r}, expected one of {tuple(choices)}')


def check_settings(name: str, settings: Mapping[str, Any], known: Sequence[str]) -> None:
    """Check the names in `train_cfg` or `test_cfg`; a misspelt one would have no effect.

    Raises:
        ValueError: One of them is unknown; suggests the nearest.
    """
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise ValueError(f'PromptableSegmentor: {name}: {unknown_names(unknown, known)} Known: {", ".join(known)}')


def select_masks(prediction: MaskPrediction, batch: PromptBatch, multimask: bool | str) -> tuple[Tensor, Tensor]:
    """Select one mask for each prompt, without ground truth.

    Args:
        prediction: logits (P, M, h, w), iou (P, M).
        batch: The P prompts.
        multimask: False selects the single-mask output; True the mask for ambiguous prompts that the IoU head prefers;
            'ambiguous' does so for prompts of one point only, 'stable' where the single-mask output is not stable (see
            :func:`~mmsam_ext.models.mask_decoders.stable_choice.stable_choice`).

    Returns:
        Logits (P, h, w) and estimated IoU (P,).

    Raises:
        ValueError: Another value, among them 'oracle', which needs the ground truth (see :func:`select_by_truth`).
    """
    if multimask == 'oracle':
        raise ValueError("PromptableSegmentor: multimask is 'oracle', which needs the ground truth: use predict")
    check_choice('multimask', multimask, TEST_CHOICES)
    if multimask == 'stable':
        return prediction.pick(stable_choice(prediction.logits, prediction.iou))
    preferred = prediction.masks(AMBIGUOUS).iou.argmax(1) + 1
    if multimask == 'ambiguous':
        return prediction.pick(torch.where(batch.is_one_point, preferred, 0))
    return prediction.pick(preferred if multimask else torch.zeros_like(preferred))


def empty_absent(logits: Tensor, presence: Tensor | None, threshold: float | None) -> Tensor:
    """Empty the masks of prompts whose object is not in the image.

    Args:
        logits: (P, h, w).
        presence: (P,) logits of a presence head, None without one.
        threshold: The least probability of a mask that is kept, in [0, 1]; None keeps all.

    Raises:
        ValueError: A threshold without a presence head, or one beyond [0, 1].
    """
    if threshold is None:
        return logits
    if presence is None or not 0 <= threshold <= 1:
        raise ValueError(
            f'PromptableSegmentor: test_cfg.presence_threshold is {threshold}, expected a probability from 0 to 1 in a '
            'model with a presence_head, or None'
        )
    absent = presence.sigmoid() < threshold
    return torch.where(absent[:, None, None], logits.clamp(max=OUTSIDE), logits)


def united_logits(logits: Tensor, batch: PromptBatch, num_classes: int | None) -> Tensor:
    """Unite the masks of all prompts of each image, or of each class.

    Args:
        logits: (P, h, w).
        batch: The P prompts of B images.
        num_classes: K, None for one class.

    Returns:
        (B, 1, h, w), or (B, K + 1, h, w) with the background first, see :func:`class_logits`.
    """
    if num_classes is None:
        return torch.stack([part.amax(0, keepdim=True) for part in batch.split(logits)])
    parts = zip(batch.split(logits), batch.split(batch.class_ids), batch.names, strict=True)
    return torch.stack([class_logits(part, labels, num_classes, name) for part, labels, name in parts])


def select_by_truth(
    prediction: MaskPrediction, batch: PromptBatch, samples: Sequence[SegDataSample], one_step: bool = False
) -> tuple[Tensor, Tensor]:
    """Select the mask with the highest true IoU for prompts of one point, and the single-mask output for others.

    IoU is measured at the original size of the image.

    Paper: Segment Anything, section 7.1 ("oracle").

    Args:
        prediction: logits (P, M, h, w), iou (P, M).
        batch: The P prompts.
        samples: One data sample per image, with `gt_masks` (T, H0, W0).
        one_step: `one_step_resize` of `test_cfg`.

    Returns:
        Logits (P, h, w) and estimated IoU (P,).

    Raises:
        ValueError: A sample has no `gt_masks`.
    """
    chosen = []
    parts = (batch.split(value) for value in (prediction.logits[:, AMBIGUOUS], batch.target_ids, batch.is_one_point))
    for sample, candidates, target_ids, one_point in zip(samples, *parts, strict=True):  # candidates (P, M, h, w)
        if 'gt_masks' not in sample:
            raise ValueError(
                f"{sample_name(sample)}: no `gt_masks`, which test_cfg.multimask='oracle' needs; add "
                'LoadAnnotations (or LoadBinaryMask) and GeneratePrompts to the test pipeline'
            )
        masks = to_original(candidates.flatten(0, 1), batch.input_size, sample.metainfo, one_step) > 0
        truth = target_masks(sample)[target_ids].to(masks.device)  # (P, H0, W0)
        best = mask_iou(masks.unflatten(0, candidates.shape[:2]), truth[:, None]).argmax(1).to(one_point.device)
        chosen.append(torch.where(one_point, best + 1, 0))
    return prediction.pick(torch.cat(chosen))


def select_by_config(
    prediction: MaskPrediction,
    batch: PromptBatch,
    samples: Sequence[SegDataSample],
    multimask: bool | str,
    one_step: bool = False,
) -> tuple[Tensor, Tensor]:
    """Select one mask for each prompt, with ground truth where `multimask` is 'oracle'.

    Args:
        prediction: logits (P, M, h, w), iou (P, M).
        batch: The P prompts.
        samples: One data sample per image; read for 'oracle' only.
        multimask: As in `test_cfg`.
        one_step: `one_step_resize` of `test_cfg`; read for 'oracle' only.

    Returns:
        Logits (P, h, w) and estimated IoU (P,).
    """
    if multimask == 'oracle':
        return select_by_truth(prediction, batch, samples, one_step)
    return select_masks(prediction, batch, multimask)
