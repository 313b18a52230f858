"""`MoNuSegDataset`: nuclei in tissue, outlined in XML files; whole images or tiles."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mmseg.registry import DATASETS

from .benchmark import not_found
from .binary_defect import BinaryDefectDataset, image_files
from .file_checks import FileCheck
from .transforms.image_files import check_image_file, inspect_image_file
from .transforms.load_nuclei import crop, read_nuclei

SPLITS = ('train', 'test')
SOURCE = 'https://monuseg.grand-challenge.org/Data/'
MASK_FOLDERS = ('masks', 'Masks', 'mask')


@DATASETS.register_module()
class MoNuSegDataset(BinaryDefectDataset):
    """Load MoNuSeg (Kumar et al. 2017): 30 training images of 7 organs and 14 test images, 1000 x 1000 pixels each.

    ::

        data_root/train/.../TCGA-18-5592-01Z-00-DX1.tif   data_root/train/.../TCGA-18-5592-01Z-00-DX1.xml
        data_root/test/...                                the same

    Images and outlines are paired by name. They may be in any folder below `split`, such as those of the archives
    ('Tissue Images', 'Annotations'). PNG masks in a folder `masks` are used where there are no outlines. Hidden files
    (``._TCGA-18-5592-01Z-00-DX1.xml``) are ignored. The pipeline needs :class:`CropTile` after ``LoadImageFromFile``,
    and :class:`LoadNucleiMask`.

    Args:
        split: 'train' or 'test'.
        data_root: Folder of the dataset.
        tile: Side in pixels of the square tiles that cover an image; each tile is a sample. The last tiles of a row or
            column are moved inwards, so all have the same size. None for whole images.
        kwargs: See :class:`BinaryDefectDataset`.

    Raises:
        DatasetNotFoundError: The folder does not exist.
        FileNotFoundError: Outlines have no image, or an image has no outlines.
        ValueError: The split is unknown, tiles are larger than an image, a file is not an XML file of outlines, or two
            images, masks or outlines have the same name.
    """

    METAINFO = dict(classes=('background', 'nucleus'), palette=[[0, 0, 0], [255, 60, 60]])

    def __init__(self, split: str, data_root: str = 'data/monuseg', tile: int | None = None, **kwargs) -> None:
        if split not in SPLITS or (tile is not None and tile < 1):
            raise ValueError(
                f'MoNuSegDataset: split={split!r}, tile={tile}; expected one of {SPLITS}, and None or 1 or more'
            )
        self.split, self.tile = split, tile
        kwargs.setdefault('dataset_name', 'monuseg')
        super().__init__(data_root=data_root, data_prefix=dict(img_path=split, seg_map_path=split), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return a dict for each image or tile, sorted by name."""
        root = os.path.abspath(self.data_prefix['img_path'])
        if not os.path.isdir(root):
            raise not_found('MoNuSeg', 'images and XML files', root, SOURCE)
        files = image_files(root)
        in_masks = {name for name in files if set(Path(name).parts[:-1]) & set(MASK_FOLDERS)}
        images = by_name([path for name, path in files.items() if name not in in_masks])
        masks = by_name([files[name] for name in sorted(in_masks)]) | by_name(outline_files(root))
        lonely = sorted(set(masks) - set(images))
        if lonely:
            raise FileNotFoundError(
                f'{masks[lonely[0]]}: these outlines have no image ({len(lonely)} of {len(masks)} have none); expected '
                f'{lonely[0]}.tif (or png, jpg, bmp) in {root}'
            )
        pairs = self._with_masks([(name, images[name], masks.get(name)) for name in sorted(images)])
        infos = [dict(self._info(*pair), defect_class='nucleus') for pair in pairs]
        return [tile for info in infos for tile in self._tiles(info)]

    def _tiles(self, info: dict) -> list[dict]:
        if self.tile is None:
            return [info]
        height, width = check_image_file(info['img_path'])
        if self.tile > min(height, width):
            raise ValueError(
                f'{info["img_path"]}: the image has {width} x {height} (width x height) pixels; expected at least '
                f'tile={self.tile} on each side'
            )
        corners = [[min(start, size - self.tile) for start in range(0, size, self.tile)] for size in (height, width)]
        return [
            dict(info, sample_id=f'{info["sample_id"]}_{x}_{y}', tile=(x, y, self.tile, self.tile))
            for y in corners[0]
            for x in corners[1]
        ]

    def _check_files(self, info: dict) -> FileCheck:
        """Check the files of a sample; raise an error if one of them is damaged."""
        shape, largest = inspect_image_file(info['img_path'])
        if info['seg_map_path'] is None:
            return FileCheck(True, largest)
        foreground = crop(read_nuclei(info['seg_map_path'], shape), info.get('tile')) == 1
        return FileCheck(not self.drop_empty or bool(foreground.any()), largest, float(foreground.mean()))


def outline_files(root: str) -> list[str]:
    """Return the XML files below `root`, except hidden ones."""
    found = []
    for base, folders, names in os.walk(root, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        found += [
            os.path.join(base, name)
            for name in sorted(names)
            if name.lower().endswith('.xml') and not name.startswith('.')
        ]
    return found


def by_name(paths: Iterable[str]) -> dict[str, str]:
    """Return a dict from each name, without folder and suffix, to its path.

    Raises:
        ValueError: Two files have the same name.
    """
    found: dict[str, str] = {}
    for path in paths:
        name = Path(path).stem
        if name in found:
            raise ValueError(f'{found[name]} and {path} have the same name; expected one file for each name')
        found[name] = path
    return found
