"""`BTADDataset`: three industrial products, in the dataset's own layout."""

from __future__ import annotations

from mmseg.registry import DATASETS

from .benchmark import MVTecLayoutDataset


@DATASETS.register_module()
class BTADDataset(MVTecLayoutDataset):
    """Load BTAD (Mishra et al., ISIE 2021) in its published layout (``BTech_Dataset_transformed``).

    The dataset does not distinguish kinds of defect: `defect_class` is '01/ko', '02/ko' or '03/ko'.

    ::

        data_root/01/test/ko/0000.bmp            png in 02
        data_root/01/ground_truth/ko/0000.png    bmp in 03

    Args:
        data_root, categories, normal, kwargs: See :class:`MVTecLayoutDataset`.
    """

    TITLE = 'BTAD'
    NAME = 'btad'
    SOURCE = 'https://github.com/pankajmishra000/VT-ADL'
    CATEGORIES = ('01', '02', '03')
    NORMAL = 'ok'
    MASK_END = ''
