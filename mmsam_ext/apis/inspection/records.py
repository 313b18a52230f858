"""Results of an inspection as a file of one line per image, so that a run that is killed goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mmsam_ext.utils.result_files import ResultFolder

from ..errors import InferenceError
from ..rle import decode_rle, encode_rle
from .inspector import Inspection

#: Name of the file. Its first line describes the run, each further one an image.
FILE = 'results.jsonl'


def to_record(inspection: Inspection, mm_per_pixel: float | None = None) -> dict[str, Any]:
    """Return an inspection as plain numbers and text.

    Returns:
        `image` (name), `path`, `height`, `width`, `defective`, `score` and `defects`, each with `class`, `score`, `box`
        (x, y, width, height), `area_px`, `length_px`, `width_px`, with `mm_per_pixel` also `area_mm2`, `length_mm`,
        `width_mm`, and `rle`: the mask in its box, as :func:`~mmsam_ext.apis.rle.encode_rle` returns it.
    """
    defects = []
    for defect in inspection.defects:
        length, width = defect.extent
        entry: dict[str, Any] = dict(
            box=list(defect.region.box), score=round(defect.score, 6), area_px=defect.region.area,
            length_px=round(length, 2), width_px=round(width, 2), rle=encode_rle(defect.region.mask),
        )  # fmt: skip
        entry['class'] = defect.name
        if mm_per_pixel is not None:
            entry['area_mm2'] = round(defect.region.area * mm_per_pixel**2, 6)
            entry['length_mm'], entry['width_mm'] = round(length * mm_per_pixel, 4), round(width * mm_per_pixel, 4)
        defects.append(entry)
    height, width = inspection.size
    return dict(
        image=inspection.source.name, path=inspection.source.path, height=int(height), width=int(width),
        defective=inspection.defective, score=round(inspection.score, 6), defects=defects,
    )  # fmt: skip


def full_mask(record: dict[str, Any], defect: dict[str, Any]) -> np.ndarray:
    """Return the mask of a defect at the size of its image, (H, W) bool."""
    mask = np.zeros((record['height'], record['width']), bool)
    x, y, width, height = defect['box']
    mask[y : y + height, x : x + width] = decode_rle(defect['rle'])
    return mask


class RecordFile:
    """The file of an output folder, opened to go on with an earlier run of the same settings.

    Args:
        folder: The output folder.
        run: What the results depend on: weights, thresholds and so on.
        overwrite: Whether an earlier run with other settings, or a file of the user, may be replaced.

    Raises:
        InferenceError: The folder holds results of other settings, and `overwrite` is not set; names them.
    """

    def __init__(self, folder: str | Path, run: dict[str, Any], overwrite: bool = False) -> None:
        self.path = Path(folder) / FILE
        self.results = ResultFolder(folder, overwrite)
        self.done: set[str] = set()
        lines = list(_lines(self.path)) if self.path.is_file() else []
        earlier = lines[0].get('run') if lines else None
        if earlier is not None and earlier != run and not overwrite:
            differ = sorted(key for key in {*earlier, *run} if earlier.get(key) != run.get(key))
            changes = '; '.join(f'{key} was {earlier.get(key)!r}, is {run.get(key)!r}' for key in differ)
            raise InferenceError(
                f'{self.path}: results of a run with other settings ({changes}). Give another --out, or --overwrite to '
                'start again'
            )
        kept = lines[1:] if earlier == run else []
        self.done = {line['image'] for line in kept if 'error' not in line}
        kept = [line for line in kept if 'error' not in line]  # images that failed are tried again
        if self.path.is_file() and earlier is None and not overwrite:
            raise InferenceError(f'{self.path}: not a file of an inspection; give another --out, or --overwrite')
        text = ''.join(json.dumps(line) + '\n' for line in [dict(run=run), *kept])
        ResultFolder(folder, overwrite=True).write(FILE, text.encode())

    def add(self, record: dict[str, Any]) -> None:
        """Append the record of an image.

        Raises:
            OSError: It cannot be written, for example because the disk is full; earlier records are safe.
        """
        with self.path.open('ab') as file:
            file.write((json.dumps(record) + '\n').encode())
        self.done.add(record['image'])


def read_records(folder: str | Path) -> tuple[dict[str, Any], Iterator[dict[str, Any]]]:
    """Read the results in a folder, or in a file.

    Returns:
        The description of the run, and the records, read one by one.

    Raises:
        InferenceError: There are none.
    """
    path = Path(folder)
    path = path / FILE if path.is_dir() else path
    if not path.is_file():
        raise InferenceError(f'{path}: does not exist; expected the results of `python -m mmsam_ext inspect --out DIR`')
    lines = _lines(path)
    head = next(lines, {})
    if 'run' not in head:
        raise InferenceError(f'{path}: not a file of an inspection; its first line has no `run`')
    return head['run'], lines


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the lines of a file; one that was cut short by a kill is left out, as nothing follows it."""
    with path.open(encoding='utf-8', errors='replace') as file:
        for line in file:
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict):
                yield value
