"""`ClassLabels`: the option `classes` of a dataset, which makes several classes of its defects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmsam_ext.structures.samples import IGNORE_LABEL

#: Value of `classes` that takes the class folders of a dataset, sorted by name.
FOLDERS = 'folders'
BACKGROUND = 'background'

#: The option `classes`: 'folders', names of folders, or name -> value or values in masks.
Classes = str | Sequence[str] | Mapping[str, int | Sequence[int]] | None


class ClassLabels(NamedTuple):
    """The classes of a dataset; the label of a class is its place in `names` + 1, and 0 is the background.

    Attributes:
        names: Names of the classes, without the background.
        values: Mask value -> label, for masks whose values are numbers of classes; None if the first folder of a sample
            is its class.
    """

    names: tuple[str, ...]
    values: dict[int, int] | None = None

    @classmethod
    def of(cls, classes: Classes, folders: Sequence[str], owner: str) -> ClassLabels:
        """Read the option `classes`.

        Args:
            classes: The option.
            folders: The class folders of the dataset, for 'folders'.
            owner: Name of the dataset in error messages.

        Raises:
            ValueError: No classes, names that repeat, or a value that two classes share.
        """
        if isinstance(classes, str) and classes != FOLDERS:
            raise ValueError(
                f'{owner}: classes={classes!r}, expected {FOLDERS!r}, a list of folders, or name -> value of masks'
            )
        names = tuple(folders) if classes == FOLDERS else tuple(classes or ())
        twice = sorted(name for name, number in Counter(names).items() if number > 1)
        if not names or twice or BACKGROUND in names or len(names) >= IGNORE_LABEL:
            problem = f'{twice} more than once' if twice else f'{list(names)[:5]} ({len(names)} names)'
            raise ValueError(
                f'{owner}: classes={classes!r} names {problem}, expected 1 to {IGNORE_LABEL - 1} different classes '
                f'without {BACKGROUND!r}, which is always label 0'
            )
        return cls(names, _values(classes, owner) if isinstance(classes, Mapping) else None)

    def meta(self) -> dict[str, Any]:
        """Return MMSegmentation's `classes` and `palette`, background first."""
        rng = np.random.default_rng(0)
        colors = [[255, 60, 60], [60, 160, 255], [80, 220, 100], [255, 200, 40], [190, 90, 255], [255, 130, 200]]
        colors += rng.integers(40, 255, (max(0, len(self.names) - len(colors)), 3)).tolist()
        return dict(classes=(BACKGROUND, *self.names), palette=[[0, 0, 0], *colors[: len(self.names)]])

    def info(self, defect_class: str) -> dict[str, Any]:
        """Return what the loading transform needs to know of a sample in the folder `defect_class`."""
        if self.values is not None:
            return dict(mask_values=self.values)
        return dict(mask_class=self.names.index(defect_class) + 1 if defect_class in self.names else 0)

    def without_samples(self, found: set[int]) -> list[str]:
        """Return the names of the classes whose labels are not in `found`."""
        return [name for label, name in enumerate(self.names, 1) if label not in found]


def _values(classes: Mapping[str, int | Sequence[int]], owner: str) -> dict[int, int]:
    values: dict[int, int] = {}
    for label, (name, given) in enumerate(classes.items(), 1):
        for value in given if isinstance(given, (list, tuple)) else (given,):
            if not isinstance(value, int) or value < 0 or value in values:
                taken = f', which is class {list(classes)[values[value] - 1]!r} already' if value in values else ''
                raise ValueError(
                    f'{owner}: classes[{name!r}] has the mask value {value!r}{taken}; expected whole numbers from 0, '
                    'each in one class'
                )
            values[value] = label
    return values
