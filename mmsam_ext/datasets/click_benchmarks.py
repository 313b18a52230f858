"""Small benchmarks of interactive segmentation with one object in each image: GrabCut, Berkeley and DAVIS-345."""

from __future__ import annotations

import os

from mmseg.registry import DATASETS

from .benchmark import not_found
from .binary_defect import BinaryDefectDataset

SOURCE = 'https://github.com/SamsungLabs/ritm_interactive_segmentation (section Datasets)'


class ClickBenchmarkDataset(BinaryDefectDataset):
    """Load images and masks from two folders, paired by name, with one object in each image.

    The pipeline needs :class:`LoadObjectMask`.

    Args:
        data_root: Folder of the dataset; by default data/ and the dataset's name.
        kwargs: See :class:`BinaryDefectDataset`.

    Raises:
        DatasetNotFoundError: The folder does not exist.
        FileNotFoundError, ValueError: See :class:`BinaryDefectDataset`.
    """

    METAINFO = dict(classes=('background', 'object'), palette=[[0, 0, 0], [255, 60, 60]])
    TITLE: str
    #: `dataset_name`, and the name of its folder in data/.
    NAME: str
    #: Folders of images and of masks.
    FOLDERS: tuple[str, str]
    #: How :class:`LoadObjectMask` reads a mask.
    MASK_RULE = 'trimap'

    def __init__(self, data_root: str | None = None, **kwargs) -> None:
        kwargs.setdefault('dataset_name', self.NAME)
        kwargs.setdefault('drop_empty', False)  # an empty mask is an error when it is loaded
        images, masks = self.FOLDERS
        root = data_root or f'data/{self.NAME}'
        if not all(os.path.isdir(os.path.join(root, folder)) for folder in self.FOLDERS):
            raise not_found(self.TITLE, f'its folders {images} and {masks}', root, SOURCE)
        super().__init__(data_root=root, data_prefix=dict(img_path=images, seg_map_path=masks), **kwargs)

    def _info(self, name: str, image: str, mask: str | None) -> dict:
        return dict(super()._info(name, image, mask), defect_class='object', mask_rule=self.MASK_RULE)


@DATASETS.register_module()
class GrabCutDataset(ClickBenchmarkDataset):
    """Load GrabCut (Rother et al., SIGGRAPH 2004): 50 objects in 50 images. Mask value 128 is ignored; above is object.

    ::

        data_root/data_GT/banana1.bmp   data_root/boundary_GT/banana1.bmp

    Args:
        data_root, kwargs: See :class:`ClickBenchmarkDataset`; default data/grabcut.
    """

    TITLE, NAME, FOLDERS = 'GrabCut', 'grabcut', ('data_GT', 'boundary_GT')


@DATASETS.register_module()
class BerkeleyDataset(ClickBenchmarkDataset):
    """Load Berkeley (McGuinness and O'Connor, 2010): 100 objects in 96 images, with mask values as in GrabCut.

    ::

        data_root/images/113044.jpg   data_root/masks/113044.png

    Args:
        data_root, kwargs: See :class:`ClickBenchmarkDataset`; default data/berkeley.
    """

    TITLE, NAME, FOLDERS = 'Berkeley', 'berkeley', ('images', 'masks')


@DATASETS.register_module()
class DAVIS345Dataset(ClickBenchmarkDataset):
    """DAVIS-345: frames of DAVIS (Perazzi et al., CVPR 2016), the object is where any channel of the mask is above 0.

    ::

        data_root/img/bear_00000.jpg   data_root/gt/bear_00000.png

    Args:
        data_root, kwargs: See :class:`ClickBenchmarkDataset`; default data/davis345.
    """

    TITLE, NAME, FOLDERS, MASK_RULE = 'DAVIS-345', 'davis345', ('img', 'gt'), 'any_channel'
