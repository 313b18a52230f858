"""What metrics of a whole image's foreground share: no prompts, one map and one target for an image."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from prettytable import PrettyTable
from torch import Tensor

from mmsam_ext.structures.samples import (
    ignored_pixels,
    predicted_classes,
    sample_labels,
    sample_name,
    target_masks,
)

GROUPINGS = ('dataset', 'category')


def foreground_logits(sample: Mapping[str, Any]) -> Tensor:
    """(H, W) logits of the foreground, from this package's segmentors or from any of MMSegmentation's binary ones.

    Args:
        sample: ``SegDataSample.to_dict()`` of a prediction. `seg_logits` are (1, H, W) logits where there are
            `pred_instances` too, (1, H, W) probabilities where there are none (so MMSegmentation leaves them), or
            (2, H, W) logits of background and foreground. Of K classes of this package's segmentors, (K + 1, H, W), the
            foreground is the highest.

    Raises:
        ValueError: no `seg_logits`, another number of channels, or NaN.
    """
    name = sample_name(sample)
    if 'seg_logits' not in sample:
        raise ValueError(f'{name}: no `seg_logits`; expected the output of a segmentor')
    logits: Tensor = sample['seg_logits']['data'].float()
    ours = 'pred_instances' in sample
    classes = ours and 'class_ids' in sample['pred_instances']
    if logits.ndim != 3 or not (len(logits) in (1, 2) or (classes and len(logits) > 2)):
        raise ValueError(
            f'{name}: field `seg_logits` has shape {tuple(logits.shape)}, expected (1, H, W) or (2, H, W) of a binary '
            'segmentation'
        )
    if logits.isnan().any():
        raise ValueError(f'{name}: field `seg_logits` holds NaN, expected numbers')
    if len(logits) > 1:
        return logits[1:].amax(0) - logits[0]
    return logits[0] if ours else logits[0].logit()


def foreground_target(sample: Mapping[str, Any], like: Tensor) -> Tensor:
    """Return the union of a sample's targets, (H, W) bool, on the device of `like`.

    Raises:
        ValueError: The target is not binary, or its size is not that of `like` (H, W).
    """
    target = target_masks(sample, check_values=True, num_classes=predicted_classes(sample)).any(0)
    if target.shape != like.shape:
        raise ValueError(
            f'{sample_name(sample)}: prediction of {tuple(like.shape)} and target of {tuple(target.shape)} (H, W), '
            'expected the same size; load masks after Resize in a pipeline for testing'
        )
    return target.to(like.device)


def group_name(sample: Mapping[str, Any], by: str) -> str:
    """Return the dataset of a sample, or its category: `defect_class` up to a '/' ('bottle' of 'bottle/broken')."""
    dataset, defect_class = sample_labels(sample)
    return dataset if by == 'dataset' else defect_class.split('/')[0]


def check_grouping(owner: str, by: str) -> str:
    """Return `by` if it is one of GROUPINGS.

    Raises:
        ValueError: It is not.
    """
    if by not in GROUPINGS:
        raise ValueError(f'{owner}: by={by!r}, expected one of {GROUPINGS}')
    return by


def report(owner: str, names: Sequence[str], by_group: Mapping[str, tuple[int, Mapping[str, float]]]) -> dict:
    """Average groups and log a table.

    Args:
        owner: Name of the metric.
        names: Names of its columns.
        by_group: Group -> (number of images, name -> value), without undefined values.

    Returns:
        ``<name>``, the mean over the groups for which it is defined, and with several groups ``<group>/<name>``. An
        undefined value has no key; a warning is logged.
    """
    table = PrettyTable(['Group', *names, 'Images'], align='r')
    table.align['Group'] = 'l'
    results: dict[str, float] = {}
    for group, (number, values) in sorted(by_group.items()):
        table.add_row([group, *(f'{values[name]:.4g}' if name in values else 'undefined' for name in names), number])
        undefined = [name for name in names if name not in values]
        if undefined:
            print_log(
                f'{owner}: {", ".join(undefined)} undefined for {group}: its {number} images lack foreground or '
                'background',
                'current',
                logging.WARNING,
            )
        if len(by_group) > 1:
            results |= {f'{group}/{name}': value for name, value in values.items()}
    for name in names:
        defined = [values[name] for _, values in by_group.values() if name in values]
        if defined:
            results[name] = math.fsum(defined) / len(defined)
    if len(by_group) > 1:
        total = sum(number for number, _ in by_group.values())
        means = (f'{results[name]:.4g}' if name in results else 'undefined' for name in names)
        table.add_row(['mean', *means, total])
    print_log(f'{owner}\n{table}', logger='current')
    return results


class ForegroundMetric(BaseMetric):
    """Average numbers of each image over the images of a group, then over groups.

    Ignored pixels (255) do not count; fully ignored images are excluded from the mean.

    Args:
        by: What a group is: 'dataset' (`dataset_name`) or 'category' (`defect_class` up to its first '/').
        collect_device: See BaseMetric.
        prefix: See BaseMetric.
    """

    #: Keys of the results.
    names: tuple[str, ...]

    def __init__(self, by: str = 'dataset', collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.by = check_grouping(type(self).__name__, by)

    @abstractmethod
    def measure(self, logits: Tensor, target: Tensor) -> Tensor | None:
        """Return numbers of an image, whose means :meth:`summarize` takes, or None to exclude the image.

        The numbers may not depend on the positions of pixels.

        Args:
            logits: (H, W) logits of the foreground, or (1, n) of the pixels that count if not all do.
            target: Bool of the same shape.
        """

    @abstractmethod
    def summarize(self, means: Tensor) -> dict[str, float]:
        """Turn the means of :meth:`measure` over the images of a group into name -> value."""

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Append exactly one record per sample, as the results of several ranks are interleaved by sample."""
        for sample in data_samples:
            logits = foreground_logits(sample)
            target, ignored = foreground_target(sample, logits), ignored_pixels(sample, logits)
            if ignored is not None:
                logits, target = logits[~ignored][None], target[~ignored][None]  # (1, n)
            numbers = self.measure(logits, target) if logits.numel() else None
            numbers = None if numbers is None else numbers.double().cpu()
            self.results.append(dict(group=group_name(sample, self.by), numbers=numbers))

    def compute_metrics(self, results: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Average the records and log a table. The keys are those of :func:`report`."""
        by_group = {}
        for group in {record['group'] for record in results}:
            records = [record['numbers'] for record in results if record['group'] == group]
            counted = [numbers for numbers in records if numbers is not None]
            by_group[group] = (len(records), self.summarize(torch.stack(counted).mean(0)) if counted else {})
        return report(type(self).__name__, self.names, by_group)
