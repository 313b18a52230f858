"""Predictions as files."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmsam_ext.utils import ResultFolder, printable

from .errors import InferenceError
from .full_size import masks_of
from .image_inputs import Source

TABLE = 'scores.csv'
COLUMNS = ('image', 'prompt', 'description', 'score', 'area_percent', 'mask', 'error', 'score_from')
MASK = re.compile(r'(.+)_mask(?:0|[1-9]\d*)\.png')


class ResultWriter:
    """Writes ``NAME.png`` (all prompts united), ``NAME_mask<i>.png`` (prompt i), ``NAME_overlay.png``, ``scores.csv``.

    NAME is the image's file name without suffix; with it ('a_png'), or numbered, where files of another image have that
    name already. Masks are 0 and 255. A row of the table is a prompt, or an image that failed, with the reason in the
    column `error`.

    Files that an earlier run wrote are replaced, and its further ``NAME_mask<i>.png`` removed. Rows of the table stay
    whose image is not among these and whose mask is still there, so a loop over images may write to one folder. Files
    of anybody else stay: see :class:`ResultFolder`. All names are planned and checked when the object is made, before
    any work.

    Args:
        folder: Folder to write to, made where it is missing.
        sources: All images that will be written.
        numbers: Number of masks of each of them.
        overwrite: Whether files that no earlier run wrote may be replaced.
        score_from: Where the scores come from, see :func:`score_origin`; written beside each of them.

    Raises:
        InferenceError: `folder` or its table cannot be made; it holds an image to be segmented (or a link to one),
            which a mask might overwrite; or it holds files of the planned names that no earlier run wrote.
    """

    def __init__(
        self,
        folder: str | Path,
        sources: Sequence[Source],
        numbers: Sequence[int],
        overwrite: bool = False,
        score_from: str = '',
    ) -> None:
        self.score_from = score_from
        try:
            self.folder = Path(folder).expanduser()
        except RuntimeError as error:  # of ~name
            raise InferenceError(f'out_dir {folder}: {error} Expected a folder to write to') from error
        for source in sources:
            if source.path is not None and os.path.realpath(self.folder) in _folders(source.path):
                raise InferenceError(
                    f'out_dir {self.folder} is the folder of the image {source.path}; give another one'
                )
        self.names = _plan(sources, numbers)
        planned = {file for name, number in zip(self.names, numbers, strict=True) for file in _files(name, number)}
        self.planned = planned | {TABLE}
        self.masks = {name: set(_files(name, number)[2:]) for name, number in zip(self.names, numbers, strict=True)}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.results = ResultFolder(self.folder, overwrite)
            self.older = _masks_by_name(self.folder)
            existing = {entry.name for entry in os.scandir(self.folder)}
            self.results.check(sorted(existing & self.planned))
            self.results.manifest.touch()
        except (FileExistsError, IsADirectoryError) as error:
            text = f'{self.folder}: {error.strerror}; expected a folder to write to' if error.strerror else error
            raise InferenceError(f'out_dir {text}') from error
        except OSError as error:
            raise InferenceError(f'out_dir {self.folder}: {error.strerror}; expected a folder to write to') from error
        self.kept = self._rows_to_keep({printable(source.name) for source in sources})
        self.started = False

    def write(self, index: int, prediction: dict[str, Any], overlay: np.ndarray) -> None:
        """Write the files of one image.

        Args:
            index: Number of the image among the sources.
            prediction: As ``PromptSegInferencer`` returns it.
            overlay: (H, W, 3) uint8 RGB.

        Raises:
            InferenceError: a file cannot be written; names it.
        """
        name = self.names[index]
        # First that of the longest name, so that nothing is left of an image whose name is too long.
        self._image(f'{name}_overlay.png', cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR))
        self._image(f'{name}.png', prediction['union'].astype(np.uint8) * 255)
        own = set(_files(name, len(prediction['scores'])))
        for older in self.older.pop(name, []):  # an earlier run may have had more prompts
            if older not in own | (self.planned - self.masks[name]):
                self.results.remove(older)
        rows = []
        for row, mask in enumerate(masks_of(prediction)):
            file = f'{name}_mask{row}.png'
            self._image(file, mask.astype(np.uint8) * 255)
            score, area = float(prediction['scores'][row]), 100 * float(mask.mean())
            rows.append(
                (
                    prediction['name'],
                    row,
                    prediction['prompts'][row],
                    f'{score:.6f}',
                    f'{area:.4f}',
                    file,
                    '',
                    self.score_from,
                )
            )
        if not rows:  # nothing was there to be segmented
            rows.append((prediction['name'], '', 'none', '', '0.0000', '', '', ''))
        self._table(rows)  # image by image, so that a run that is stopped keeps what it has

    def write_failure(self, failure: dict[str, Any]) -> None:
        """Add the row of an image that failed: its `name` and its `error`.

        Raises:
            InferenceError: the table cannot be written.
        """
        self._table([(failure['name'], '', '', '', '', '', failure['error'], '')])

    def _table(self, rows: list[tuple]) -> None:
        text = io.StringIO(newline='')
        csv.writer(text).writerows(rows if self.started else [COLUMNS, *self.kept, *rows])
        content = printable(text.getvalue()).encode('utf-8')
        self._guard(TABLE, self.results.append if self.started else self.results.write, content)
        self.started = True

    def _rows_to_keep(self, images: set[str]) -> list[list[str]]:
        """Return the rows of an earlier run's table whose images and masks this run does not replace."""
        if not self.results.wrote(TABLE):
            return []
        with (self.folder / TABLE).open(encoding='utf-8', newline='') as file:
            header, *rows = csv.reader(file)
        if tuple(header) != COLUMNS:  # of another version
            return []
        image, mask = COLUMNS.index('image'), COLUMNS.index('mask')

        def stays(file: str) -> bool:
            match = MASK.fullmatch(file)
            return not match or (match[1] not in self.masks and (self.folder / file).is_file())

        return [row for row in rows if row[image] not in images and stays(row[mask])]

    def _image(self, file: str, image: np.ndarray) -> None:
        self._guard(file, self.results.write, cv2.imencode('.png', image)[1].tobytes())

    def _guard(self, file: str, write: Any, content: bytes) -> None:
        try:
            write(file, content)
        except OSError as error:
            text = f'{self.folder / file}: {error.strerror or error}; expected a file that can be written'
            raise InferenceError(text) from error


