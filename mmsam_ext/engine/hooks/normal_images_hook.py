"""`NormalImagesHook`: a presence head needs images with and without defects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmsam_ext.datasets import BinaryDefectDataset


@HOOKS.register_module()
class NormalImagesHook(Hook):
    """Check before a training that its images are of both kinds, with defects and without.

    A presence head that sees only one kind learns to give one answer. The check reads masks until it has seen both
    kinds; datasets that are not a :class:`BinaryDefectDataset` are not checked.

    Raises:
        ValueError: All images have defects, or none has.
    """

    def before_train(self, runner: Runner) -> None:
        """Look for an image of each kind."""
        dataset = runner.train_dataloader.dataset
        found: set[bool] = set()
        count = 0
        for part in _parts(dataset):
            if not isinstance(part, BinaryDefectDataset):
                return
            for index in range(len(part)):
                found.add(part.has_defect(index))
                count += 1
                if len(found) == 2:
                    return
        names = sorted({part.dataset_name for part in _parts(dataset)})
        kind, other = ('with', 'without') if True in found else ('without', 'with')
        raise ValueError(
            f'{", ".join(names)}: all {count} training images are {kind} defects, but a presence head learns from '
            f'images {other}, too; add them to the list, load normal images with drop_empty=False and '
            "missing_mask='normal', or remove presence_head and NormalImagesHook"
        )


def _parts(dataset: Any) -> Iterator[Any]:
    """Yield the datasets within wrappers, such as ConcatDataset."""
    if hasattr(dataset, 'datasets'):
        for part in dataset.datasets:
            yield from _parts(part)
    elif hasattr(dataset, 'dataset'):
        yield from _parts(dataset.dataset)
    else:
        yield dataset
