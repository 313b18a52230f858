"""`LabelMapWriter`: predicted label maps as files, for MMSegmentation's analysis tools."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from mmsam_ext.structures.samples import sample_name

FILE = re.compile(r'\d{6,}\.png')


@METRICS.register_module()
class LabelMapWriter(BaseMetric):
    """Write the predicted label map of each sample to ``FOLDER/<index>.png``, where the index is that of the dataset.

    MMSegmentation's ``analysis_tools/confusion_matrix.py`` reads such a folder: it pairs files and samples by their
    order, so the names of images, which may repeat in class folders, do not matter. It returns no metric.

    Args:
        folder: Where to write; made if it is missing. None writes nothing.
        collect_device: See BaseMetric.
        prefix: See BaseMetric.

    Raises:
        FileExistsError: `folder` holds other files.
        ValueError: A sample has no `pred_sem_seg` or no `sample_idx`; names the sample.
    """

    def __init__(
        self, folder: str | Path | None = None, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.folder = None if folder is None else Path(folder)
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            foreign = sorted(path.name for path in self.folder.iterdir() if not FILE.fullmatch(path.name))
            if foreign:
                raise FileExistsError(
                    f'{self.folder}: holds {foreign[0]} ({len(foreign)} files that are not label maps); give '
                    'LabelMapWriter a folder of its own'
                )

    def process(self, data_batch: Any, data_samples: Sequence[Mapping[str, Any]]) -> None:
        """Write the label maps of a batch."""
        for sample in data_samples:
            self.results.append(None)
            if self.folder is None:
                continue
            for field, source in (('pred_sem_seg', 'the segmentor'), ('sample_idx', 'PackPromptInputs')):
                if field not in sample:
                    raise ValueError(f'{sample_name(sample)}: no `{field}`, expected that of {source}')
            labels = sample['pred_sem_seg']['data'][0].cpu().numpy().astype(np.uint8)
            path = self.folder / f'{sample["sample_idx"]:06d}.png'
            if not cv2.imwrite(str(path), labels):
                raise OSError(f'{path}: cannot be written')

    def compute_metrics(self, results: Sequence[None]) -> dict[str, float]:
        """Return no metric."""
        return {}
