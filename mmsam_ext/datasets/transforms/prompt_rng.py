"""The random numbers behind prompts."""

from __future__ import annotations

import zlib

import numpy as np


def sample_key(results: dict) -> str:
    """What identifies a sample on every machine: its `sample_id`, or the last two parts of its path."""
    if results.get('sample_id'):
        return str(results['sample_id'])
    return '/'.join(str(results.get('img_path', '')).replace('\\', '/').split('/')[-2:])


def prompt_rng(seed: int | None, results: dict, target: int, draw: int, stream: int) -> np.random.Generator:
    """A generator for one draw of one target.

    Args:
        seed: With a seed (evaluation) the numbers are a function of (seed, sample, target, draw) alone: the same for
            every method, batch size, number of workers and of ranks. Without (training) they come from NumPy's global
            state, which mmengine seeds in each worker.
        stream: Tells independent uses apart (drawing, perturbing, ...).
    """
    if seed is None:
        return np.random.default_rng(np.random.randint(0, 2**31, 4))
    return np.random.default_rng([seed, zlib.crc32(sample_key(results).encode()), target, draw, stream])
