"""Predictions as files."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from .errors import InferenceError
from .image_inputs import Source

TABLE = 'scores.csv'
COLUMNS = ('image', 'prompt', 'description', 'score', 'area_percent', 'mask')


class ResultWriter:
    """Writes ``NAME.png`` (all prompts united), ``NAME_mask<i>.png`` (prompt i), ``NAME_overlay.png``, ``scores.csv``.

    NAME is the image's file name without suffix; with it ('a_png'), or numbered, where files of another image have that
    name already. Masks are 0 and 255. A file of an earlier run is overwritten.

    Args:
        folder: Made where it is missing.
        sources: All images that will be written.

    Raises:
        InferenceError: `folder` cannot be made, or holds an image to be segmented, which a mask might overwrite.
    """

    def __init__(self, folder: str | Path, sources: list[Source]) -> None:
        self.folder = Path(folder).expanduser()
        for source in sources:
            if source.path is not None and Path(source.path).resolve().parent == self.folder.resolve():
                raise InferenceError(
                    f'out_dir {self.folder} is the folder of the image {source.path}; give another one'
                )
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InferenceError(f'out_dir {self.folder}: {error.strerror}; expected a folder to write to') from error
        self.taken: set[str] = {TABLE}
        self._table([COLUMNS], 'w')

    def write(self, prediction: dict[str, Any], overlay: np.ndarray) -> None:
        """Write the files of one image.

        Args:
            prediction: As ``PromptSegInferencer`` returns it.
            overlay: (H, W, 3) uint8 RGB.
        """
        name = self._free_name(prediction)
        self._image(f'{name}.png', prediction['union'].astype(np.uint8) * 255)
        self._image(f'{name}_overlay.png', cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
        rows = []
        for row, mask in enumerate(prediction['masks']):
            file = f'{name}_mask{row}.png'
            self._image(file, mask.astype(np.uint8) * 255)
            score, area = float(prediction['scores'][row]), 100 * float(mask.mean())
            rows.append((prediction['name'], row, prediction['prompts'][row], f'{score:.6f}', f'{area:.4f}', file))
        self._table(rows, 'a')  # image by image, so that a run that is stopped keeps what it has

    def _table(self, rows: list[tuple], mode: str) -> None:
        with open(self.folder / TABLE, mode, newline='', encoding='utf-8') as file:
            csv.writer(file).writerows(rows)

    def _free_name(self, prediction: dict[str, Any]) -> str:
        endings = ['', '_overlay', *(f'_mask{row}' for row in range(len(prediction['masks'])))]
        for name in _names(prediction):
            files = {f'{name}{ending}.png'.lower() for ending in endings}  # some file systems fold the case
            if not files & self.taken:
                self.taken |= files
                return name
        raise AssertionError('numbers do not end')

    def _image(self, file: str, image: np.ndarray) -> None:
        if not cv2.imwrite(str(self.folder / file), image):
            raise OSError(f'could not write {self.folder / file}')


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
