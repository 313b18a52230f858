"""`HQSeg44KDataset`: the collection of detailed masks that HQ-SAM and Stable-SAM train on, and their four test sets."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mmseg.registry import DATASETS

from .benchmark import check_names, not_found
from .binary_defect import BinaryDefectDataset, some

SOURCE = 'https://huggingface.co/sam-hq-team/sam-hq-training/tree/main/data'
#: Part -> folders of its images (.jpg) and masks (.png).
TRAIN = {
    'DIS5K-TR': ('DIS5K/DIS-TR/im', 'DIS5K/DIS-TR/gt'),
    'ThinObject5K-TR': (
        'thin_object_detection/ThinObject5K/images_train',
        'thin_object_detection/ThinObject5K/masks_train',
    ),
    'FSS-1000': ('cascade_psp/fss_all', 'cascade_psp/fss_all'),
    'DUTS-TR': ('cascade_psp/DUTS-TR', 'cascade_psp/DUTS-TR'),
    'DUTS-TE': ('cascade_psp/DUTS-TE', 'cascade_psp/DUTS-TE'),
    'ECSSD': ('cascade_psp/ecssd', 'cascade_psp/ecssd'),
    'MSRA10K': ('cascade_psp/MSRA_10K', 'cascade_psp/MSRA_10K'),
}
TEST = {
    'DIS5K-VD': ('DIS5K/DIS-VD/im', 'DIS5K/DIS-VD/gt'),
    'ThinObject5K-TE': (
        'thin_object_detection/ThinObject5K/images_test',
        'thin_object_detection/ThinObject5K/masks_test',
    ),
    'COIFT': ('thin_object_detection/COIFT/images', 'thin_object_detection/COIFT/masks'),
    'HRSOD': ('thin_object_detection/HRSOD/images', 'thin_object_detection/HRSOD/masks_max255'),
}


@DATASETS.register_module()
class HQSeg44KDataset(BinaryDefectDataset):
    """Load HQSeg-44K (Ke et al., Segment Anything in High Quality, 2023) in the layout of its authors' training code.

    ::

        data_root/DIS5K/DIS-TR/im/<name>.jpg                                  gt/<name>.png
        data_root/cascade_psp/{fss_all,DUTS-TR,DUTS-TE,ecssd,MSRA_10K}/<name>.jpg   beside it <name>.png
        data_root/thin_object_detection/ThinObject5K/images_train/<name>.jpg  masks_train/<name>.png
        data_root/thin_object_detection/{COIFT,HRSOD}/images/<name>.jpg       masks/ or masks_max255/<name>.png

    Papers name DUT-OMRON as a part; the published collection has DUTS instead, and 44,320 images in all.
    Each sample's `dataset_name` is its part, so that metrics average over parts.

    Args:
        data_root: Folder that holds DIS5K, cascade_psp and thin_object_detection.
        split: 'train' (seven parts) or 'test' (four parts).
        parts: Names of the parts to load; None for all of the split.
        kwargs: See :class:`BinaryDefectDataset`.

    Raises:
        DatasetNotFoundError: All parts are missing; the message says what was expected and where to get it.
        FileNotFoundError: The folder of a part or a mask is missing.
        ValueError: The split or a part is unknown; the message suggests the nearest ones.
    """

    METAINFO = dict(classes=('background', 'object'), palette=[[0, 0, 0], [255, 90, 60]])

    def __init__(
        self,
        data_root: str = 'data/hqseg44k',
        split: str = 'train',
        parts: Sequence[str] | None = None,
        **kwargs,
    ) -> None:
        if split not in ('train', 'test'):
            raise ValueError(f"HQSeg44KDataset: split={split!r}, expected 'train' or 'test'")
        known = TRAIN if split == 'train' else TEST
        self.parts = {
            part: known[part] for part in check_names(f'HQSeg44KDataset {split}', 'parts', parts, tuple(known))
        }
        kwargs.setdefault('dataset_name', 'hqseg44k')
        super().__init__(data_root=data_root, data_prefix=dict(img_path='', seg_map_path=''), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return a dict for each sample, part by part, sorted by name."""
        root = self.data_prefix['img_path']
        if not any(os.path.isdir(os.path.join(root, images)) for images, _ in self.parts.values()):
            folders = [images for images, _ in self.parts.values()]
            raise not_found(
                'HQSeg-44K', f'the folders {some(folders)} of its parts {some(list(self.parts))}', root, SOURCE
            )
        return [info for part in self.parts for info in self._load_part(part)]

    def _load_part(self, part: str) -> list[dict]:
        root = os.path.abspath(self.data_prefix['img_path'])
        images, masks = (os.path.join(root, folder) for folder in self.parts[part])
        for folder in (images, masks):
            if not os.path.isdir(folder):
                raise FileNotFoundError(
                    f'HQSeg-44K is incomplete: folder {folder} of its part {part} is missing. Download it from '
                    f'{SOURCE}, or list the parts to load in `parts`'
                )
        names = sorted(name[:-4] for name in os.listdir(images) if name.endswith('.jpg') and name[0] != '.')
        if not names:
            raise FileNotFoundError(f'HQSeg-44K: the folder {images} of its part {part} contains no image <name>.jpg')
        pairs = []
        for name in names:
            mask = os.path.join(masks, f'{name}.png')
            pairs.append(
                (f'{part}/{name}', os.path.join(images, f'{name}.jpg'), mask if os.path.isfile(mask) else None)
            )
        infos = [self._info(*pair) for pair in self._with_masks(pairs)]
        return [dict(info, dataset_name=part, defect_class='object') for info in infos]
