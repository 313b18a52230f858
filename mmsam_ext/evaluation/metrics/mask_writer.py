"""The predicted masks of a test as files, one for each score in the table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
from mmengine.dist import get_rank

from mmsam_ext.structures import prompt_groups
from mmsam_ext.structures.samples import sample_labels
from mmsam_ext.utils import ResultFolder
from mmsam_ext.utils.result_files import would_overwrite


class MaskWriter:
    """Writes PNG files of 0 and 255 to ``FOLDER/<dataset>/<mode>/<sample>.png``.

    A file is the mask that one prompt mode predicts for one target in the first draw, at the original size: what a
    score of the table was computed from. Where an image has several targets of a mode, its files are
    ``<sample>_target0.png``, ``<sample>_target1.png``, and so on. With ``draws`` above 1 they are
    ``<sample>_draw0.png``, and so on.

    Args:
        folder: Folder to write to.
        modes: Names of the prompt modes to write; None for all.
        draws: Number of draws to write of each mode.
        overwrite: Whether files may be replaced that no earlier run wrote.

    Raises:
        FileExistsError: `folder` holds PNG files that no earlier run wrote, and `overwrite` is not set.
    """

    def __init__(
        self, folder: str, modes: Sequence[str] | None = None, draws: int = 1, overwrite: bool = False
    ) -> None:
        if draws < 1:
            raise ValueError(f'output_draws is {draws}, expected 1 or more')
        self.modes = None if modes is None else (modes,) if isinstance(modes, str) else tuple(modes)
        self.draws = draws
        self.results = ResultFolder(folder, overwrite, get_rank())
        foreign = [] if overwrite else self.results.foreign_files('.png')
        if foreign:
            raise FileExistsError(would_overwrite(Path(folder), foreign))
        self._written: dict[str, str] = {}  # file -> the image that it belongs to

    def write(self, sample: Mapping[str, Any]) -> dict[str, str]:
        """Write the masks of a sample (``SegDataSample.to_dict()`` of a prediction).

        Returns:
            Name of each file -> the image that it belongs to, for :func:`check_owners`.

        Raises:
            ValueError: A mode in `modes` is unknown, or two images, two masks of an image or two modes have the same
                file; says which.
        """
        modes = tuple(sample['prompts']['modes']) if 'prompts' in sample else ('none',)
        unknown = [mode for mode in self.modes or () if mode not in modes]
        if unknown:
            raise ValueError(f'output_modes names the prompt modes {unknown}, expected some of {list(modes)}')
        groups = [group for group in prompt_groups(sample) if self.modes is None or group.mode in self.modes]
        targets = Counter(group.mode for group in groups)
        image = _owner(sample)
        written: dict[str, str] = {}
        for group in groups:
            for draw, mask in enumerate(group.masks[: self.draws].cpu().numpy()):
                name = '/'.join((_safe(sample_labels(sample)[0]), _safe(group.mode), _file_name(sample)))
                name += f'_target{group.target}' if targets[group.mode] > 1 else ''
                name += f'_draw{draw}' if self.draws > 1 else ''
                if f'{name}.png' in written:
                    raise ValueError(
                        f'{image}: two of the prompt modes {list(modes)} have the file {name}.png; give them names '
                        'that differ in more than slashes, dots and drive letters'
                    )
                written[f'{name}.png'] = image
                check_owners([self._written, written])
                self._written |= written
                self.results.write(f'{name}.png', cv2.imencode('.png', mask.astype(np.uint8) * 255)[1].tobytes())
        return written


def check_owners(files: Iterable[Mapping[str, str]]) -> None:
    """Check that no file belongs to two images.

    Several processes that test together know of each other's files only at the end.

    Args:
        files: Name -> image, as :meth:`MaskWriter.write` returned it for each sample.

    Raises:
        ValueError: Two images wrote a file of the same name; names all three.
    """
    owners: dict[str, str] = {}
    for one in files:
        for name, image in one.items():
            other = owners.setdefault(name, image)
            if other != image:
                raise ValueError(
                    f'{image}: its predictions go to {name}, as those of {other}. Give the datasets different names '
                    '(dataset_name=...)'
                )


def _owner(sample: Mapping[str, Any]) -> str:
    """Return what predictions belong to: an image and its mask, as a further dataset may have others of its own."""
    image, mask = str(sample.get('img_path') or sample.get('sample_id')), sample.get('seg_map_path')
    return f'{image} with the mask {mask}' if mask else image


def _file_name(sample: Mapping[str, Any]) -> str:
    """Path of a sample's files below the folder of its mode, without a suffix."""
    if sample.get('sample_id'):
        return _safe(str(sample['sample_id']))
    return _safe(str(Path(str(sample.get('img_path') or 'sample')).with_suffix('')))


def _safe(name: str) -> str:
    """`name` as a path that stays below the folder it is joined to."""
    parts = PurePosixPath(re.sub(r'^[A-Za-z]:', '', name.replace('\\', '/'))).parts
    return '/'.join(part for part in parts if part not in ('/', '..')) or 'sample'
