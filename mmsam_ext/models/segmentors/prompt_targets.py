"""The target mask of each prompt, at the size of the predicted logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.structures import Prompts

from ..data_preprocessors import sample_name

#: MMSegmentation's label of pixels that do not count.
IGNORE_LABEL = 255


def prompt_targets(
    samples: Sequence[SegDataSample], prompts: Sequence[Prompts], size: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Targets of all P prompts of a batch.

    Args:
        samples: With `gt_masks` (T, H, W) in {0, 1}, or `gt_sem_seg` (1, H, W) alone, whose label 1 is then the one
            target.
        prompts: Of each sample; `target_ids` say which of the T masks a prompt asks for.
        size: (h, w) of the predicted logits.

    Returns:
        targets (P, h, w) float in [0, 1], area averages of the masks, and ignored (P, h, w) bool, where more than half
        of the area has the label 255 (target 0 there).

    Raises:
        ValueError: a sample with neither target, or a target id beyond its masks; the error names the sample.
    """
    targets, ignored = [], []
    for sample, asked in zip(samples, prompts, strict=True):
        masks, skip = _masks(sample)
        if int(asked.target_ids.max()) >= len(masks):
            raise ValueError(
                f'{sample_name(sample)}: field `target_ids` asks for mask {int(asked.target_ids.max())}, but '
                f'`gt_masks` has {len(masks)}'
            )
        both = torch.cat([masks, skip]).float()[None]  # (1, T + 1, H, W)
        *small, unlabelled = F.interpolate(both, tuple(size), mode='area')[0]
        unlabelled = unlabelled > 0.5
        small = torch.stack(small).masked_fill(unlabelled, 0.0)
        targets.append(small[asked.target_ids])
        ignored.append(unlabelled.expand(len(asked), -1, -1))
    return torch.cat(targets), torch.cat(ignored)


def _masks(sample: SegDataSample) -> tuple[Tensor, Tensor]:
    """(T, H, W) target masks and (1, H, W) pixels that do not count."""
    labels = sample.gt_sem_seg.data if 'gt_sem_seg' in sample else None
    if 'gt_masks' in sample:
        masks = sample.gt_masks.data
        return masks, torch.zeros_like(masks[:1]) if labels is None else labels == IGNORE_LABEL
    if labels is None:
        raise ValueError(
            f'{sample_name(sample)}: nothing to learn from, expected `gt_masks` or `gt_sem_seg` '
            '(is LoadAnnotations in the pipeline?)'
        )
    if ((labels > 1) & (labels != IGNORE_LABEL)).any():
        raise ValueError(
            f'{sample_name(sample)}: field `gt_sem_seg` holds the labels {labels.unique().tolist()}, expected 0 '
            f'(background), 1 (foreground) and {IGNORE_LABEL} (ignored). The model has one class of foreground: load '
            'the masks with LoadBinaryMask(foreground=[...]), which takes the classes named there as the foreground'
        )
    return labels == 1, labels == IGNORE_LABEL
