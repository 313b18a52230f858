"""Which values of a mask are foreground, and the errors for masks that can be read in more than one way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from mmsam_ext.structures.samples import IGNORE_LABEL

from .mask_files import EXPECTED, NEAR, is_lossy, read_mask_values

#: Largest share of the non-zero pixels that may be mid-grey (64..191).
_MOST_GREY = 0.5
#: Below this share of the image, grey pixels are a residue whatever their values.
_RESIDUE = 0.001

Values = int | Sequence[int] | None


def read_binary_mask(
    content: bytes, name: str, labels: bool = False, foreground: Values = None, ignore: Values = None
) -> np.ndarray:
    """Decode a mask file to background, foreground and ignored pixels.

    0/1 and 0/255 masks are understood, of 1, 8 or 16 bits, grey, with palette or colour with equal channels; see
    :func:`read_mask_values` for the numbers that count. Where the largest value is above 1, foreground is > 127 (of
    255), so the grey of smoothed or compressed edges is decided.

    Args:
        content: Bytes of the file.
        name: Name used in errors.
        labels: Whether values are numbers of classes or objects, of which all but 0 are foreground.
        foreground: Value or values that are foreground, exactly; all others are background.
        ignore: Value or values of pixels that do not count, exactly.

    Returns:
        (H, W) uint8, 0 background, 1 foreground and 255 ignored.

    Raises:
        ValueError: The mask cannot be read or its values can be read in more than one way. The message names the mask,
            what came and what was expected.

    Example::

        >>> read_binary_mask(content, 'a.png', ignore=255)  # 0 background, 1 defect, 255 ignored
    """
    array = read_mask_values(content, name, by_number=labels or foreground is not None)
    if is_lossy(content):
        _check_lossy(array, name, labels, (*_tuple(foreground), *_tuple(ignore)))
    chosen, ignored = _isin(array, foreground), _isin(array, ignore)
    if chosen is None:
        counted = array if ignored is None else np.where(ignored, 0, array).astype(array.dtype)
        chosen = _foreground(counted, name, labels)
    mask = chosen.astype(np.uint8)
    if ignored is not None:
        mask[ignored] = IGNORE_LABEL
    return mask


def check_values(foreground: Values, ignore: Values) -> None:
    """Check the options of :func:`read_binary_mask`.

    Raises:
        ValueError: Something that is not a whole number, or a value that is both foreground and ignored.
    """
    for option, values in (('foreground', foreground), ('ignore', ignore)):
        kinds = {type(value).__name__ for value in _tuple(values)}
        if kinds - {'int'}:
            raise ValueError(f'{option} is {values!r}, expected a whole number or a list of them')
    both = set(_tuple(foreground)) & set(_tuple(ignore))
    if both:
        raise ValueError(f'foreground and ignore both hold {sorted(both)}, expected different values of the masks')


def _tuple(values: Any) -> tuple:
    if values is None:
        return ()
    return tuple(values) if isinstance(values, (list, tuple)) else (values,)


def _isin(array: np.ndarray, values: Values) -> np.ndarray | None:
    return None if values is None else np.isin(array.astype(np.int64), _tuple(values))


def _check_lossy(array: np.ndarray, name: str, labels: bool, exact: tuple[int, ...]) -> None:
    """Check that nothing depends on exact values, which a lossy compression has changed.

    Raises:
        ValueError: Values are numbers, a mask of 0 and 1, or compared with `exact` ones and others are beside them.
    """
    top = array.max(initial=0)
    others = np.setdiff1d(np.unique(array), (0, *exact)) if exact else np.array([])
    if top > 0 and (labels or top == 1 or others.size):
        raise ValueError(
            f'{name}: mask in a lossy format (JPEG, lossy WebP, AVIF), whose compression changes values, with values '
            f'up to {top} that have to be exact (0 and 1, numbers of classes or objects, foreground= or ignore=). Save '
            'it as PNG, from its source; masks of 0 and 255 may be lossy, without foreground= and ignore='
        )


def _foreground(array: np.ndarray, name: str, labels: bool) -> np.ndarray:
    """(H, W) bool of values without ignored ones."""
    if array.dtype == bool:
        return array
    top = array.max(initial=0)
    if not np.issubdtype(array.dtype, np.integer) or array.min(initial=0) < 0 or top > 65535:
        raise ValueError(f'{name}: mask of {array.dtype} with values {array.min()} to {top}, {EXPECTED}')
    if top <= 1 or labels:
        return array > 0
    if top > 255:  # 16 bits
        array = np.rint(array / 257)
    array = array.astype(np.uint8)
    _check_levels(array, name)
    return array > 127


def level_counts(image: np.ndarray) -> np.ndarray:
    """Count the pixels of each level of (H, W) uint8 -> (256,) int64; ten times as fast as ``np.bincount``."""
    rows = max(1, 2**24 // max(1, image.shape[1]))  # cv2 counts in float32, which is exact up to 2^24
    counts = np.zeros(256, np.int64)
    for start in range(0, len(image), rows):
        counts += cv2.calcHist([image[start : start + rows]], [0], None, [256], [0, 256]).ravel().astype(np.int64)
    return counts


def _check_levels(mask: np.ndarray, name: str) -> None:
    """Check that (H, W) uint8 is a 0/255 mask with grey edges, not labels.

    The grey of smoothed edges is thin; labels are areas of one level each. Compression leaves many different levels
    near black; labels are few.
    """
    counts = level_counts(mask)
    values = np.flatnonzero(counts)
    if {1, 255} <= set(values.tolist()) <= {0, 1, 255}:
        raise ValueError(
            f'{name}: mask with the values {", ".join(map(str, values))} can be read in two ways: 1 is the defect and '
            '255 is to be ignored, as in MMSegmentation (set ignore=255), or 255 is the defect and 1 is background '
            '(set foreground=255). Set one of the two in the dataset or in LoadBinaryMask'
        )
    nonzero = mask.size - counts[0]
    residue = _RESIDUE * mask.size
    low = counts[1 : NEAR + 1].sum()
    few = np.count_nonzero(counts[1:255]) <= 8
    labels = low > residue and (counts[128:].sum() == 0 or (few and low >= 0.5 * nonzero))
    grey = counts[64:192].sum()
    labels |= grey > residue and grey > _MOST_GREY * nonzero
    # Areas: the 3 x 3 pixels around are equal, and neither nearly black nor nearly white.
    around = np.ones((3, 3), np.uint8)
    area = (cv2.erode(mask, around) == cv2.dilate(mask, around)) & (mask > NEAR) & (mask < 255 - NEAR)
    if labels or np.count_nonzero(area) > residue:
        shown = ', '.join(map(str, values[:8])) + (f', ... {values[-1]}' if len(values) > 8 else '')
        share = counts[1:255].sum() / mask.size
        raise ValueError(
            f'{name}: mask with unexpected values {shown} ({len(values)} different ones, {share:.1%} of the pixels '
            f'neither 0 nor 255), {EXPECTED}. If these are numbers of classes, name those that are defects with '
            f'foreground=[...] and pixels to leave out with ignore=...; a binary dataset has one class of defect'
        )
