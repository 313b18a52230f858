"""Summaries of the checks of all files of a dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .transforms.bit_depth import depth_that_holds

#: Mean share of foreground above which masks are reported as inverted: defects and organs do not fill images.
_INVERTED_SHARE = 0.75


class FileCheck(NamedTuple):
    """The result for the files of one sample.

    Attributes:
        keep: Whether the sample stays in the dataset.
        largest: Largest value of an image with 16 bits a channel, None for 8 bits.
        share: Share of the mask's pixels that are foreground, in [0, 1]; None where the mask was not read.
        labels: The labels of the classes in the mask.
    """

    keep: bool
    largest: int | None = None
    share: float | None = None
    labels: frozenset[int] = frozenset()


def bit_depth_of(checks: Sequence[FileCheck]) -> int | None:
    """Return the number of bits that all images of 16 bits a channel are read with, None where there are none."""
    largest = [check.largest for check in checks if check.largest is not None]
    return depth_that_holds(max(largest)) if largest else None


def bit_depth_message(checks: Sequence[FileCheck]) -> str | None:
    """Return a log message about :func:`bit_depth_of`; None where all 16 bits are in use."""
    depth, largest = bit_depth_of(checks), [check.largest for check in checks if check.largest is not None]
    if depth is None or depth == 16:
        return None
    return (
        f'{len(largest)} of {len(checks)} images have 16 bits a channel with values up to {max(largest)} and are read '
        f'as {depth}-bit data. Checkpoints of a training store it, so that validation, test and inference read images '
        f'alike; if the camera has more bits, set its bit_depth in LoadImageFromFile in place of bit_depth={depth}'
    )


def foreground_message(checks: Sequence[FileCheck]) -> str | None:
    """Return a warning where the masks of a whole dataset look inverted, else None."""
    shares = [check.share for check in checks if check.share is not None]
    if not shares or np.mean(shares) < _INVERTED_SHARE:
        return None
    return (
        f'{np.mean(shares):.1%} of the pixels of the {len(shares)} masks are foreground on average, expected a small '
        'share. If the masks are inverted, with black defects on white, set foreground=0'
    )
