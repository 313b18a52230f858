"""How well the IoU head knows the quality of its masks."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS

from mmsam_ext.structures.samples import ignored_pixels, predicted_classes, sample_name, target_masks

from ..functional import mask_iou


@METRICS.register_module()
class IoUCalibrationMetric(BaseMetric):
    """Compare the estimated with the true IoU of every prompt's mask, by prompt mode and over all modes together.

    Result keys, each also with ``/<mode>``: ``correlation``, Pearson's, in [-1, 1], left out where one of the two does
    not vary; ``calibration``, the expected calibration error in percent points: prompts are sorted into `bins` of equal
    width by their estimate, clipped to [0, 1], and the gaps between the bins' mean estimate and mean true IoU are
    averaged by the number of prompts; ``estimated_iou`` and ``true_iou``, means in percent.

    Prompts that ask for a target together ("one box per defect"), whose masks have no truth of their own, and prompts
    for an empty target are left out and counted in the log.

    Args:
        bins: Number of bins of the calibration error.
        collect_device, prefix: See BaseMetric.

    Raises:
        ValueError: `bins` below 1; by :meth:`process`, a prediction without `iou_scores` (names the sample).
    """

    def __init__(self, bins: int = 10, collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if bins < 1:
            raise ValueError(f'IoUCalibrationMetric: bins={bins}, expected 1 or more')
        self.bins = bins

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Append one record per sample: (mode, estimate, true IoU) of each prompt, and how many were left out."""
        for sample in data_samples:
            name = sample_name(sample)
            found = sample.get('pred_instances', {})
            if 'iou_scores' not in found:
                raise ValueError(
                    f'{name}: no `pred_instances.iou_scores`; expected the output of a PromptableSegmentor'
                )
            targets = target_masks(sample, check_values=True, num_classes=predicted_classes(sample))
            ignored = ignored_pixels(sample, targets)
            modes = tuple(sample['prompts']['modes']) if 'prompts' in sample else ('none',)
            keys = list(zip(*(found[key].tolist() for key in ('mode_ids', 'target_ids', 'draw_ids')), strict=True))
            together = Counter(keys)
            record: list[tuple[str, float, float]] = []
            for row, key in enumerate(keys):
                logits = found['mask_logits'][row]
                truth = targets[key[1]].to(logits.device)
                counted = logits > 0
                if ignored is not None:
                    truth, counted = truth & ~ignored.to(truth.device), counted & ~ignored.to(truth.device)
                if together[key] == 1 and truth.any():
                    true = float(mask_iou(counted[None], truth)[0])
                    record.append((modes[key[0]], float(found['iou_scores'][row]), true))
            self.results.append(dict(prompts=record, left_out=len(keys) - len(record)))

    def compute_metrics(self, results: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Return the numbers named in the class's docstring; empty where no prompt counts."""
        left_out = sum(record['left_out'] for record in results)
        if left_out:
            print_log(f'IoUCalibrationMetric: {left_out} prompts left out: united, or of an empty target', 'current')
        prompts = [prompt for record in results for prompt in record['prompts']]
        if not prompts:
            print_log('IoUCalibrationMetric: no prompt to score', logger='current', level=logging.WARNING)
            return {}
        modes = np.array([prompt[0] for prompt in prompts])
        pairs = np.array([prompt[1:] for prompt in prompts])  # (N, 2)
        metrics = self._numbers(pairs, '')
        for mode in dict.fromkeys(modes.tolist()):
            metrics.update(self._numbers(pairs[modes == mode], f'/{mode}'))
        return metrics

    def _numbers(self, pairs: np.ndarray, suffix: str) -> dict[str, float]:
        """The results of prompts with (estimate, true IoU), (N, 2)."""
        estimated, true = pairs.T
        numbers = {f'estimated_iou{suffix}': 100 * estimated.mean(), f'true_iou{suffix}': 100 * true.mean()}
        if len(pairs) > 1 and estimated.std() > 0 and true.std() > 0:
            numbers[f'correlation{suffix}'] = np.corrcoef(estimated, true)[0, 1]
        clipped = estimated.clip(0, 1)
        bins = np.minimum((clipped * self.bins).astype(int), self.bins - 1)
        size = np.bincount(bins, minlength=self.bins)
        gaps = np.bincount(bins, clipped, self.bins) - np.bincount(bins, true, self.bins)  # each times its size
        numbers[f'calibration{suffix}'] = 100 * np.abs(gaps).sum() / size.sum()
        return {name: float(value) for name, value in numbers.items()}
