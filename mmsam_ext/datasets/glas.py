"""`GlaSDataset`: glands in colon tissue, in the challenge's own layout."""

from __future__ import annotations

import os

from mmseg.registry import DATASETS

from .benchmark import not_found
from .binary_defect import BinaryDefectDataset, image_files

#: Split -> beginnings of the names of its images.
SPLITS = {'train': ('train_',), 'test': ('testA_', 'testB_'), 'testA': ('testA_',), 'testB': ('testB_',)}
SOURCE = 'https://warwick.ac.uk/fac/cross_fac/tia/data/glascontest/'


@DATASETS.register_module()
class GlaSDataset(BinaryDefectDataset):
    """Load GlaS, the gland segmentation challenge (Sirinukunwattana et al. 2017), in its published layout.

    It has 85 training images and 60 + 20 test images.

    ::

        data_root/train_1.bmp   data_root/train_1_anno.bmp     glands are numbered: every value but 0 is foreground
        data_root/testA_1.bmp   data_root/testB_1.bmp          and their _anno.bmp

    Args:
        split: 'train', 'test' (both parts), 'testA' or 'testB'.
        data_root: Folder of the dataset.
        kwargs: See :class:`BinaryDefectDataset`.

    Raises:
        DatasetNotFoundError: The folder does not exist.
        FileNotFoundError: An image has no annotation, or the split has no images.
        ValueError: The split is unknown.
    """

    METAINFO = dict(classes=('background', 'gland'), palette=[[0, 0, 0], [255, 60, 60]])

    def __init__(self, split: str, data_root: str = 'data/glas', **kwargs) -> None:
        if split not in SPLITS:
            raise ValueError(f'GlaSDataset: split={split!r}, expected one of {tuple(SPLITS)}')
        self.split = split
        kwargs.setdefault('dataset_name', 'glas')
        super().__init__(
            data_root=data_root,
            data_prefix=dict(img_path='', seg_map_path=''),
            mask_suffix='_anno',
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Return a dict for each sample, sorted by name."""
        root = os.path.abspath(self.data_prefix['img_path'])
        if not os.path.isdir(root):
            raise not_found('GlaS', 'train_1.bmp, ...', root, SOURCE)
        files = image_files(root)
        pairs = [
            (name, path, files.get(name + self.mask_suffix))
            for name, path in files.items()
            if os.path.basename(name).startswith(SPLITS[self.split]) and not name.endswith(self.mask_suffix)
        ]
        if not pairs:
            raise FileNotFoundError(
                f'GlaS: no image {" or ".join(SPLITS[self.split])}*.bmp in {root}. Download it from {SOURCE}'
            )
        return [dict(self._info(*pair), defect_class='gland', mask_labels=True) for pair in self._with_masks(pairs)]
