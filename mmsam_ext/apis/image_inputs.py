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

from mmsam_ext.datasets.binary_defect import SUFFIXES, some
from mmsam_ext.datasets.transforms.image_files import check_image_header, read_file
from mmsam_ext.utils import printable

from .errors import InferenceError


class Source(NamedTuple):
    """One image: its name in messages and results (printable), its file or None, its pixels or None."""

    name: str
    path: str | None = None
    array: np.ndarray | None = None

    @property
    def folder(self) -> str:
        """Name of the folder that the file is in, 'array' without a file."""
        return Path(self.path).resolve().parent.name if self.path else 'array'


def list_sources(inputs: str | os.PathLike | np.ndarray | Sequence | list[Source]) -> list[Source]:
    """List all images of `inputs` without reading them.

    Args:
        inputs: A path, a folder (its images in the order of names; hidden files and those that are not images are left
            out, sub-folders not entered, which is logged), an array, or a list of these; a list of sources is returned
            as it is.

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
            sources += _files(path) if os.path.isdir(path) else [_source(path)]
        else:
            raise InferenceError(
                f'inputs: got a {type(item).__name__}, expected a path, a folder, an array or a list of these'
            )
    if not sources:
        raise InferenceError('inputs: an empty list, expected at least one image')
    return sources


def _source(path: Path) -> Source:
    return Source(printable(path), path=str(path))


def _files(folder: Path) -> list[Source]:
    """Images in a folder. Other files are left out, and named in the log."""
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith('.'))
    except OSError as error:
        raise InferenceError(f'{folder}: {error.strerror}; expected a folder that can be read') from error
    folders = [path for path in entries if path.is_dir()]
    if folders:
        print_log(
            f'{printable(folder)}: {len(folders)} sub-folders are not entered', logger='current', level=logging.WARNING
        )
    images, others = [], []
    for path in entries:
        if not path.is_dir():
            (images if _is_image(path) else others).append(path)
    if not images:
        raise InferenceError(f'{folder}: a folder without images ({len(others)} other files), expected images')
    if others:
        print_log(
            f'{printable(folder)}: {len(others)} files that are not images are left out: '
            f'{some([path.name for path in others])}',
            logger='current',
            level=logging.INFO,
        )
    return [_source(path) for path in images]


def _is_image(path: Path) -> bool:
    """Return whether a file is meant to be an image: by its suffix, or else by how it begins."""
    if not path.is_file() and not path.is_symlink():  # a pipe, on which reading would wait
        return False
    if path.suffix.lower() in SUFFIXES:
        return True
    try:
        return cv2.haveImageReader(str(path))
    except (cv2.error, UnicodeError, SystemError):
        return False


def check_source(source: Source) -> None:
    """Check that a file begins and ends like an image, or that an array can be taken for one.

    Raises:
        InferenceError: it is not; names it, what came and what was expected.
    """
    if source.path is not None:
        try:
            check_image_header(read_file(source.path), source.path)  # pixels are checked when they are decoded
        except (OSError, ValueError) as error:
            raise InferenceError(str(error)) from error
        return
    array = np.asarray(source.array)
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
