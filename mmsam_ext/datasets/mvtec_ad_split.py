"""`MVTecADSplitDataset`: MVTec AD's images with a defect, divided into training and test images."""

from __future__ import annotations

import hashlib
from collections import defaultdict

from mmseg.registry import DATASETS

from .mvtec_ad import MVTecADDataset

SPLITS = ('train', 'test')


@DATASETS.register_module()
class MVTecADSplitDataset(MVTecADDataset):
    """Divide MVTec AD's 1,258 images with a defect into training and test images (ODS-SAM, section 4.1).

    The paper trains on images with defects but does not name a split. Here the images of each kind of defect are sorted
    by a hash (SHA-256) of the seed and their names, and the first `train_share` of them are for training. With
    `normal`, the test images without a defect are divided in the same way.

    Args:
        split: 'train' or 'test'; together they contain all images.
        train_share: Share of each kind of defect for training, rounded to whole images; at least one image, and at most
            all but one where there are two or more.
        seed: Seed of the order.
        kwargs: See :class:`MVTecADDataset`.

    Raises:
        ValueError: The split is unknown, or the share is not between 0 and 1.
    """

    def __init__(self, split: str, train_share: float = 0.8, seed: int = 0, **kwargs) -> None:
        if split not in SPLITS or not 0 < train_share < 1:
            raise ValueError(
                f'MVTecADSplitDataset: split={split!r}, train_share={train_share}, expected one of {SPLITS} and a '
                'number between 0 and 1'
            )
        self.split, self.train_share, self.seed = split, train_share, seed
        super().__init__(**kwargs)

    def load_data_list(self) -> list[dict]:
        """Return the samples of the split, sorted by name."""
        samples = super().load_data_list()
        by_kind = defaultdict(list)
        for sample in samples:
            by_kind[sample['defect_class']].append(sample['sample_id'])
        chosen: set[str] = set()
        for names in by_kind.values():
            names.sort(key=lambda name: hashlib.sha256(f'{self.seed}/{name}'.encode()).digest())
            number = max(1, min(round(self.train_share * len(names)), len(names) - 1))
            chosen.update(names[:number] if self.split == 'train' else names[number:])
        return [sample for sample in samples if sample['sample_id'] in chosen]
