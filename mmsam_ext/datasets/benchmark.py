"""What readers of published benchmarks share: categories in folders, errors that say where a dataset is to be had."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from .binary_defect import BinaryDefectDataset, image_files, some


class DatasetNotFoundError(FileNotFoundError):
    """The folder of a dataset is not there; says where it was expected and where to get it."""


def not_found(title: str, expected: str, folder: str, source: str) -> DatasetNotFoundError:
    """The error of all readers of published datasets.

    Args:
        title: What the dataset is called.
        expected: What should be in the folder.
        folder: Where it was looked for.
        source: Where the dataset is to be had.
    """
    return DatasetNotFoundError(
        f'{title} not found: expected {expected} in {os.path.abspath(folder)}; get it from {source}'
    )


class Sample(NamedTuple):
    """An image with a defect, or a normal one.

    Attributes:
        name: `sample_id`, different in all of the dataset.
        image: Path of the image.
        mask: Path of the mask, None where it is missing.
        defect_class: '<category>/<kind of defect>', by which results are broken down.
        normal: Whether there is no defect, hence no mask to look for.
    """

    name: str
    image: str
    mask: str | None
    defect_class: str
    normal: bool = False


class BenchmarkDataset(BinaryDefectDataset):
    """A published dataset in its own layout: a folder of each category. Subclasses say what it is and read a category.

    Only images with a defect are loaded, since there is nothing to prompt in the others (but see the `normal` of
    :class:`MVTecLayoutDataset`).

    Args:
        data_root: Folder of the dataset; by default that of the class.
        categories: Which to load; None: all, which must then be there.
        kwargs: See :class:`BinaryDefectDataset`.

    Raises:
        DatasetNotFoundError: there is no such folder.
        FileNotFoundError: the folder is half there: a category, a folder in it, or a mask is missing.
        ValueError: an unknown category; lists the known ones.
    """

    TITLE: str
    #: `dataset_name`, and the folder below data/ where it is expected.
    NAME: str
    #: Where to get it.
    SOURCE: str
    CATEGORIES: tuple[str, ...]

    def __init__(self, data_root: str | None = None, categories: Sequence[str] | None = None, **kwargs) -> None:
        kwargs.setdefault('dataset_name', self.NAME)
        self.categories = check_names(self.TITLE, 'categories', categories, self.CATEGORIES)
        super().__init__(
            data_root=data_root or f'data/{self.NAME}', data_prefix=dict(img_path='', seg_map_path=''), **kwargs
        )

    @abstractmethod
    def read_category(self, folder: str, category: str) -> list[Sample]:
        """The samples of a category, whose folder is there."""

    def load_data_list(self) -> list[dict]:
        """One dict a sample, category by category."""
        root = os.path.abspath(self.data_prefix['img_path'])
        if not os.path.isdir(root):
            raise not_found(self.TITLE, f'its folders {some(self.CATEGORIES)}', root, self.SOURCE)
        absent = [category for category in self.categories if not os.path.isdir(os.path.join(root, category))]
        if absent:
            raise FileNotFoundError(
                f'{self.TITLE} is half there: {root} holds {some(sorted(os.listdir(root)))}, and not the folders '
                f'{some(absent)} of {len(absent)} categories; get it from {self.SOURCE}, or name those to load in '
                '`categories`'
            )
        samples = [
            sample
            for category in self.categories
            for sample in self.read_category(os.path.join(root, category), category)
        ]
        if not samples:
            raise FileNotFoundError(f'{self.TITLE}: no image with a defect in {some(self.categories)} of {root}')
        pairs = self._with_masks([sample[:3] for sample in samples if not sample.normal])
        kept = {name for name, _, _ in pairs}
        return [
            dict(self._info(*sample[:3]), defect_class=sample.defect_class)
            for sample in samples
            if sample.normal or sample.name in kept
        ]

    def folder(self, *parts: str) -> str:
        """A folder that must be there.

        Raises:
            FileNotFoundError: it is not.
        """
        path = os.path.join(*parts)
        if not os.path.isdir(path):
            raise FileNotFoundError(f'{self.TITLE} is half there: no folder {path}; get it from {self.SOURCE}')
        return path


class MVTecLayoutDataset(BenchmarkDataset):
    """The layout of MVTec AD, which others took over.

    ::

        data_root/<category>/test/<kind>/000.png
        data_root/<category>/ground_truth/<kind>/000_mask.png

    Args:
        data_root, categories, kwargs: See :class:`BenchmarkDataset`.
        normal: Load the test images without a defect as well (`test/good`), whose masks are all zeros: scores of
            anomaly detection need them, prompts have nothing to ask for in them.

    Raises:
        FileNotFoundError: `normal`, and a category has no folder of such images.
    """

    #: The kind that is no defect.
    NORMAL = 'good'
    #: What the name of a mask has behind that of its image.
    MASK_END = '_mask'

    def __init__(
        self,
        data_root: str | None = None,
        categories: Sequence[str] | None = None,
        normal: bool = False,
        **kwargs,
    ) -> None:
        self.normal = normal
        super().__init__(data_root, categories, **kwargs)

    def read_category(self, folder: str, category: str) -> list[Sample]:
        """See :class:`BenchmarkDataset`."""
        test = self.folder(folder, 'test')
        samples = []
        if self.normal:
            normal = image_files(self.folder(test, self.NORMAL))
            samples += [
                Sample(f'{category}/{self.NORMAL}/{name}', image, None, f'{category}/{self.NORMAL}', normal=True)
                for name, image in normal.items()
            ]
        for kind in sorted(os.listdir(test)):
            if kind == self.NORMAL or kind.startswith('.') or not os.path.isdir(os.path.join(test, kind)):
                continue
            masks = image_files(self.folder(folder, 'ground_truth', kind))
            for name, image in image_files(os.path.join(test, kind)).items():
                mask = masks.get(name + self.MASK_END)
                samples.append(Sample(f'{category}/{kind}/{name}', image, mask, f'{category}/{kind}'))
        return samples


def check_names(title: str, field: str, names: Sequence[str] | None, known: Sequence[str]) -> tuple[str, ...]:
    """`names`, or all known ones where None.

    Raises:
        ValueError: names that are not known, or none at all; lists those that are.
    """
    names = tuple(known) if names is None else (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f'{title}: {field}={list(names)} has {unknown or "nothing"}, expected some of {list(known)}')
    return names
