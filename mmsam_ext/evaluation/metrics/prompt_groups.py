"""Predictions of one sample, grouped by what their prompts ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

#: MMSegmentation's label of pixels that do not count.
IGNORE_LABEL = 255


class PromptGroup(NamedTuple):
    """What a prompt mode predicts for one target of an image.

    Attributes:
        mode: Name of the prompt mode.
        target: Row of the target among the sample's target masks.
        masks: (D, H, W) bool, one mask per draw, in the order of draw ids. Prompts of the same draw ask for the target
            together ("one box per defect"), so their masks are united.
    """

    mode: str
    target: int
    masks: Tensor


def prompt_groups(sample: Mapping[str, Any]) -> Iterator[PromptGroup]:
    """Yield the groups of a sample, mode by mode, one at a time so that few masks are held at once.

    Args:
        sample: ``SegDataSample.to_dict()`` of a prediction. Without a field `prompts` (a pipeline that makes no
            prompts) the only mode is 'none'.

    Raises:
        ValueError: names the sample, the field, what came and what was expected.
    """
    name = sample_name(sample)
    if 'pred_instances' not in sample:
        raise ValueError(f'{name}: no `pred_instances`; expected the output of a PromptableSegmentor')
    predictions = sample['pred_instances']
    logits: Tensor = predictions['mask_logits']
    modes: tuple[str, ...] = tuple(sample['prompts']['modes']) if 'prompts' in sample else ('none',)
    ids = {key: predictions[key].tolist() for key in ('mode_ids', 'target_ids', 'draw_ids')}
    if logits.ndim != 3:
        raise ValueError(f'{name}: field `mask_logits` has shape {tuple(logits.shape)}, expected (P, H, W)')
    for key, values in ids.items():
        if len(values) != len(logits):
            raise ValueError(f'{name}: field `{key}` has length {len(values)}, expected {len(logits)} as `mask_logits`')
    if any(not 0 <= mode < len(modes) for mode in ids['mode_ids']):
        raise ValueError(f'{name}: field `mode_ids` holds {sorted(set(ids["mode_ids"]))}, but `modes` names {modes}')

    rows: dict[tuple[int, int], dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for row, (mode, target, draw) in enumerate(zip(*ids.values(), strict=True)):
        rows[mode, target][draw].append(row)
    for (mode, target), draws in sorted(rows.items()):
        masks = torch.stack([_united(logits, draws[draw], name) for draw in sorted(draws)])
        yield PromptGroup(modes[mode], target, masks)


def _united(logits: Tensor, rows: list[int], name: str) -> Tensor:
    """(H, W) bool, foreground of any of the rows."""
    mask = logits[rows[0]] > 0
    for row in rows:
        if logits[row].isnan().any():
            raise ValueError(f'{name}: field `mask_logits` row {row} holds NaN, expected numbers')
        mask = mask | (logits[row] > 0)
    return mask


def target_masks(sample: Mapping[str, Any]) -> Tensor:
    """The (T, H, W) bool target masks of a sample: `gt_masks`, or else the foreground (label 1) of `gt_sem_seg`, false
    where pixels are ignored.

    Raises:
        ValueError: no ground truth, or values other than 0 and 1, and 255 in `gt_sem_seg`.
    """
    name = sample_name(sample)
    field = 'gt_masks' if 'gt_masks' in sample else 'gt_sem_seg'
    if field not in sample:
        raise ValueError(f'{name}: neither `gt_masks` nor `gt_sem_seg`; expected a sample with ground truth')
    masks: Tensor = sample[field]['data']
    if masks.ndim != 3:
        raise ValueError(f'{name}: field `{field}` has shape {tuple(masks.shape)}, expected (T, H, W)')
    bad = (masks != 0) & (masks != 1)
    if field == 'gt_sem_seg':
        bad &= masks != IGNORE_LABEL
    if bad.any():
        expected = 'only 0 and 1' if field == 'gt_masks' else f'only 0, 1 and {IGNORE_LABEL} (ignored)'
        raise ValueError(f'{name}: field `{field}` holds {masks.unique().tolist()}, expected {expected}')
    return masks == 1


def ignored_pixels(sample: Mapping[str, Any], like: Tensor) -> Tensor | None:
    """(H, W) bool, the pixels that do not count (255 in `gt_sem_seg`), on the device of `like`; None without any.

    Args:
        like: (..., H, W). Where `gt_masks` kept the original size and `gt_sem_seg` did not, that one is brought back.
    """
    if 'gt_sem_seg' not in sample:
        return None
    ignored = sample['gt_sem_seg']['data'] == IGNORE_LABEL  # (1, H, W)
    if not ignored.any():
        return None
    if ignored.shape[-2:] != like.shape[-2:]:
        ignored = F.interpolate(ignored[None].float(), like.shape[-2:], mode='nearest')[0] > 0
    return ignored[0].to(like.device)


def sample_name(sample: Mapping[str, Any]) -> str:
    """What error messages call a sample."""
    return str(sample.get('sample_id') or sample.get('img_path') or 'sample')


def sample_labels(sample: Mapping[str, Any]) -> tuple[str, str]:
    """Names of the dataset and of the class of defect that a sample belongs to, by which results are broken down."""
    return str(sample.get('dataset_name') or 'dataset'), str(sample.get('defect_class') or 'defect')
