"""The one rule by which pixels of more than 8 bits become the 8 bits that a model sees."""

from __future__ import annotations

import numpy as np

#: Numbers of bits that cameras deliver, most of them in files of 16 bits.
DEPTHS = (8, 10, 12, 14, 16)
CHOICES = ('auto', 'stretch', *DEPTHS)


def check_bit_depth(value: str | int) -> str | int:
    """Return `value` if it is a valid setting of `bit_depth`.

    Raises:
        ValueError: It is not; lists the valid ones.
    """
    if isinstance(value, bool) or value not in CHOICES:
        raise ValueError(f'bit_depth is {value!r}, expected one of {", ".join(map(repr, CHOICES))}')
    return value


def depth_that_holds(largest: int) -> int:
    """Return the smallest of :data:`DEPTHS` that holds the value `largest`, which is at most 65535."""
    return next(depth for depth in DEPTHS if largest < 2**depth)


def to_8_bit(image: np.ndarray, depth: str | int, name: str) -> np.ndarray:
    """Scale pixels to 8 bits.

    Args:
        image: Of any shape, uint8 (returned as it is) or uint16.
        depth: Number of bits in use, whose upper eight are taken; 'auto' for the smallest of :data:`DEPTHS` that holds
            the largest value of this image; 'stretch' to map the smallest value to 0 and the largest to 255.
        name: Name of the image in error messages.

    Returns:
        uint8, of the same shape.

    Raises:
        ValueError: A value does not fit `depth`, or the pixels are neither uint8 nor uint16.
    """
    if image.dtype == np.uint8:
        return image
    if image.dtype != np.uint16:
        raise ValueError(f'{name}: image with pixels of {image.dtype}, expected 8 or 16 bits a channel, without sign')
    lowest, largest = int(image.min(initial=65535)), int(image.max(initial=0))
    if depth == 'stretch':
        scale = 255 / max(1, largest - lowest)
        levels = np.clip(np.rint((np.arange(65536) - lowest) * scale), 0, 255).astype(np.uint8)
        return levels[image]
    bits = depth_that_holds(largest) if depth == 'auto' else int(depth)
    if largest >= 2**bits:
        raise ValueError(
            f'{name}: image with values up to {largest}, expected at most {2**bits - 1} with bit_depth={bits}. Set '
            f"bit_depth={depth_that_holds(largest)} (or 'auto') in LoadImageFromFile"
        )
    return (image >> (bits - 8)).astype(np.uint8)
