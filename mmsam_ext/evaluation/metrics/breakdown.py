"""Means of scores by prompt mode, dataset and class of defect: as a dict, as tables, as a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from prettytable import PrettyTable

from mmsam_ext.utils import replacing

#: One number per metric, None where it has none.
Means = tuple[float | None, ...]


class Score(NamedTuple):
    """Hold the scores of one target of one image under one prompt mode.

    Attributes:
        dataset: Name of the dataset.
        defect_class: Class of the defect.
        mode: Name of the prompt mode.
        values: One number in [0, 1] per metric; None where a metric is undefined for this target.
    """

    dataset: str
    defect_class: str
    mode: str
    values: tuple[float | None, ...]


class Breakdown:
    """Average all scores of an evaluation by prompt mode, dataset and class of defect.

    The mean of a dataset is taken over its images' targets, and the overall mean over datasets, so that a large dataset
    does not outweigh a small one (SPT's protocol). Sums are exactly rounded (`math.fsum`), so the numbers do not depend
    on the order of the ranks. Targets without a value for a metric are excluded from its means; if no target has a
    value, the mean is None, and tables show '-'.

    Args:
        names: Names of the metrics, in the order of ``Score.values``.
        scores: The scores, at least one.
        mode_groups: Name -> prompt modes that are averaged under it, if all of them have scores.
    """

    def __init__(
        self, names: Sequence[str], scores: Sequence[Score], mode_groups: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.names = tuple(names)
        self.scores = list(scores)
        self.mode_groups = dict(mode_groups or {})
        self.modes = list(dict.fromkeys(score.mode for score in self.scores))
        self.datasets = sorted({score.dataset for score in self.scores})

    def select(self, **where: str) -> list[Score]:
        """Return the scores whose fields have these values."""
        return [score for score in self.scores if all(getattr(score, key) == value for key, value in where.items())]

    def dataset_means(self, dataset: str, mode: str) -> Means | None:
        """Return percent per metric, or None if the dataset has no score for this mode."""
        values = [score.values for score in self.select(dataset=dataset, mode=mode)]
        return _means(values) if values else None

    def overall_means(self, mode: str) -> Means:
        """Return percent per metric, averaged over the datasets that have this mode."""
        means = [self.dataset_means(dataset, mode) for dataset in self.datasets]
        return _average([mean for mean in means if mean is not None])

    def group_means(self) -> dict[str, Means]:
        """Return group -> percent per metric, the mean over its modes, for groups whose modes all have scores."""
        return {
            name: _average([self.overall_means(mode) for mode in modes])
            for name, modes in self.mode_groups.items()
            if set(modes) <= set(self.modes)
        }

    def results(self) -> dict[str, float]:
        """Return percent by key, without values that are None.

        The keys are ``<metric>/<mode>``, ``<metric>/<group of modes>``, ``<metric>`` (mean over modes) and, with
        several datasets, ``<dataset>/<metric>/<mode>``.
        """
        results: dict[str, float | None] = {}
        overall = {mode: self.overall_means(mode) for mode in self.modes}
        for index, name in enumerate(self.names):
            results |= {f'{name}/{mode}': means[index] for mode, means in overall.items()}
            results |= {f'{name}/{group}': means[index] for group, means in self.group_means().items()}
        results |= dict(zip(self.names, _average(list(overall.values())), strict=True))
        if len(self.datasets) > 1:
            for dataset in self.datasets:
                for mode in self.modes:
                    means = self.dataset_means(dataset, mode)
                    if means is not None:
                        for name, mean in zip(self.names, means, strict=True):
                            results[f'{dataset}/{name}/{mode}'] = mean
        return {key: mean for key, mean in results.items() if mean is not None}

    def mode_table(self) -> PrettyTable:
        """Return a table of metrics by prompt mode: each dataset, their mean, then groups of modes."""
        table = PrettyTable(['Dataset', 'Prompt', *self.names, 'Targets'], align='r')
        table.align['Dataset'] = table.align['Prompt'] = 'l'
        for dataset in self.datasets:
            for mode in self.modes:
                means = self.dataset_means(dataset, mode)
                if means is not None:
                    number = len(self.select(dataset=dataset, mode=mode))
                    table.add_row([dataset, mode, *_rounded(means), number])
        if len(self.datasets) > 1:
            for mode in self.modes:
                table.add_row(['mean', mode, *_rounded(self.overall_means(mode)), len(self.select(mode=mode))])
        for group, means in self.group_means().items():
            table.add_row(['mean', group, *_rounded(means), self._group_size(group)])
        if len(self.modes) > 1:
            means = _average([self.overall_means(mode) for mode in self.modes])
            table.add_row(['mean', 'mean', *_rounded(means), len(self.scores)])
        return table

    def class_table(self) -> PrettyTable:
        """Return a table of metrics under each prompt mode by class of defect."""
        columns = [f'{name} {mode}' for mode in self.modes for name in self.names]
        table = PrettyTable(['Dataset', 'Class', *columns, 'Targets'], align='r')
        table.align['Dataset'] = table.align['Class'] = 'l'
        for dataset, defect_class in self._classes():
            cells, number = [], 0
            for mode in self.modes:
                chosen = self.select(dataset=dataset, defect_class=defect_class, mode=mode)
                cells += _rounded(_means([score.values for score in chosen])) if chosen else ['-'] * len(self.names)
                number = max(number, len(chosen))
            table.add_row([dataset, defect_class, *cells, number])
        return table

    def write_csv(self, path: str, overwrite: bool = False) -> None:
        """Write a row per dataset, mode and class; class 'all' is a dataset's mean, dataset 'mean' the overall mean.

        Args:
            path: The file.
            overwrite: Whether to replace a file that no earlier run wrote.
        """
        rows = []
        for dataset in self.datasets:
            for mode in self.modes:
                for defect_class in [name for owner, name in self._classes() if owner == dataset]:
                    chosen = self.select(dataset=dataset, mode=mode, defect_class=defect_class)
                    if chosen:
                        means = _means([score.values for score in chosen])
                        rows.append([dataset, mode, defect_class, len(chosen), *means])
                means = self.dataset_means(dataset, mode)
                if means is not None:
                    rows.append([dataset, mode, 'all', len(self.select(dataset=dataset, mode=mode)), *means])
        for mode in self.modes:
            rows.append(['mean', mode, 'all', len(self.select(mode=mode)), *self.overall_means(mode)])
        for group, means in self.group_means().items():
            rows.append(['mean', group, 'all', self._group_size(group), *means])
        with replacing(path, overwrite) as temporary, open(temporary, 'w', newline='', encoding='utf-8') as file:
            csv.writer(file).writerows([['dataset', 'mode', 'class', 'targets', *self.names], *rows])

    def _group_size(self, group: str) -> int:
        return sum(score.mode in self.mode_groups[group] for score in self.scores)

    def _classes(self) -> list[tuple[str, str]]:
        return sorted({(score.dataset, score.defect_class) for score in self.scores})


def _average(values: Sequence[Means]) -> Means:
    """Return the mean of each column of at least one row."""
    return tuple(_mean(column) for column in zip(*values, strict=True))


def _mean(column: Sequence[float | None]) -> float | None:
    """Return the mean of the values that are numbers, or None without any."""
    numbers = [value for value in column if value is not None]
    return math.fsum(numbers) / len(numbers) if numbers else None


def _means(values: Sequence[Means]) -> Means:
    """Return the mean of each column of at least one row, in percent."""
    return tuple(None if mean is None else 100 * mean for mean in _average(values))


def _rounded(means: Means) -> list[str]:
    """Format the means for a table."""
    return ['-' if mean is None else f'{mean:.2f}' for mean in means]
