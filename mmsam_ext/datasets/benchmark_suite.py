"""`BenchmarkSuite`: several datasets in one evaluation, as many of them as are there."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from mmengine.dataset import ConcatDataset
from mmengine.logging import print_log
from mmseg.registry import DATASETS

from .benchmark import DatasetNotFoundError


@DATASETS.register_module()
class BenchmarkSuite(ConcatDataset):
    """Datasets one after the other; metrics tell them apart by `dataset_name`. Those whose folder is not there are
    named in the log, with where they were expected and where to get them, and left out. One that is half there is an
    error.

    Args:
        datasets: Configs of datasets, without what all have in common.
        pipeline: Of all of them.
        test_mode: Of all of them.
        lazy_init: See ``ConcatDataset``; whether a dataset is there is looked at in any case.

    Raises:
        DatasetNotFoundError: none of them is there.
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
            raise DatasetNotFoundError(f'None of the {len(missing)} datasets is there:\n  {lines}')
        if missing:
            print_log(
                f'{len(missing)} of {len(datasets)} datasets are not there and are left out:\n  {lines}',
                logger='current',
                level=logging.WARNING,
            )
        super().__init__(found, lazy_init=lazy_init)
