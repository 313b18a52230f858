"""`PromptMixDataset`: samples made of several images, where a transform may reject a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmseg.datasets import MultiImageMixDataset
from mmseg.registry import DATASETS

#: Number of samples that are tried in place of a rejected one.
TRIES = 100


@DATASETS.register_module()
class PromptMixDataset(MultiImageMixDataset):
    """Mix samples as ``MultiImageMixDataset`` of MMSegmentation does, and replace a sample that a transform rejects.

    A transform rejects a sample by returning None: GeneratePrompts does so when a mask has lost its last pixel. The
    datasets of mmengine then take another sample, whereas ``MultiImageMixDataset`` passes None to the next transform.
    :class:`SynthesizeOcclusion` is a transform that mixes samples.

    Args:
        dataset: Config of the dataset, whose pipeline loads image and mask.
        pipeline: The transforms that follow.
        kwargs: See ``MultiImageMixDataset``.

    Raises:
        RuntimeError: 100 samples in a row were rejected.
    """

    def __init__(self, dataset: dict, pipeline: list[dict], **kwargs: Any) -> None:
        super().__init__(dataset, pipeline, **kwargs)
        self.pipeline = [_RaiseOnNone(transform) for transform in self.pipeline]

    def __getitem__(self, idx: int) -> dict:
        """Return the sample; if it is rejected, one drawn at random."""
        for _ in range(TRIES):
            try:
                return super().__getitem__(idx)
            except _RejectedError:
                idx = np.random.randint(len(self))
        raise RuntimeError(
            f'PromptMixDataset: {TRIES} samples in a row were rejected by the pipeline (a transform returned None)'
        )


class _RejectedError(Exception):
    """A transform returned None."""


class _RaiseOnNone:
    """Call a transform, and raise an error when it returns None."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform
        if hasattr(transform, 'get_indices'):
            self.get_indices = transform.get_indices

    def __call__(self, results: dict) -> dict:
        results = self.transform(results)
        if results is None:
            raise _RejectedError
        return results
