"""`PromptMixDataset`: samples made of several images, where a transform may refuse a sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmseg.datasets import MultiImageMixDataset
from mmseg.registry import DATASETS

#: Samples tried in place of refused ones.
TRIES = 100


@DATASETS.register_module()
class PromptMixDataset(MultiImageMixDataset):
    """MMSegmentation's ``MultiImageMixDataset``, which also takes another sample where a transform returns None.

    mmengine's datasets do so, GeneratePrompts counts on it (a mask may lose its last pixel on the way), and the stock
    wrapper hands None to the next transform. See :class:`SynthesizeOcclusion` for what mixes samples.

    Args:
        dataset: Config of the dataset, whose pipeline loads image and mask.
        pipeline: The transforms from there on.
        kwargs: See ``MultiImageMixDataset``.

    Raises:
        RuntimeError: 100 samples in a row were refused.
    """

    def __init__(self, dataset: dict, pipeline: list[dict], **kwargs: Any) -> None:
        super().__init__(dataset, pipeline, **kwargs)
        self.pipeline = [_Stop(transform) for transform in self.pipeline]

    def __getitem__(self, idx: int) -> dict:
        """The sample, or, where it is refused, another one drawn at random."""
        for _ in range(TRIES):
            try:
                return super().__getitem__(idx)
            except _RefusedError:
                idx = np.random.randint(len(self))
        raise RuntimeError(f'PromptMixDataset: {TRIES} samples in a row were refused by its pipeline')


class _RefusedError(Exception):
    """A transform returned None."""


class _Stop:
    """A transform that stops the pipeline where it returns None."""

    def __init__(self, transform: Any) -> None:
        self.transform = transform
        if hasattr(transform, 'get_indices'):
            self.get_indices = transform.get_indices

    def __call__(self, results: dict) -> dict:
        results = self.transform(results)
        if results is None:
            raise _RefusedError
        return results
