"""`PolypDataset`: polyps in colonoscopy, in the layout of PraNet's collection."""

from __future__ import annotations

import os

from mmseg.registry import DATASETS

from .benchmark import not_found
from .binary_defect import BinaryDefectDataset

#: Subset -> folders of its images and masks. Older copies of the collection have 'images' and 'masks' for training.
FOLDERS = {
    'train': ('TrainDataset/image', 'TrainDataset/mask'),
    **{
        name: (f'TestDataset/{name}/images', f'TestDataset/{name}/masks')
        for name in ('Kvasir', 'CVC-ClinicDB', 'CVC-ColonDB', 'ETIS-LaribPolypDB', 'CVC-300')
    },
}
SOURCE = 'https://github.com/DengPingFan/PraNet'


@DATASETS.register_module()
class PolypDataset(BinaryDefectDataset):
    """Load one part of PraNet's collection of polyp images (Fan et al., MICCAI 2020).

    The training images are 900 of Kvasir-SEG and 550 of CVC-ClinicDB. The test sets are the rest of these two (100 and
    62 images), ColonDB (380), ETIS (196) and CVC-300 (60).

    ::

        data_root/TrainDataset/image/1.png          data_root/TrainDataset/mask/1.png      (or images, masks)
        data_root/TestDataset/Kvasir/images/1.png   data_root/TestDataset/Kvasir/masks/1.png

    Args:
        subset: 'train' or a test set: 'Kvasir', 'CVC-ClinicDB', 'CVC-ColonDB', 'ETIS-LaribPolypDB' or 'CVC-300'. It is
            also the `dataset_name`, by which metrics distinguish the sets.
        data_root: Folder of the collection.
        kwargs: See :class:`BinaryDefectDataset`.

    Raises:
        DatasetNotFoundError: The folder of the subset does not exist.
        ValueError: The subset is unknown.
    """

    METAINFO = dict(classes=('background', 'polyp'), palette=[[0, 0, 0], [255, 60, 60]])

    def __init__(self, subset: str, data_root: str = 'data/polyp', **kwargs) -> None:
        if subset not in FOLDERS:
            raise ValueError(f'PolypDataset: subset={subset!r}, expected one of {tuple(FOLDERS)}')
        images, masks = FOLDERS[subset]
        if subset == 'train' and os.path.isdir(os.path.join(data_root, images + 's')):
            images, masks = images + 's', masks + 's'
        if not os.path.isdir(os.path.join(data_root, images)):
            raise not_found(f'Polyps ({subset})', f'the folders {images} and {masks}', data_root, SOURCE)
        kwargs.setdefault('dataset_name', 'polyp_train' if subset == 'train' else subset)
        super().__init__(data_root=data_root, data_prefix=dict(img_path=images, seg_map_path=masks), **kwargs)

    def _info(self, name: str, image: str, mask: str | None) -> dict:
        return dict(super()._info(name, image, mask), defect_class='polyp')
