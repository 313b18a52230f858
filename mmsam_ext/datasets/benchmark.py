"""Common code of the published benchmarks: categories in folders, and errors that say where to get a dataset."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from mmsam_ext.nearest import unknown_names

from .binary_defect import BinaryDefectDataset, image_files, some


class DatasetNotFoundError(FileNotFoundError):
    """The folder of a dataset is missing; the message says where it was expected and where to get it."""


def not_found(title: str, expected: str, folder: str, source: str) -> DatasetNotFoundError:
    """Return the error for a published dataset that is missing.

    Args:
        title: Name of the dataset.
        expected: What the folder should contain.
        folder: Folder where the dataset was expected.
        source: Address to get the dataset from.
    """
    return DatasetNotFoundError(
        f'{title} not found: expected {expected} in {os.path.abspath(folder)}. Download it from {source}'
    )


class Sample(NamedTuple):
    """Describe an image with a defect, or one without.

    Attributes:
        name: `sample_id`, unique in the dataset.
        image: Path of the image.
        mask: Path of the mask; None if it is missing.
        defect_class: '<category>/<kind of defect>'; results are also reported for each class.
        normal: Whether the image has no defect, and therefore no mask.
    """

    name: str
    image: str
    mask: str | None
    defect_class: str
    normal: bool = False


class BenchmarkDataset(BinaryDefectDataset):
    """Load a published dataset with a folder for each category. Subclasses name it and read a category.

    Only images with a defect are loaded, because the others contain nothing to prompt (see also `normal` of
    :class:`MVTecLayoutDataset`).

    Args:
        data_root: Folder of the dataset; by default data/ and the dataset's name.
        categories: Categories to load; None for all, none of which may be missing.
        kwargs: See :class:`BinaryDefectDataset`.

    Raises:
        DatasetNotFoundError: The folder does not exist.
        FileNotFoundError: The dataset is incomplete: a category, a folder in it, or a mask is missing.
        ValueError: A category is unknown; the message suggests the nearest ones.
    """

    TITLE: str
    #: `dataset_name`, and the name of its folder in data/.
    NAME: str
    #: Address to get it from.
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
        """Return the samples of a category, whose folder exists."""

    def load_data_list(self) -> list[dict]:
        """Return a dict for each sample, category by category."""
        root = os.path.abspath(self.data_prefix['img_path'])
        if not os.path.isdir(root):
            raise not_found(self.TITLE, f'its folders {some(self.CATEGORIES)}', root, self.SOURCE)
        absent = [category for category in self.categories if not os.path.isdir(os.path.join(root, category))]
        if absent:
            raise FileNotFoundError(
                f'{self.TITLE} is incomplete: {root} contains {some(sorted(os.listdir(root)))}, but the folders of '
                f'{len(absent)} categories are missing: {some(absent)}. Download it from {self.SOURCE}, or list the '
                'categories to load in `categories`'
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
        """Return the path of a folder that must exist.

        Raises:
            FileNotFoundError: It does not exist.
        """
        path = os.path.join(*parts)
        if not os.path.isdir(path):
            raise FileNotFoundError(
                f'{self.TITLE} is incomplete: folder {path} is missing. Download it from {self.SOURCE}'
            )
        return path


class MVTecLayoutDataset(BenchmarkDataset):
    """Load a dataset in the layout of MVTec AD, which several others use.

    ::

        data_root/<category>/test/<kind>/000.png
        data_root/<category>/ground_truth/<kind>/000_mask.png

    Args:
        data_root, categories, kwargs: See :class:`BenchmarkDataset`.
        normal: Also load the test images without a defect (`test/good`), with masks of zeros. Scores of anomaly
            detection need them; they contain nothing to prompt.

    Raises:
        FileNotFoundError: `normal` is set and a category has no folder of such images.
    """

    #: Folder of the images without a defect.
    NORMAL = 'good'
    #: What follows the name of the image in the name of its mask.
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
    """Return `names` as a tuple, or all known ones if `names` is None.

    Args:
        title: Name of the dataset, for the message.
        field: Name of the argument, for the message.
        names: Names to check; a single name may be a string.
        known: All names that exist.

    Raises:
        ValueError: A name is unknown, or `names` is empty; the message suggests the nearest ones.
    """
    names = tuple(known) if names is None else (names,) if isinstance(names, str) else tuple(names)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ValueError(f'{title}: {field}={list(names)}; {unknown_names(unknown, known)}')
    return names
