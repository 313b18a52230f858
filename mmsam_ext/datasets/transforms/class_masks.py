"""Masks of several classes: which values of a file are which label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from mmsam_ext.structures.samples import IGNORE_LABEL

from .mask_files import read_mask_values
from .mask_values import Values, read_binary_mask


def read_sample_mask(
    content: bytes, info: Mapping[str, Any], foreground: Values = None, ignore: Values = None
) -> np.ndarray:
    """Decode the mask file of a sample as its dataset says.

    Args:
        content: Bytes of the file.
        info: Of the sample: `seg_map_path` and, where the dataset sets them, `mask_labels`, `mask_foreground` and
            `mask_ignore` (see :func:`read_binary_mask`), `mask_class`, the label that the foreground of the file has
            (0: the file must be empty), or `mask_values`, mask value -> label.
        foreground: In place of `mask_foreground`.
        ignore: In place of `mask_ignore`.

    Returns:
        (H, W) uint8, 0 background, the labels of classes (1 for one class) and 255 ignored.

    Raises:
        ValueError: The mask cannot be read, or has values that the dataset does not list; the message names the file.
    """
    path = info['seg_map_path']
    foreground = info.get('mask_foreground') if foreground is None else foreground
    ignore = info.get('mask_ignore') if ignore is None else ignore
    if 'mask_values' in info:
        return read_label_mask(content, path, info['mask_values'], ignore)
    mask = read_binary_mask(content, path, info.get('mask_labels', False), foreground, ignore)
    label = info.get('mask_class', 1)
    if label == 0 and (mask == 1).any():
        raise ValueError(
            f'{path}: the mask has foreground, but its folder {info.get("defect_class")!r} is not one of the classes; '
            'add it to `classes`, or remove the sample'
        )
    if label != 1:
        mask[mask == 1] = label
    return mask


def read_label_mask(content: bytes, name: str, values: Mapping[int, int], ignore: Values = None) -> np.ndarray:
    """Decode a mask whose values are numbers of classes.

    Args:
        content: Bytes of the file.
        name: Name used in errors.
        values: Mask value -> label. The value 0 is the background unless it is listed.
        ignore: Value or values of pixels that do not count; None: 255, unless it is listed.

    Returns:
        (H, W) uint8: labels, 0 background and 255 ignored.

    Raises:
        ValueError: The mask cannot be read, or has other values.
    """
    array = read_mask_values(content, name, by_number=True)
    table = {
        0: 0,
        **dict.fromkeys(_ignored(ignore), IGNORE_LABEL),
        **{int(key): label for key, label in values.items()},
    }
    found, places = np.unique(array, return_inverse=True)
    unknown = [int(value) for value in found if int(value) not in table]
    if unknown:
        raise ValueError(
            f'{name}: mask with the values {[int(value) for value in found]}, of which {unknown} belong to no class; '
            f'expected 0 (background), {sorted(values)} (`classes` of the dataset) and {_ignored(ignore)} (ignored)'
        )
    labels = np.array([table[int(value)] for value in found], np.uint8)
    return labels[places].reshape(array.shape)


def _ignored(ignore: Values) -> list[int]:
    if ignore is None:
        return [IGNORE_LABEL]
    return list(ignore) if isinstance(ignore, (list, tuple)) else [cast('int', ignore)]
