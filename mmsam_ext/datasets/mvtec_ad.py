"""`MVTecADDataset`: 15 categories of objects and textures, in the dataset's own layout."""

from __future__ import annotations

from mmseg.registry import DATASETS

from .benchmark import MVTecLayoutDataset


@DATASETS.register_module()
class MVTecADDataset(MVTecLayoutDataset):
    """Load MVTec AD (Bergmann et al., CVPR 2019) in its published layout (:class:`MVTecLayoutDataset`).

    `defect_class` is 'bottle/broken_large' and so on.

    Args:
        data_root, categories, normal, kwargs: See :class:`MVTecLayoutDataset`.
    """

    TITLE = 'MVTec AD'
    NAME = 'mvtec_ad'
    SOURCE = 'https://www.mvtec.com/company/research/datasets/mvtec-ad'
    CATEGORIES = (
        'bottle', 'cable', 'capsule', 'carpet', 'grid', 'hazelnut', 'leather', 'metal_nut', 'pill', 'screw', 'tile',
        'toothbrush', 'transistor', 'wood', 'zipper',
    )  # fmt: skip
