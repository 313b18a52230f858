"""`KSDD2Dataset`: surfaces of one industrial product, in the dataset's own layout."""

from __future__ import annotations

from collections.abc import Sequence

from mmseg.registry import DATASETS

from .benchmark import BenchmarkDataset, Sample
from .binary_defect import image_files


@DATASETS.register_module()
class KSDD2Dataset(BenchmarkDataset):
    """Load KolektorSDD2 (Bozic, Tabernik and Skocaj, 2021) in its published layout.

    The dataset does not distinguish kinds of defect: `defect_class` is 'defect'.

    ::

        data_root/test/20000.png   data_root/test/20000_GT.png

    All images have a mask. Most masks are empty; these samples are dropped, counted and logged.

    Args:
        data_root, kwargs: See :class:`BenchmarkDataset`.
        categories: 'train', 'test' or both, the authors' split; None for 'test'.
    """

    TITLE = 'KSDD2'
    NAME = 'ksdd2'
    SOURCE = 'https://www.vicos.si/resources/kolektorsdd2/'
    CATEGORIES = ('train', 'test')

    def __init__(self, data_root: str | None = None, categories: Sequence[str] | None = ('test',), **kwargs) -> None:
        super().__init__(data_root, ('test',) if categories is None else categories, **kwargs)

    def read_category(self, folder: str, category: str) -> list[Sample]:
        """See :class:`BenchmarkDataset`."""
        files = image_files(folder)
        return [
            Sample(f'{category}/{name}', path, files.get(f'{name}_GT'), 'defect')
            for name, path in files.items()
            if not name.endswith('_GT')
        ]
