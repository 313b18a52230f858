"""`CelebAMaskHQDataset`: faces and their parts, in the dataset's own layout."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS

from mmsam_ext.utils import read_text

from .benchmark import check_names, not_found

SOURCE = 'https://github.com/switchablenorms/CelebAMask-HQ'
IMAGES, MASKS, MAPPING = 'CelebA-HQ-img', 'CelebAMask-HQ-mask-anno', 'CelebA-HQ-to-CelebA-mapping.txt'
#: Parts as in the names of mask files: l_ and r_ are the person's left and right, eye_g is glasses, ear_r an ear ring,
#: neck_l a necklace, u_lip and l_lip are the upper and lower lip, mouth is what lies between them.
PARTS = (
    'skin', 'nose', 'eye_g', 'l_eye', 'r_eye', 'l_brow', 'r_brow', 'l_ear', 'r_ear',
    'mouth', 'u_lip', 'l_lip', 'hair', 'hat', 'ear_r', 'neck_l', 'neck', 'cloth',
)  # fmt: skip
#: Split -> first number, and last number + 1, in CelebA (the mapping's second column), as in the authors' face parsing.
SPLITS = {'train': (0, 162_771), 'val': (162_771, 182_638), 'test': (182_638, 10**9)}
_IN_A_FOLDER = 2000


@DATASETS.register_module()
class CelebAMaskHQDataset(BaseSegDataset):
    """Load CelebAMask-HQ (Lee et al., MaskGAN, CVPR 2020) in its published layout: 30,000 faces, masks of parts.

    ::

        data_root/CelebA-HQ-img/0.jpg                               1024 x 1024
        data_root/CelebAMask-HQ-mask-anno/0/00000_l_brow.png        512 x 512, one file a part, 2,000 faces a folder
        data_root/CelebA-HQ-to-CelebA-mapping.txt                   columns idx, orig_idx, orig_file, with a header line

    The parts of a face are the targets of its prompts; load them with :class:`LoadFaceParts`. Parts overlap (the skin
    continues under the brows). Left and right have different names, so do not flip the images. Splits follow the number
    in CelebA. Faces that have none of the requested parts are dropped, counted and logged. Whether the images exist is
    checked when the dataset is built; they are opened when they are loaded.

    Args:
        data_root: Folder of the dataset.
        split: 'train' (24,183 faces), 'val' (2,993) or 'test' (2,824).
        parts: Names of the parts that are targets; None for all 18.
        dataset_name: Name in tables.
        kwargs: See ``BaseSegDataset``.

    Raises:
        DatasetNotFoundError: `data_root` contains nothing of the dataset; the message says where to get it.
        FileNotFoundError: A folder, the mapping or an image is missing.
        ValueError: A part or the split is unknown (the message suggests the nearest parts), or no face has any part.
    """

    METAINFO = dict(classes=('background', 'face part'), palette=[[0, 0, 0], [255, 60, 60]])
    data_root: str

    def __init__(
        self,
        data_root: str = 'data/CelebAMask-HQ',
        split: str = 'train',
        parts: Sequence[str] | None = None,
        dataset_name: str = 'celebamask_hq',
        **kwargs,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f'CelebAMask-HQ: split is {split!r}, expected one of {tuple(SPLITS)}')
        self.split, self.dataset_name = split, dataset_name
        self.parts = check_names('CelebAMask-HQ', 'parts', parts, PARTS)
        super().__init__(data_root=data_root, **kwargs)

    def load_data_list(self) -> list[dict]:
        """Return a dict for each face of the split, ordered by number."""
        names = (IMAGES, MASKS, MAPPING)
        absent = [name for name in names if not os.path.exists(os.path.join(self.data_root, name))]
        if len(absent) == len(names):
            raise not_found('CelebAMask-HQ', f'{IMAGES}, {MASKS} and {MAPPING}', self.data_root, SOURCE)
        if absent:
            raise FileNotFoundError(
                f'CelebAMask-HQ is incomplete: {os.path.abspath(os.path.join(self.data_root, absent[0]))} is missing. '
                f'Download it from {SOURCE}'
            )
        first, last = SPLITS[self.split]
        numbers = [index for index, original in self._mapping() if first <= original < last]
        images = set(os.listdir(os.path.join(self.data_root, IMAGES)))
        missing = [index for index in numbers if f'{index}.jpg' not in images]
        if missing:
            raise FileNotFoundError(
                f'CelebAMask-HQ: {len(missing)} of {len(numbers)} images of split {self.split} are missing, for '
                f'example {os.path.join(self.data_root, IMAGES, f"{missing[0]}.jpg")}. Download it from {SOURCE}'
            )
        infos = [self._info(index, self._masks_of(index)) for index in numbers]
        kept = [info for info in infos if info['part_paths']]
        if not kept:
            raise ValueError(
                f'CelebAMask-HQ: no face of split {self.split} has a mask of {", ".join(self.parts)} in '
                f'{os.path.join(self.data_root, MASKS)}'
            )
        if len(kept) < len(infos):
            dropped = len(infos) - len(kept)
            print_log(
                f'CelebAMask-HQ: {dropped} of {len(infos)} faces are dropped: they have none of the parts',
                'current',
                logging.WARNING,
            )
        return kept

    def _mapping(self) -> list[tuple[int, int]]:
        """Return the number of each face in this dataset and in CelebA."""
        path = os.path.join(self.data_root, MAPPING)
        lines = [line.split() for line in read_text(path).splitlines()[1:] if line.strip()]
        try:
            return [(int(line[0]), int(line[1])) for line in lines]
        except (ValueError, IndexError) as error:
            raise ValueError(
                f'{path}: {error}, expected lines of idx, orig_idx, orig_file below a header line'
            ) from error

    def _masks_of(self, index: int) -> dict[str, str]:
        """Return the path of the mask of each part that this face has."""
        folder = os.path.join(self.data_root, MASKS, str(index // _IN_A_FOLDER))
        paths = {part: os.path.join(folder, f'{index:05d}_{part}.png') for part in self.parts}
        return {part: path for part, path in paths.items() if os.path.isfile(path)}

    def _info(self, index: int, part_paths: dict[str, str]) -> dict:
        """Return the dict that the pipeline receives for a face."""
        return dict(
            img_path=os.path.join(self.data_root, IMAGES, f'{index}.jpg'),
            part_paths=part_paths,
            sample_id=f'{index:05d}',
            dataset_name=self.dataset_name,
            defect_class=self.parts[0] if len(self.parts) == 1 else 'face parts',
            label_map=self.label_map,
            reduce_zero_label=self.reduce_zero_label,
            seg_fields=[],
        )
