"""`MTDDataset`: magnetic-tile defects, in the dataset's own layout."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mmseg.registry import DATASETS

from .benchmark import check_names, not_found
from .binary_defect import BinaryDefectDataset, read_list

SOURCE = 'https://github.com/abin24/Magnetic-tile-defect-datasets.'  # the dot belongs to the name
CLASSES = ('MT_Blowhole', 'MT_Break', 'MT_Crack', 'MT_Fray', 'MT_Free', 'MT_Uneven')


@DATASETS.register_module()
class MTDDataset(BinaryDefectDataset):
    """Load magnetic-tile defects (Huang, Qiu and Yuan, Surface defect saliency of magnetic tile, 2020).

    ::

        data_root/MT_Blowhole/Imgs/exp1_num_108719.jpg   and the mask exp1_num_108719.png beside it
        data_root/train.txt                              lines like MT_Blowhole/Imgs/exp1_num_108719

    The layout is the published one. `defect_class` is the first folder. The dataset is published without a split:
    ``tools/converters/mtd_split.py`` writes the lists. Some masks are empty under the rule "foreground is > 127"; by
    default these samples are dropped, counted and logged. Images without a defect (MT_Free) have empty masks; load them
    with ``drop_empty=False``, and a list or ``defect_classes=['MT_Free']``.

    Args:
        data_root: Folder of the dataset.
        ann_file: List of samples in `data_root`; if empty, all samples of `defect_classes` are loaded.
        defect_classes: Names of folders, such as 'MT_Crack'; only their samples are loaded. None for all listed samples
            or, without a list, for all folders but MT_Free.
        kwargs: See :class:`BinaryDefectDataset`.

    Raises:
        DatasetNotFoundError: The folder does not exist; the message says where to get the dataset.
        FileNotFoundError: The list, a folder, or a listed image or mask is missing.
        ValueError: A class is unknown (the message suggests the nearest ones), or the chosen classes have no samples.
    """

    def __init__(
        self,
        data_root: str = 'data/mtd',
        ann_file: str = 'train.txt',
        defect_classes: Sequence[str] | None = None,
        **kwargs,
    ) -> None:
        kwargs.setdefault('dataset_name', 'mtd')
        self.defect_classes = defect_classes and check_names('MTD', 'defect_classes', defect_classes, CLASSES)
        super().__init__(
            data_root=data_root, ann_file=ann_file, data_prefix=dict(img_path='', seg_map_path=''), **kwargs
        )

    def load_data_list(self) -> list[dict]:
        """Return a dict for each sample, in the order of `ann_file`."""
        root = self.data_prefix['img_path']
        if not os.path.isdir(root):
            raise not_found('MTD', 'its folders MT_Blowhole, MT_Break, ...', root, f'{SOURCE} (git clone {SOURCE}.git)')
        names = self._listed_names() if self.ann_file else samples_of(root, self.defect_classes)
        missing = [name for name in names if not os.path.isfile(os.path.join(root, f'{name}.jpg'))]
        if missing:
            raise FileNotFoundError(
                f'{self.ann_file}: {len(missing)} of {len(names)} listed samples are missing in '
                f'{os.path.abspath(root)}, for example {missing[0]}.jpg. Download the dataset from {SOURCE}'
            )
        masks = [os.path.join(root, f'{name}.png') for name in names]
        pairs = [
            (name, os.path.join(root, f'{name}.jpg'), mask if os.path.isfile(mask) else None)
            for name, mask in zip(names, masks, strict=True)
        ]
        return [self._info(*pair) for pair in self._with_masks(pairs)]

    def class_folders(self) -> list[str]:
        """Return the folders of defects, those of `defect_classes` if given."""
        return [name for name in self.defect_classes or CLASSES if name != 'MT_Free']

    def _listed_names(self) -> list[str]:
        """Return the names in `ann_file` that are of `defect_classes`."""
        if not os.path.isfile(self.ann_file):
            raise FileNotFoundError(
                f'MTD: the list {os.path.abspath(self.ann_file)} does not exist. The dataset is published without a '
                f'split: run python tools/converters/mtd_split.py {self.data_root} to write train.txt and val.txt, or '
                'write a list with one sample a line, such as MT_Blowhole/Imgs/exp1_num_108719, or set '
                "ann_file='' to load all samples"
            )
        names = read_list(self.ann_file)
        kept = [name for name in names if not self.defect_classes or name.split('/')[0] in self.defect_classes]
        if not kept:
            raise ValueError(
                f'{self.ann_file}: none of {len(names)} samples is of defect_classes={list(self.defect_classes or ())}'
            )
        return kept


def samples_of(root: str, classes: Sequence[str] | None = None) -> list[str]:
    """Return the names of all samples of `classes`, sorted, such as MT_Blowhole/Imgs/exp1_num_108719.

    Args:
        root: Folder of the dataset.
        classes: Names of folders; None for all but MT_Free.

    Raises:
        FileNotFoundError: A folder is missing, or the folders contain no images.
    """
    folders = [name for name in CLASSES if (name in classes if classes else name != 'MT_Free')]
    absent = [name for name in folders if not os.path.isdir(os.path.join(root, name, 'Imgs'))]
    if absent:
        raise FileNotFoundError(
            f'MTD is incomplete: folder {os.path.join(os.path.abspath(root), absent[0], "Imgs")} is missing '
            f'({len(absent)} of {len(folders)} folders are). Download it from {SOURCE}'
        )
    names = [
        f'{folder}/Imgs/{os.path.splitext(file)[0]}'
        for folder in folders
        for file in sorted(os.listdir(os.path.join(root, folder, 'Imgs')))
        if file.endswith('.jpg')
    ]
    if not names:
        raise FileNotFoundError(
            f'MTD: no image in {", ".join(folders)} of {os.path.abspath(root)}, expected Imgs/*.jpg'
        )
    return names
