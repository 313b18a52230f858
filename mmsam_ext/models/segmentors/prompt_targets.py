"""The target mask of each prompt, at the size of the predicted logits."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from mmsam_ext.structures import PromptBatch
from mmsam_ext.structures.samples import ignored_mask, sample_name, target_field, target_masks


def prompt_targets(
    samples: Sequence[SegDataSample], batch: PromptBatch, size: Sequence[int], num_classes: int = 1
) -> tuple[Tensor, Tensor]:
    """Return the targets of all P prompts of a batch.

    Args:
        samples: One data sample per image, with `gt_masks` (T, H, W) in {0, 1}, or with `gt_sem_seg` (1, H, W) alone,
            whose labels 1 to K are then the targets 0 to K - 1.
        batch: The prompts; `target_ids` say which of the T masks each prompt asks for.
        size: (h, w) of the predicted logits.
        num_classes: K, number of classes without the background.

    Returns:
        targets (P, h, w) float in [0, 1], area averages of the masks, and ignored (P, h, w) bool, True where more than
        half of the area has the label 255; targets are 0 there.

    Raises:
        ValueError: A sample has neither target, its `gt_sem_seg` holds classes beyond K, or a target
            id is beyond its masks; the error names the sample.
    """
    targets, ignored = [], []
    for sample, target_ids in zip(samples, batch.split(batch.target_ids), strict=True):
        masks = target_masks(sample, target_field(sample) == 'gt_sem_seg', num_classes)  # (T, H, W)
        skip = ignored_mask(sample)  # (1, H, W)
        largest = int(target_ids.max())
        if largest >= len(masks):
            raise ValueError(
                f'{sample_name(sample)}: field `target_ids` holds {largest}, expected at most {len(masks) - 1}: there '
                f'are {len(masks)} target masks in `{target_field(sample)}`'
            )
        both = torch.cat([masks, torch.zeros_like(masks[:1]) if skip is None else skip]).float()[None]
        *small, unlabelled = F.interpolate(both, tuple(size), mode='area')[0]
        unlabelled = unlabelled > 0.5
        small = torch.stack(small).masked_fill(unlabelled, 0.0)
        targets.append(small[target_ids])
        ignored.append(unlabelled.expand(len(target_ids), -1, -1))
    return torch.cat(targets), torch.cat(ignored)
