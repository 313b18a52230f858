"""`MPDDDataset`: painted metal parts, in the dataset's own layout."""

from __future__ import annotations

from mmseg.registry import DATASETS

from .benchmark import MVTecLayoutDataset


@DATASETS.register_module()
class MPDDDataset(MVTecLayoutDataset):
    """Load MPDD (Jezek et al., ICUMT 2021) in its published layout (:class:`MVTecLayoutDataset`).

    `defect_class` is 'bracket_black/hole' and so on.

    Args:
        data_root, categories, normal, kwargs: See :class:`MVTecLayoutDataset`.
    """

    TITLE = 'MPDD'
    NAME = 'mpdd'
    SOURCE = 'https://github.com/stepanje/MPDD'
    CATEGORIES = ('bracket_black', 'bracket_brown', 'bracket_white', 'connector', 'metal_plate', 'tubes')
