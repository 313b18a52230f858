"""`MVTecADSplitDataset`: MVTec AD's images with a defect, divided to train on and to test on."""

from __future__ import annotations

import hashlib
from collections import defaultdict

from mmseg.registry import DATASETS

from .mvtec_ad import MVTecADDataset

SPLITS = ('train', 'test')


@DATASETS.register_module()
class MVTecADSplitDataset(MVTecADDataset):
    """MVTec AD's 1,258 images with a defect, a share of each kind of defect to train on (ODS-SAM, section 4.1).

    The paper trains on defects and names no split. Here the images of a kind are put in an order that depends on the
    seed and on their names alone (SHA-256), and the first so many of them are for training. With `normal` the test
    images without a defect are divided as one more kind.

    Args:
        split: 'train' or 'test'; together they are all.
        train_share: Of each kind of defect, rounded; at least one image, and one left to test on where there are two.
        seed: Of the order.
        kwargs: See :class:`MVTecADDataset`.

    Raises:
        ValueError: an unknown split, or a share that is not between 0 and 1.
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
        """The samples of the split, in the order of their names."""
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
