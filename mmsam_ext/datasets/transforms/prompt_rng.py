"""The random numbers behind prompts."""

from __future__ import annotations

import zlib

import numpy as np

from mmsam_ext.structures.samples import Sample, sample_key


def prompt_rng(seed: int | None, results: Sample, target: int, draw: int, stream: int) -> np.random.Generator:
    """Return a generator for one draw of one target.

    Args:
        seed: With a seed (evaluation) the numbers depend on (seed, sample, target, draw, stream) alone: they are the
            same for every method, batch size, number of workers and number of ranks. With None (training) they come
            from NumPy's global state, which mmengine seeds in each worker.
        results: The sample.
        target: Number of the target.
        draw: Number of the draw.
        stream: Tells independent uses apart (drawing, perturbing, ...).
    """
    if seed is None:
        return np.random.default_rng(np.random.randint(0, 2**31, 4))
    return np.random.default_rng([seed, zlib.crc32(sample_key(results).encode()), target, draw, stream])
