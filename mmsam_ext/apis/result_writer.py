"""Predictions as files."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .errors import InferenceError
from .image_inputs import Source

TABLE = 'scores.csv'
COLUMNS = ('image', 'prompt', 'description', 'score', 'area_percent', 'mask')
MASK = re.compile(r'(.+)_mask(?:0|[1-9]\d*)\.png')


class ResultWriter:
    """Writes ``NAME.png`` (all prompts united), ``NAME_mask<i>.png`` (prompt i), ``NAME_overlay.png``, ``scores.csv``.

    NAME is the image's file name without suffix; with it ('a_png'), or numbered, where files of another image have that
    name already. Masks are 0 and 255. Files of these names from an earlier run are overwritten, and its further
    ``NAME_mask<i>.png`` removed; a symbolic link of such a name is replaced, not followed.

    Args:
        folder: Made where it is missing.
        sources: All images that will be written.

    Raises:
        InferenceError: `folder` or its table cannot be made, or it holds an image to be segmented (or a link to one),
            which a mask might overwrite.
    """

    def __init__(self, folder: str | Path, sources: list[Source]) -> None:
        try:
            self.folder = Path(folder).expanduser()
        except RuntimeError as error:  # of ~name
            raise InferenceError(f'out_dir {folder}: {error} Expected a folder to write to') from error
        for source in sources:
            if source.path is not None and os.path.realpath(self.folder) in _folders(source.path):
                raise InferenceError(
                    f'out_dir {self.folder} is the folder of the image {source.path}; give another one'
                )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.older = _masks_by_name(self.folder)
        except OSError as error:
            raise InferenceError(f'out_dir {self.folder}: {error.strerror}; expected a folder to write to') from error
        self.taken: set[str] = {TABLE}
        self._free(TABLE)
        self._table([COLUMNS], 'w')

    def write(self, prediction: dict[str, Any], overlay: np.ndarray) -> None:
        """Write the files of one image.

        Args:
            prediction: As ``PromptSegInferencer`` returns it.
            overlay: (H, W, 3) uint8 RGB.

        Raises:
            InferenceError: a file cannot be written; names it.
        """
        name = self._free_name(prediction)
        # First that of the longest name, so that nothing is left of an image whose name is too long.
        self._image(f'{name}_overlay.png', cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
        self._image(f'{name}.png', prediction['union'].astype(np.uint8) * 255)
        for older in self.older.pop(name, []):  # an earlier run may have had more prompts
            if older.name.lower() not in self.taken:
                self._remove(older)
        rows = []
        for row, mask in enumerate(prediction['masks']):
            file = f'{name}_mask{row}.png'
            self._image(file, mask.astype(np.uint8) * 255)
            score, area = float(prediction['scores'][row]), 100 * float(mask.mean())
            rows.append((prediction['name'], row, prediction['prompts'][row], f'{score:.6f}', f'{area:.4f}', file))
        self._table(rows, 'a')  # image by image, so that a run that is stopped keeps what it has

    def _table(self, rows: list[tuple], mode: str) -> None:
        try:
            with open(self.folder / TABLE, mode, newline='', encoding='utf-8') as file:
                csv.writer(file).writerows(rows)
        except OSError as error:
            raise InferenceError(_cannot_write(self.folder / TABLE, error)) from error

    def _free_name(self, prediction: dict[str, Any]) -> str:
        endings = ['', '_overlay', *(f'_mask{row}' for row in range(len(prediction['masks'])))]
        for name in _names(prediction):
            files = {f'{name}{ending}.png'.lower() for ending in endings}  # some file systems fold the case
            if not files & self.taken:
                self.taken |= files
                return name
        raise AssertionError('numbers do not end')

    def _image(self, file: str, image: np.ndarray) -> None:
        self._free(file)
        _, encoded = cv2.imencode('.png', image)
        try:
            (self.folder / file).write_bytes(encoded)
        except OSError as error:
            raise InferenceError(_cannot_write(self.folder / file, error)) from error

    def _free(self, file: str) -> None:
        """Remove a symbolic link of this name, through which a file elsewhere would be overwritten."""
        if os.path.islink(self.folder / file):  # pathlib's raises for a name too long
            self._remove(self.folder / file)

    def _remove(self, path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise InferenceError(_cannot_write(path, error)) from error


def _masks_by_name(folder: Path) -> dict[str, list[Path]]:
    """NAME -> files ``NAME_mask<i>.png`` in a folder."""
    masks: dict[str, list[Path]] = {}
    for path in folder.iterdir():
        match = MASK.fullmatch(path.name)
        if match and (path.is_file() or path.is_symlink()):
            masks.setdefault(match[1], []).append(path)
    return masks


def _folders(path: str) -> set[str]:
    """Where a file is, and where what it links to is."""
    return {os.path.realpath(os.path.dirname(path)), os.path.dirname(os.path.realpath(path))}


def _cannot_write(path: Path, error: OSError) -> str:
    return f'{path}: {error.strerror or error}; expected a file that can be written'


def _names(prediction: dict[str, Any]) -> Iterator[str]:
    """Names to try, without end."""
    path = Path(prediction['path'] or prediction['name'].replace(' ', '_'))
    yield path.stem
    full = path.name.replace('.', '_')
    yield full
    number = 2
    while True:
        yield f'{full}_{number}'
        number += 1
