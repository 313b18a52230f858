"""`EnumeratedVariants`: random augmentation from a fixed number of outcomes for each image."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmsam_ext.structures.samples import sample_key


@TRANSFORMS.register_module()
class EnumeratedVariants(BaseTransform):
    """Apply random transforms so that an image has a fixed number of outcomes, from which one is drawn each time.

    Variant v of a sample depends on (seed, sample, v) alone: it is the same in every epoch, worker, process and run. An
    embedding cache then holds `number` entries for an image (times its flips), and augmentation goes on.

    Args:
        transforms: Configs of the transforms, applied in this order with NumPy's and Python's global random numbers
            seeded for the variant.
        number: Number of outcomes of a sample, 1 or more.
        seed: Seed of all outcomes.
        variant: The outcome to take, from 0 to `number` - 1; None draws one from NumPy's global state.

    Raises:
        ValueError: An argument is out of its range, or a transform mixes several samples, whose outcome depends on
            which others are drawn.

    Example::

        dict(type='EnumeratedVariants', number=4, transforms=[dict(type='PhotoMetricDistortion')])
    """

    NUMBER = 4

    def __init__(
        self, transforms: Sequence[dict], number: int = NUMBER, seed: int = 0, variant: int | None = None
    ) -> None:
        self.number, self.seed, self.variant = self.check_number(number), seed, variant
        if variant is not None and not 0 <= variant < number:
            raise ValueError(f'EnumeratedVariants: variant={variant}, expected 0 to {number - 1}')
        self.transforms = [TRANSFORMS.build(transform) for transform in transforms]
        for transform in self.transforms:
            if hasattr(transform, 'get_indices'):
                raise ValueError(
                    f'EnumeratedVariants: {type(transform).__name__} mixes several samples, so that its outcome '
                    'depends on which others are drawn; expected transforms of one sample'
                )

    @staticmethod
    def check_number(number: int) -> int:
        """Return the number of variants if it is 1 or more, else raise a ValueError."""
        if not isinstance(number, int) or number < 1:
            raise ValueError(f'EnumeratedVariants: number={number!r}, expected 1 or more')
        return number

    def transform(self, results: dict) -> dict | None:
        """Apply one variant of the transforms to a sample."""
        variant = int(np.random.randint(self.number)) if self.variant is None else self.variant
        with _seeded([self.seed, zlib.crc32(sample_key(results).encode()), variant]):
            for transform in self.transforms:
                results = transform(results)
                if results is None:
                    return None
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(transforms={self.transforms}, number={self.number}, seed={self.seed})'


@contextmanager
def _seeded(seed: list[int]) -> Iterator[None]:
    """Seed the global random numbers of NumPy and Python in this context, and restore them after it."""
    numpy_state, python_state = np.random.get_state(), random.getstate()
    np.random.seed(np.random.SeedSequence(seed).generate_state(4))
    random.seed(repr(seed))
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
