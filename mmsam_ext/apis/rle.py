"""Masks as run lengths, in COCO's uncompressed form."""

from __future__ import annotations

from typing import Any

import numpy as np


def encode_rle(mask: np.ndarray) -> dict[str, Any]:
    """Encode a mask as run lengths, column by column, beginning with background.

    Args:
        mask: (H, W) bool.

    Returns:
        ``size`` [H, W] and ``counts``, the lengths of the runs. This is COCO's uncompressed RLE, which
        ``pycocotools.mask.frPyObjects`` takes.

    Example::

        >>> encode_rle(np.array([[False, True], [True, True]]))
        {'size': [2, 2], 'counts': [1, 3]}
    """
    columns = np.asfortranarray(mask).ravel(order='F').view(np.uint8)
    changes = np.flatnonzero(np.diff(columns)) + 1
    counts = np.diff(np.concatenate([[0], changes, [columns.size]])).tolist()
    if columns.size and columns[0]:
        counts = [0, *counts]
    return dict(size=list(mask.shape), counts=counts)


def decode_rle(rle: dict[str, Any]) -> np.ndarray:
    """Decode what :func:`encode_rle` returns.

    Returns:
        (H, W) bool.

    Raises:
        ValueError: The run lengths do not add up to the size.
    """
    height, width = rle['size']
    counts = np.asarray(rle['counts'], dtype=np.int64)
    if counts.sum() != height * width:
        raise ValueError(f'rle: counts add up to {counts.sum()}, expected {height * width} for size {rle["size"]}')
    values = np.repeat(np.arange(len(counts)) % 2 == 1, counts)
    return values.reshape(width, height).T
