"""`PromptIoUMetric`: mIoU, mBIoU and optionally ST per prompt mode, dataset and class of defect."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS

from mmsam_ext.structures import prompt_groups
from mmsam_ext.structures.samples import (
    IGNORE_LABEL,
    ignored_pixels,
    predicted_classes,
    sample_labels,
    sample_name,
    target_masks,
)
from mmsam_ext.utils import check_output_file

from ..functional import boundary_f1, boundary_iou, cl_dice, mask_iou, stability
from .breakdown import Breakdown, Score
from .mask_writer import MaskWriter, check_owners


@METRICS.register_module()
class PromptIoUMetric(BaseMetric):
    """Compute IoU and boundary IoU of predicted masks against the targets of their prompts, in percent.

    By SPT's protocol, the score of a target is the mean over its draws (masks of the same mode, draw and target are
    united first), that of a dataset the mean over its images' targets, and the overall result the mean over datasets.

    The keys are ``mIoU/<mode>`` and ``mBIoU/<mode>``, the same for each of `mode_groups`, ``mIoU`` and ``mBIoU`` (mean
    over modes) and, with several datasets, ``<dataset>/mIoU/<mode>`` and so on. Give a `prefix` if MMSeg's IoUMetric,
    which has a key ``mIoU`` too, is in the same evaluator.

    Ignored pixels (255 in `gt_sem_seg`) do not count for IoU. Boundary IoU has no meaning with them, as the contour
    next to them is not known: with `boundary` they are an error.

    Empty targets are not scored (the paper drops such images); their number is logged.

    Args:
        dilation_ratio: Width of the boundary region as a fraction of the image diagonal.
        boundary: Whether to compute mBIoU.
        stability: Whether to add ST of Stable-SAM as a column (``ST/<mode>``, ``ST``), for targets with several draws.
            The numbers are those of :class:`StabilityMetric`, which scores empty targets too and needs no truth.
        mode_groups: Name -> prompt modes whose means are averaged under it where all of them have scores, as
            'box-level' and 'point-level' in SPT's tables.
        csv_path: File to which the table is written (by the main process, anew by each evaluation); None for no file.
        output_dir: Folder for the predicted masks (``tools/test.py --out``), one folder for each dataset and in it one
            for each prompt mode; see :class:`MaskWriter`. None for no files.
        output_modes: Prompt modes whose masks are written; None for all.
        output_draws: Number of random draws whose masks are written.
        overwrite: Whether the CSV file and files in `output_dir` may be replaced that no earlier run wrote.
        keep_results: Accepted because MMSeg's test.py sets it; files in `output_dir` are always kept.
        collect_device: See BaseMetric.
        prefix: See BaseMetric.
        thin: Whether to add clDice and the F1 score of contours as columns (``clDice``, ``BF1``), for thin structures,
            where boundary IoU equals IoU: see :func:`cl_dice` and :func:`boundary_f1`.
        tolerance: Of BF1, in pixels.

    Raises:
        ValueError: In :meth:`process`, prediction and ground truth do not match; names the sample and the field.
        FileExistsError: The CSV file, or PNG files in `output_dir`, belong to the user.
    """

    def __init__(
        self,
        dilation_ratio: float = 0.02,
        boundary: bool = True,
        stability: bool = False,
        mode_groups: Mapping[str, Sequence[str]] | None = None,
        csv_path: str | None = None,
        output_dir: str | None = None,
        output_modes: Sequence[str] | None = None,
        output_draws: int = 1,
        overwrite: bool = False,
        keep_results: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        thin: bool = False,
        tolerance: float = 2.0,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        if not 0 < dilation_ratio < 1:
            raise ValueError(
                f'PromptIoUMetric: `dilation_ratio` is {dilation_ratio}, expected a number between 0 and 1'
            )
        self.dilation_ratio = dilation_ratio
        self.boundary = boundary
        self.stability = stability
        self.thin, self.tolerance = thin, tolerance
        self.mode_groups = dict(mode_groups or {})
        self.csv_path, self.overwrite = csv_path, overwrite
        if csv_path is not None:
            check_output_file(csv_path, overwrite=overwrite)
        self.writer = None if output_dir is None else MaskWriter(output_dir, output_modes, output_draws, overwrite)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Append exactly one record of numbers per sample, as results of several ranks are interleaved by sample."""
        for sample in data_samples:
            record = self._record(sample)
            if self.writer is not None:
                record['files'] = self.writer.write(sample)
            self.results.append(record)

    def _record(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        name = sample_name(sample)
        dataset, defect_class = sample_labels(sample)
        targets = target_masks(sample, check_values=True, num_classes=predicted_classes(sample))  # (T, H, W)
        ignored = ignored_pixels(sample, targets)
        if ignored is not None:
            if self.boundary or self.thin:
                raise ValueError(
                    f'{name}: field `gt_sem_seg` holds {IGNORE_LABEL} (ignored pixels), and boundary IoU, clDice and '
                    'BF1 have no meaning next to them; expected only 0 and 1, or boundary=False and '
                    'thin=False'
                )
            targets = targets & ~ignored
        scores: list[Score] = []
        class_of = self._classes_of_targets(sample)
        empty: set[int] = set()
        for mode, target, masks in prompt_groups(sample):
            if not 0 <= target < len(targets):
                raise ValueError(
                    f'{name}: field `target_ids` holds {target}, but there are {len(targets)} target masks'
                )
            if masks.shape[-2:] != targets.shape[-2:]:
                raise ValueError(
                    f'{name}: field `mask_logits` is {tuple(masks.shape[-2:])} and the target masks are '
                    f'{tuple(targets.shape[-2:])} (H, W), expected the same size'
                )
            truth = targets[target].to(masks.device)
            if not truth.any():
                empty.add(target)
                continue
            counted = masks if ignored is None else masks & ~ignored.to(masks.device)
            values = [mask_iou(counted, truth)]
            if self.boundary:
                values.append(boundary_iou(masks, truth, self.dilation_ratio))
            if self.thin:
                values += [cl_dice(masks, truth), boundary_f1(masks, truth, self.tolerance)]
            # exactly rounded, so that the number of draws that agree cannot shift the last digit
            means = tuple(math.fsum(value.tolist()) / len(masks) for value in values)
            if self.stability:
                means += (float(stability(masks)) if len(masks) > 1 else None,)
            scores.append(Score(dataset, class_of.get(target, defect_class), mode, means))
        unprompted = not scores and not empty
        return dict(
            scores=scores,
            empty=len(empty) + int(unprompted and not targets.any()),
            unprompted=unprompted and bool(targets.any()),
        )

    def _classes_of_targets(self, sample: Mapping[str, Any]) -> dict[int, str]:
        """Return the names of the classes of the targets of a sample; empty if its prompts carry no classes."""
        names, predictions = (self.dataset_meta or {}).get('classes', ()), sample['pred_instances']
        labels = predictions['class_ids'].tolist() if 'class_ids' in predictions else ()
        return {
            target: names[label]
            for target, label in zip(predictions['target_ids'].tolist(), labels, strict=False)
            if 0 < label < len(names)
        }

    def compute_metrics(self, results: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Average the records, log the tables and write the CSV file.

        Returns:
            Percent by the keys listed in the class docstring; empty if no target could be scored.

        Raises:
            ValueError: Two images, of two processes, wrote a file of the same name to `output_dir`.
        """
        check_owners(record.get('files', {}) for record in results)
        empty = sum(record['empty'] for record in results)
        unprompted = sum(record['unprompted'] for record in results)
        if empty:
            print_log(f'PromptIoUMetric: {empty} empty targets in {len(results)} samples, not scored', logger='current')
        if unprompted:
            print_log(f'PromptIoUMetric: {unprompted} of {len(results)} samples had no prompt', logger='current')
        scores = [Score(*score) for record in results for score in record['scores']]
        if not scores:
            print_log('PromptIoUMetric: no target to score', logger='current', level=logging.WARNING)
            return {}
        names = ('mIoU', *['mBIoU'] * self.boundary, *['clDice', 'BF1'] * self.thin, *['ST'] * self.stability)
        breakdown = Breakdown(names, scores, self.mode_groups)
        print_log(f'\n{breakdown.mode_table()}\n{breakdown.class_table()}', logger='current')
        if self.csv_path is not None:
            breakdown.write_csv(self.csv_path, self.overwrite)
        return breakdown.results()
