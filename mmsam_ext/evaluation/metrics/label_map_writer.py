"""`LabelMapWriter`: predicted label maps as files, for MMSegmentation's analysis tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from mmengine.dist import get_rank
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS

from mmsam_ext.structures.samples import sample_name
from mmsam_ext.utils import ResultFolder


@METRICS.register_module()
class LabelMapWriter(BaseMetric):
    """Write the predicted label map of each sample to ``FOLDER/<index>.png``, where the index is that of the dataset.

    MMSegmentation's ``analysis_tools/confusion_matrix.py`` reads such a folder: it pairs files and samples by their
    order, so the names of images, which may repeat in class folders, do not matter. It returns no metric.

    Args:
        folder: Where to write; made if it is missing. Files of an earlier test are replaced. None writes nothing.
        collect_device: See BaseMetric.
        prefix: See BaseMetric.

    Raises:
        FileExistsError: `folder` holds files that no earlier test wrote.
        ValueError: A sample has no `pred_sem_seg` or no `sample_idx`; names the sample.
    """

    def __init__(
        self, folder: str | Path | None = None, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.folder = None if folder is None else Path(folder).resolve()
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            # The manifest is put beside the folder, as MMSegmentation's tool takes all files in it for label maps.
            self.results_beside = ResultFolder(self.folder.parent, rank=get_rank())
            names = sorted(f'{self.folder.name}/{path.name}' for path in self.folder.iterdir())
            foreign = [name for name in names if not self.results_beside.wrote(name)]
            if foreign:
                raise FileExistsError(
                    f'{self.folder}: holds {foreign[0]} ({len(foreign)} files that no earlier test wrote); give '
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
            file = f'{self.folder.name}/{sample["sample_idx"]:06d}.png'
            self.results_beside.write(file, cv2.imencode('.png', labels)[1].tobytes())

    def compute_metrics(self, results: Sequence[None]) -> dict[str, float]:
        """Return no metric."""
        return {}
