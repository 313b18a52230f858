"""Predictions of one sample, grouped by the prompt mode and the target of their prompts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .samples import sample_name


class PromptGroup(NamedTuple):
    """The masks that a prompt mode predicts for one target of an image.

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
    """Yield the groups of a sample, mode by mode, one at a time so that few masks are in memory at once.

    Args:
        sample: ``SegDataSample.to_dict()`` of a prediction. Without a field `prompts` (a pipeline that makes no
            prompts) the only mode is 'none'.

    Yields:
        The groups, sorted by mode and target.

    Raises:
        ValueError: The sample has no prediction, or its fields do not fit together. The message names the sample, the
            field, what came and what was expected.
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
    """Return (H, W) bool, the union of the foreground of the rows."""
    mask = logits[rows[0]] > 0
    for row in rows:
        if logits[row].isnan().any():
            raise ValueError(f'{name}: field `mask_logits` row {row} holds NaN, expected numbers')
        mask = mask | (logits[row] > 0)
    return mask
