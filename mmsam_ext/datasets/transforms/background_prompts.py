"""Boxes on the background, for prompts whose target is empty."""

from __future__ import annotations

import numpy as np

#: Smallest and largest half side of a box before it shrinks: pixels, and share of the image's shorter side.
LEAST, MOST = 2.0, 0.25


def clear_box(free: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a box that holds background only.

    Its centre is a random pixel of the background. Its sides are drawn between 4 pixels and half of the image's shorter
    side, and halved until nothing but background is left inside, at last that one pixel.

    Args:
        free: (H, W) uint8 {0, 1}, 1 on the background; at least one pixel is.
        rng: Source of random numbers.

    Returns:
        (H, W) uint8 {0, 1}, 1 inside the box.
    """
    pixels = np.flatnonzero(free)
    y, x = divmod(int(pixels[rng.integers(len(pixels))]), free.shape[1])
    half = np.exp(rng.uniform(np.log(LEAST), np.log(max(MOST * min(free.shape), LEAST)), 2))
    while True:
        up, left = (int(side) for side in half)
        place = (slice(max(y - up, 0), y + up + 1), slice(max(x - left, 0), x + left + 1))
        if free[place].all():
            break
        half = half / 2
    box = np.zeros_like(free)
    box[place] = 1
    return box
