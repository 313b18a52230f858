"""Images that a user names or hands over."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from mmengine.logging import print_log

from mmsam_ext.datasets import check_image_file

from .errors import InferenceError


class Source(NamedTuple):
    """One image: its name in messages and results, its file or None, its pixels or None."""

    name: str
    path: str | None = None
    array: np.ndarray | None = None


def list_sources(inputs: str | os.PathLike | np.ndarray | Sequence | list[Source]) -> list[Source]:
    """All images of `inputs`, unread.

    Args:
        inputs: A path, a folder (its files in the order of names; hidden files are left out, sub-folders not entered,
            which is logged), an array, or a list of these; a list of sources is returned as it is.

    Raises:
        InferenceError: nothing there, or something of another type.
    """
    sources: list[Source] = []
    for item in inputs if isinstance(inputs, (list, tuple)) else [inputs]:
        if isinstance(item, Source):
            sources.append(item)
        elif isinstance(item, np.ndarray):
            sources.append(Source(f'array {len(sources)}', array=item))
        elif isinstance(item, (str, os.PathLike)):
            path = Path(os.path.expanduser(item))  # '~name' of no user is left as it is, as shells do
            sources += _files(path) if os.path.isdir(path) else [Source(str(path), path=str(path))]
        else:
            raise InferenceError(
                f'inputs: got a {type(item).__name__}, expected a path, a folder, an array or a list of these'
            )
    if not sources:
        raise InferenceError('inputs: an empty list, expected at least one image')
    return sources


def _files(folder: Path) -> list[Source]:
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith('.'))
    except OSError as error:
        raise InferenceError(f'{folder}: {error.strerror}; expected a folder that can be read') from error
    files = [path for path in entries if not path.is_dir()]
    if len(files) < len(entries):
        print_log(
            f'{folder}: {len(entries) - len(files)} sub-folders are not entered',
            logger='current',
            level=logging.WARNING,
        )
    if not files:
        raise InferenceError(f'{folder}: a folder without files, expected images')
    return [Source(str(path), path=str(path)) for path in files]


def check_source(source: Source) -> None:
    """Check that a file is a complete image, or that an array can be taken for one.

    Raises:
        InferenceError: it is not; names it, what came and what was expected.
    """
    if source.path is not None:
        try:
            check_image_file(source.path)
        except (OSError, ValueError) as error:
            raise InferenceError(str(error)) from error
        return
    array = source.array
    fits = array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (1, 3, 4))
    if not fits or array.dtype != np.uint8 or array.size == 0:
        raise InferenceError(
            f'{source.name}: {array.dtype} of shape {array.shape}, expected uint8 of shape (H, W, 3) BGR, as mmcv and '
            'cv2 read it, or (H, W) grey or (H, W, 4) BGRA'
        )


def as_bgr(array: np.ndarray) -> np.ndarray:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8 -> (H, W, 3) BGR; alpha is dropped."""
    if array.ndim == 2 or array.shape[2] == 1:
        return cv2.cvtColor(np.ascontiguousarray(array), cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(array[..., :3])
