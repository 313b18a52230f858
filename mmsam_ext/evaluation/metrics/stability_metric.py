"""`StabilityMetric`: stability under noisy prompts (ST) per prompt mode, dataset and class of defect."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log
from mmseg.registry import METRICS

from mmsam_ext.structures import prompt_groups
from mmsam_ext.structures.samples import sample_labels
from mmsam_ext.utils import check_output_file

from ..functional import stability
from .breakdown import Breakdown, Score


@METRICS.register_module()
class StabilityMetric(BaseMetric):
    """Compute ST of Stable-SAM in percent: how well the masks of several draws of a prompt agree.

    It needs no ground truth.

    Averaged like :class:`PromptIoUMetric`: over images' targets, then over datasets. Result keys: ``ST/<mode>``, ``ST``
    (mean over modes) and, where there are several datasets, ``<dataset>/ST/<mode>``.

    A single draw has an ST of 1 by definition, which says nothing about a model. Targets with a single draw are
    excluded and their number is logged, so a mode that draws once has no ST.

    Args:
        csv_path: File to which the table is written (by the main process, anew by each evaluation); None for no file.
        collect_device: See BaseMetric.
        prefix: See BaseMetric.
        overwrite: Whether the CSV file may be replaced if no earlier run wrote it.

    Raises:
        FileExistsError: The CSV file belongs to the user.
    """

    def __init__(
        self,
        csv_path: str | None = None,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        overwrite: bool = False,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.csv_path, self.overwrite = csv_path, overwrite
        if csv_path is not None:
            check_output_file(csv_path, overwrite=overwrite)

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Append exactly one record of numbers per sample, as results of several ranks are interleaved by sample."""
        for sample in data_samples:
            labels = sample_labels(sample)
            scores: list[Score] = []
            single: list[str] = []
            for mode, _, masks in prompt_groups(sample):
                if len(masks) > 1:
                    scores.append(Score(*labels, mode, (float(stability(masks)),)))
                else:
                    single.append(mode)
            self.results.append(dict(scores=scores, single=single))

    def compute_metrics(self, results: Sequence[dict[str, Any]]) -> dict[str, float]:
        """Average the records, log the tables and write the CSV file.

        Returns:
            Percent by the keys listed in the class docstring; empty if no target has several draws.
        """
        single = [mode for record in results for mode in record['single']]
        for mode in dict.fromkeys(single):
            number = single.count(mode)
            print_log(f'StabilityMetric: {mode}: {number} targets with a single draw, left out', logger='current')
        scores = [Score(*score) for record in results for score in record['scores']]
        if not scores:
            print_log('StabilityMetric: no target with several draws', logger='current', level=logging.WARNING)
            return {}
        breakdown = Breakdown(('ST',), scores)
        print_log(f'\n{breakdown.mode_table()}\n{breakdown.class_table()}', logger='current')
        if self.csv_path is not None:
            breakdown.write_csv(self.csv_path, self.overwrite)
        return breakdown.results()
