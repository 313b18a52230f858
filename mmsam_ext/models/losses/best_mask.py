"""The losses of predicted masks: of several masks for one prompt, only the best one is penalised."""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn

from mmsam_ext.structures import AMBIGUOUS, SINGLE, MaskPrediction

from .point_sampled_loss import UNLABELLED


def best_mask_losses(
    losses: nn.ModuleDict, prediction: MaskPrediction, targets: Tensor, ignored: Tensor
) -> dict[str, Tensor]:
    """Compute the mean of each loss over prompts; of several masks only the one with the smallest loss counts.

    The mask with the smallest sum of the losses that judge a mask is the best. The IoU head learns from all masks.

    Paper: Segment Anything, section 3 ("Resolving ambiguity").

    Args:
        losses: Name -> :class:`MaskLoss`.
        prediction: logits (P, M, h, w), iou (P, M).
        targets: (P, h, w) in [0, 1].
        ignored: (P, h, w) bool, pixels without a label.

    Returns:
        ``loss_<name>`` -> scalar.
    """
    logits = without_ignored(prediction.logits.float(), ignored)
    values = {name: loss(logits, targets, prediction.iou.float()) for name, loss in losses.items()}
    judging = [values[name] for name, loss in losses.items() if loss.judges_mask]
    best = functools.reduce(torch.add, judging).argmin(1, keepdim=True) if judging else None
    return {
        f'loss_{name}': (value.gather(1, best) if losses[name].judges_mask else value).mean()
        for name, value in values.items()
    }


def losses_of_masks(
    losses: nn.ModuleDict, prediction: MaskPrediction, targets: Tensor, ignored: Tensor, multimask: bool | str
) -> dict[str, Tensor]:
    """Compute the losses of those masks of a prediction that ``train_cfg.multimask`` trains.

    Args:
        losses: Name -> :class:`MaskLoss`.
        prediction: logits (P, M, h, w), iou (P, M), all masks.
        targets: (P, h, w) in [0, 1].
        ignored: (P, h, w) bool, pixels without a label.
        multimask: False for the single-mask output, True for the masks for ambiguous prompts, 'both'.

    Returns:
        ``loss_<name>`` -> scalar; with 'both', those of the masks for ambiguous prompts end in ``_multi``.

    Raises:
        ValueError: There are no losses.
    """
    if not losses:
        raise ValueError('PromptableSegmentor: `losses` is empty, expected name -> config of a MaskLoss to train')
    parts = {False: {'': SINGLE}, True: {'': AMBIGUOUS}, 'both': {'': SINGLE, '_multi': AMBIGUOUS}}
    found = {}
    for suffix, which in parts[multimask].items():
        part = best_mask_losses(losses, prediction.masks(which), targets, ignored)
        found.update({name + suffix: value for name, value in part.items()})
    return found


def without_ignored(logits: Tensor, ignored: Tensor) -> Tensor:
    """Replace logits at ignored pixels by a certain "background", which is what targets hold there.

    It costs nothing and has no gradient.

    Args:
        logits: (P, M, h, w).
        ignored: (P, h, w) bool.

    Returns:
        (P, M, h, w).
    """
    return logits.masked_fill(ignored[:, None], UNLABELLED)
