"""Finds out whether anything but a resize happened to an image after its prompts were drawn."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

KEY = 'prompt_probe'


@lru_cache(maxsize=16)
def _ramp(height: int, width: int) -> np.ndarray:
    """(H, W) uint8: twice as steep along x as along y, so that no flip, turn, crop or shift leaves it as it is."""
    x = (np.arange(width) + 0.5) / width
    y = (np.arange(height) + 0.5) / height
    return (170 * x[None] + 85 * y[:, None]).astype(np.uint8)


def plant(results: dict) -> None:
    """Add the probe to the maps that MMSegmentation's transforms carry along (``seg_fields``)."""
    results[KEY] = _ramp(*results['img'].shape[:2]).copy()
    results['prompt_frame'] = results['img'].shape[:2]
    results['seg_fields'] = [*results.get('seg_fields', []), KEY]


def check(results: dict, sample: str) -> tuple[float, float]:
    """Scale factors (x, y) from the frame in which prompts were drawn to that of the image now.

    Raises:
        ValueError: the image was flipped, turned, cropped, padded or otherwise moved in between.
    """
    old_height, old_width = results['prompt_frame']
    height, width = results['img'].shape[:2]
    probe = results[KEY]
    tolerance = 4 + 170 / min(width, old_width) + 85 / min(height, old_height)  # nearest neighbours, rounding
    moved = probe.shape != (height, width)
    if not moved:
        moved = np.abs(probe.astype(np.int16) - _ramp(height, width)).max() > tolerance
    if moved:
        raise ValueError(
            f'{sample}: the image was flipped, turned, cropped or padded after GeneratePrompts drew its prompts '
            f'(height x width was {old_height} x {old_width}, is {height} x {width}); only Resize may stand between '
            'them. Put GeneratePrompts after the other geometric transforms.'
        )
    return width / old_width, height / old_height