def _plan(sources: Sequence[Source], numbers: Sequence[int]) -> list[str]:
    """NAME of each source, so that no two of all files are equal; some file systems fold the case."""
    taken, names = {TABLE}, []
    for source, number in zip(sources, numbers, strict=True):
        for name in _names(source):
            files = {file.lower() for file in _files(name, number)}
            if not files & taken:
                break
        taken |= files
        names.append(name)
    return names


def _files(name: str, number: int) -> list[str]:
    return [f'{name}.png', f'{name}_overlay.png', *(f'{name}_mask{row}.png' for row in range(number))]


def _masks_by_name(folder: Path) -> dict[str, list[str]]:
    """NAME -> files ``NAME_mask<i>.png`` in a folder."""
    masks: dict[str, list[str]] = defaultdict(list)
    for entry in os.scandir(folder):
        match = MASK.fullmatch(entry.name)
        if match:
            masks[match[1]].append(entry.name)
    return masks


def _folders(path: str) -> set[str]:
    """Return the folder of a file, and that of the file it links to."""
    return {os.path.realpath(os.path.dirname(path)), os.path.dirname(os.path.realpath(path))}


def _names(source: Source) -> Iterator[str]:
    """Names to try, without end."""
    path = Path(source.path or source.name.replace(' ', '_'))
    yield path.stem
    full = path.name.replace('.', '_')
    yield full
    number = 2
    while True:
        yield f'{full}_{number}'
        number += 1
