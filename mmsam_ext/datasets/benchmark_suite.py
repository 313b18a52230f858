"""`BenchmarkSuite`: several datasets in one evaluation; missing ones are skipped."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mmengine.dataset import ConcatDataset
from mmengine.logging import print_log
from mmseg.registry import DATASETS

from .benchmark import DatasetNotFoundError


@DATASETS.register_module()
class BenchmarkSuite(ConcatDataset):
    """Concatenate datasets; metrics distinguish them by `dataset_name`.

    A dataset whose folder is missing is skipped; the log says where it was expected and where to get it. An incomplete
    dataset is an error.

    Args:
        datasets: Configs of the datasets, without the settings they have in common.
        pipeline: Pipeline of all datasets.
        test_mode: Test mode of all datasets.
        lazy_init: See ``ConcatDataset``. Missing datasets are detected in either case.

    Raises:
        DatasetNotFoundError: All datasets are missing.

    Example:
        >>> BenchmarkSuite([dict(type='MVTecADDataset'), dict(type='KSDD2Dataset')], pipeline=[])
    """

    def __init__(
        self, datasets: Sequence[dict], pipeline: Sequence[dict], test_mode: bool = True, lazy_init: bool = False
    ) -> None:
        found, missing = [], []
        for config in datasets:
            try:
                found.append(DATASETS.build(dict(config, pipeline=pipeline, test_mode=test_mode)))
            except DatasetNotFoundError as error:
                missing.append(str(error))
        lines = '\n  '.join(missing)
        if not found:
            raise DatasetNotFoundError(f'All {len(missing)} datasets are missing:\n  {lines}')
        if missing:
            print_log(
                f'{len(missing)} of {len(datasets)} datasets are missing and are skipped:\n  {lines}',
                logger='current',
                level=logging.WARNING,
            )
        super().__init__(found, lazy_init=lazy_init)
