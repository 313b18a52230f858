"""Finds out whether anything but a resize happened to an image after its prompts were drawn."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

#: Two maps, which rise from 0 to 255 along x and along y: no flip, turn, crop, pad or shift leaves both as they are.
KEYS = ('prompt_probe_x', 'prompt_probe_y')


@lru_cache(maxsize=16)
def _ramps(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The probe of an image, two (H, W) uint8."""
    x = (np.arange(width) + 0.5) / width
    y = (np.arange(height) + 0.5) / height
    flat = np.ones((height, width))
    return (255 * x[None] * flat).astype(np.uint8), (255 * y[:, None] * flat).astype(np.uint8)


def plant(results: dict) -> None:
    """Add the probe to the maps that MMSegmentation's transforms carry along (``seg_fields``)."""
    results['prompt_frame'] = results['img'].shape[:2]
    for key, ramp in zip(KEYS, _ramps(*results['prompt_frame']), strict=True):
        results[key] = ramp.copy()
    results['seg_fields'] = [*results.get('seg_fields', []), *KEYS]


def planted(results: dict) -> bool:
    """Whether :func:`plant` was called for this sample."""
    return 'prompt_frame' in results


def check(results: dict, sample: str) -> tuple[float, float]:
    """Scale factors (x, y) from the frame in which prompts were drawn to that of the image now.

    Raises:
        ValueError: the image was flipped, turned, cropped, padded or otherwise moved in between.
    """
    old_height, old_width = results['prompt_frame']
    height, width = results['img'].shape[:2]
    moved = False
    for key, ramp, old, new in zip(KEYS, _ramps(height, width), (old_width, old_height), (width, height), strict=True):
        # Nearest neighbours are up to a pixel off, and numbers are rounded down: crops from about 1 % on are found.
        tolerance = 1 + 255 * (1 / old + 1 / new)
        moved |= results[key].shape != ramp.shape
        moved = moved or np.abs(results[key].astype(np.int16) - ramp).max() > tolerance
    if moved:
        raise ValueError(
            f'{sample}: the image was flipped, turned, cropped or padded after GeneratePrompts drew its prompts '
            f'(height x width was {old_height} x {old_width}, is {height} x {width}); only Resize may stand between '
            'them. Put GeneratePrompts after the other geometric transforms.'
        )
    return width / old_width, height / old_height
