"""`SBDDataset`: every instance of the Semantic Boundaries Dataset, for interactive segmentation."""

from __future__ import annotations

import os

from mmseg.registry import DATASETS

from .benchmark import not_found
from .binary_defect import BinaryDefectDataset, read_list, some
from .file_checks import FileCheck
from .transforms.image_files import inspect_image_file

SOURCE = 'http://home.bharathh.info/pubs/codes/SBD/download.html'
SPLITS = ('train', 'val')
#: Share of its box that an instance must cover to be trained on (RITM).
LEAST_FILL = 0.08


@DATASETS.register_module()
class SBDDataset(BinaryDefectDataset):
    """Load SBD (Hariharan et al., ICCV 2011): each instance of an image is an object to click on.

    ::

        data_root/img/2008_000003.jpg   data_root/inst/2008_000003.mat   data_root/val.txt, data_root/train.txt

    The validation split has 2,857 images with 6,671 instances, the training split 8,498 with 20,172. A sample is an
    image with all its instances as targets (`gt_masks`), so that it is encoded once. In training, instances that cover
    less than 8 % of their box are left out, as in RITM. The pipeline needs :class:`LoadObjectMask`.

    Args:
        data_root: Folder of the dataset.
        split: 'val' or 'train', whose list is `<split>.txt`.
        kwargs: See :class:`BinaryDefectDataset`.

    Raises:
        DatasetNotFoundError: The folder does not exist.
        FileNotFoundError: The list, or an image or instance file that it names, is missing.
        ValueError: The split is unknown.
    """

    METAINFO = dict(classes=('background', 'object'), palette=[[0, 0, 0], [255, 60, 60]])

    def __init__(self, data_root: str = 'data/sbd', split: str = 'val', **kwargs) -> None:
        if split not in SPLITS:
            raise ValueError(f'SBDDataset: split={split!r}, expected one of {SPLITS}')
        self.split = split
        kwargs.setdefault('dataset_name', 'sbd')
        super().__init__(
            data_root=data_root,
            data_prefix=dict(img_path='img', seg_map_path='inst'),
            ann_file=f'{split}.txt',
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Return a dict for each image, in the order of the list."""
        images, instances = self.data_prefix['img_path'], self.data_prefix['seg_map_path']
        for folder in (images, instances):
            if not os.path.isdir(folder):
                raise not_found('SBD', 'its folders img and inst', str(self.data_root), SOURCE)
        names = read_list(self.ann_file)
        infos = [
            self._info(name, os.path.join(images, f'{name}.jpg'), os.path.join(instances, f'{name}.mat'))
            for name in names
        ]
        files = [path for info in infos for path in (info['img_path'], info['seg_map_path'])]
        missing = [path for path in files if not os.path.isfile(path)]
        if missing:
            raise FileNotFoundError(
                f'{self.ann_file}: {len(missing)} of the files of {len(names)} listed images are missing: '
                f'{some(missing)}; get the dataset from {SOURCE}'
            )
        fill = LEAST_FILL if self.split == 'train' else 0.0
        return [dict(info, defect_class='object', mask_rule='sbd', min_fill=fill) for info in infos]

    def _check_files(self, info: dict) -> FileCheck:
        """Check the image; instance files are checked when they are loaded."""
        _, largest = inspect_image_file(info['img_path'])
        return FileCheck(True, largest)
