"""`VisADataset`: 12 categories of objects, in the dataset's own layout."""

from __future__ import annotations

import csv
import io
import os

from mmseg.registry import DATASETS

from mmsam_ext.utils import read_text

from .benchmark import BenchmarkDataset, Sample
from .binary_defect import image_files


@DATASETS.register_module()
class VisADataset(BenchmarkDataset):
    """Load VisA (Zou et al., ECCV 2022) in its published layout.

    `defect_class` is 'pcb1/bent' and so on. The class of an image with several kinds of defect lists them:
    'pcb1/bent, scratch'.

    ::

        data_root/<category>/Data/Images/Anomaly/000.JPG
        data_root/<category>/Data/Masks/Anomaly/000.png    a number for each kind: every value but 0 is foreground
        data_root/<category>/image_anno.csv                columns image, label, mask

    Args:
        data_root, categories, kwargs: See :class:`BenchmarkDataset`.

    Raises:
        ValueError: `image_anno.csv` lacks a column or one of the images.
    """

    TITLE = 'VisA'
    NAME = 'visa'
    SOURCE = 'https://github.com/amazon-science/spot-diff'
    CATEGORIES = (
        'candle', 'capsules', 'cashew', 'chewinggum', 'fryum', 'macaroni1', 'macaroni2', 'pcb1', 'pcb2', 'pcb3',
        'pcb4', 'pipe_fryum',
    )  # fmt: skip

    def read_category(self, folder: str, category: str) -> list[Sample]:
        """See :class:`BenchmarkDataset`."""
        images = image_files(self.folder(folder, 'Data', 'Images', 'Anomaly'))
        masks = image_files(self.folder(folder, 'Data', 'Masks', 'Anomaly'))
        path = os.path.join(folder, 'image_anno.csv')
        kinds = self._kinds(path)
        unnamed = [name for name in images if name not in kinds]
        if unnamed:
            raise ValueError(
                f'{path}: {len(unnamed)} of {len(images)} images have no line, for example Anomaly/{unnamed[0]}'
            )
        return [
            Sample(f'{category}/{name}', image, masks.get(name), f'{category}/{kinds[name]}')
            for name, image in images.items()
        ]

    def _info(self, name: str, image: str, mask: str | None) -> dict:
        return dict(super()._info(name, image, mask), mask_labels=True)

    def _kinds(self, path: str) -> dict[str, str]:
        """Return the kinds of defect of each image below Anomaly, by its stem, from an `image_anno.csv`."""
        if not os.path.isfile(path):
            raise FileNotFoundError(
                f'{self.TITLE} is incomplete: file {path} is missing. Download it from {self.SOURCE}'
            )
        reader = csv.DictReader(io.StringIO(read_text(path)))
        columns = reader.fieldnames or []
        if not {'image', 'label'} <= set(columns):
            raise ValueError(f'{path}: the columns are {columns}; expected image, label and mask')
        lines = [line for line in reader if '/Anomaly/' in line['image']]
        return {
            os.path.splitext(os.path.basename(line['image']))[0]: ', '.join(
                sorted(part.strip() for part in line['label'].split(','))
            )
            for line in lines
        }
