"""Prompts in files: COCO's result files, and JSON or CSV lists of boxes and points by image."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from mmsam_ext.utils.text_files import read_text

from .coco_files import read_coco, read_json
from .prompts import PromptKind

EXPECTED = 'image_id or file_name, category_id, bbox [x, y, width, height] or points [[x, y, label], ...], and score'


@dataclass(frozen=True)
class PromptTable:
    """N prompts of any images with what came along, row by row.

    Attributes:
        boxes: (N, 4) float, x1 y1 x2 y2 in pixels.
        points: (N, K, 2) float, x and y.
        point_labels: (N, K) int64, 1 foreground, 0 background, -1 padding.
        kinds: (N,) int64 of :class:`PromptKind`.
        scores: (N,) float.
        category_ids: (N,) int64.
        annotation_ids: (N,) int64, -1 for a prompt that does not come from an annotation.
        phrases: (N,) str, the words that a prompt answers; '' where the file does not say.
    """

    boxes: np.ndarray
    points: np.ndarray
    point_labels: np.ndarray
    kinds: np.ndarray
    scores: np.ndarray
    category_ids: np.ndarray
    annotation_ids: np.ndarray
    phrases: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def __getitem__(self, rows: np.ndarray | slice) -> PromptTable:
        return PromptTable(*(getattr(self, field.name)[rows] for field in fields(self)))

    @classmethod
    def create(cls, rows: Sequence[dict[str, Any]]) -> PromptTable:
        """Collect rows with `bbox` or `points` or both, and `score`, `category_id` and `id` where they have them."""
        longest = max((len(row.get('points') or ()) for row in rows), default=0)
        points = np.zeros((len(rows), longest, 2))
        labels = np.full((len(rows), longest), -1)
        for index, row in enumerate(rows):
            for place, (x, y, label) in enumerate(row.get('points') or []):
                points[index, place], labels[index, place] = (x, y), label
        box = np.array([row.get('bbox') or (0, 0, 0, 0) for row in rows], float).reshape(-1, 4)  # x y width height
        kinds = [
            (PromptKind.BOX if row.get('bbox') else 0) | (PromptKind.POINTS if row.get('points') else 0) for row in rows
        ]
        return cls(
            boxes=np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], 1),
            points=points,
            point_labels=labels,
            kinds=np.array(kinds, np.int64),
            scores=np.array([row.get('score', 1.0) for row in rows], float),
            category_ids=np.array([row.get('category_id', -1) for row in rows], np.int64),
            annotation_ids=np.array([row.get('id', -1) for row in rows], np.int64),
            phrases=np.array([str(row.get('phrase', '')) for row in rows], object),
        )


class PromptFile:
    """The prompts of a file by image.

    Args:
        path: JSON: a list of dicts as in COCO's result format (``[{image_id, category_id, bbox [x y w h], score}]``),
            in which `file_name` may stand for `image_id`, `points` ([[x, y, label], ...]) for `bbox` or beside it, and
            `phrase` says what a box shows.
            CSV: columns file_name (or image_id), x, y, width, height, score, category_id, and points as
            'x y label; x y label'; those that are not needed may be missing.
            COCO annotations: the boxes of all annotations but crowds, with a score of 1 and their category as phrase.
        need_scores: Whether each prompt must have a score.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: The file is neither; names the file, the entry and the field.
    """

    def __init__(self, path: str, need_scores: bool = True) -> None:
        self.path = path
        rows = list(_csv_rows(path)) if path.lower().endswith('.csv') else read_json(path)
        if isinstance(rows, dict):
            rows = _annotated_rows(read_coco(path))
        if not isinstance(rows, list) or not rows:
            came = 'an empty list' if rows == [] else f'a {type(rows).__name__}'
            raise ValueError(f'{path}: holds {came}, expected a list of prompts with {EXPECTED}')
        for index, row in enumerate(rows):
            check_row(f'{path}: entry {index}', row, need_scores)
        self.table = PromptTable.create(rows)
        by_image: dict[int | str, list[int]] = {}
        by_name: dict[str, list[int]] = {}
        for index, row in enumerate(rows):
            image = row['image_id'] if 'image_id' in row else row['file_name']
            by_image.setdefault(image, []).append(index)
            if isinstance(row.get('file_name'), str):
                by_name.setdefault(row['file_name'], []).append(index)
        self._rows = {image: np.array(places) for image, places in by_image.items()}
        self._named = {name: np.array(places) for name, places in by_name.items()}

    @property
    def images(self) -> set[int | str]:
        """Ids or file names of the images that have prompts."""
        return set(self._rows)

    @property
    def names(self) -> set[str]:
        """File names of the images that have prompts, as the file writes them; without those that have only an id."""
        return set(self._named)

    def name_of(self, path: str) -> str | None:
        """Return the longest of :attr:`names` that `path` ends in, in whole folders; None where there is none."""
        parts = path.replace(os.sep, '/').split('/')
        ends = ('/'.join(parts[start:]) for start in range(len(parts)))
        return next((end for end in ends if end in self._named), None)

    def of_image(self, image_id: int | None, path: str = '') -> PromptTable:
        """Return the prompts of an image, found by its id or by the end of its path; an empty table without any."""
        rows = self._rows.get(image_id) if image_id is not None else None
        if rows is None:
            name = self.name_of(path)
            rows = np.arange(0) if name is None else self._named[name]
        return self.table[rows]


def check_row(where: str, row: Any, need_scores: bool) -> None:
    """Check one prompt of a file.

    Args:
        where: File and entry, for the message.
        row: The prompt as it was read.
        need_scores: Whether a missing score is an error.

    Raises:
        ValueError: names `where`, the field, what came and what was expected.
    """
    if not isinstance(row, dict):
        raise ValueError(f'{where} is a {type(row).__name__}, expected a dict with {EXPECTED}')
    if not isinstance(row.get('image_id', row.get('file_name')), (int, str)):
        raise ValueError(f'{where} has neither `image_id` nor `file_name`, expected one of them')
    if not (row.get('bbox') or row.get('points')):
        raise ValueError(f'{where} has neither `bbox` nor `points`, expected one of them')
    if need_scores and 'score' not in row:
        raise ValueError(f'{where} has no `score`, expected the score of its box')
    if row.get('bbox') and not _numbers(row['bbox'], 4):
        raise ValueError(f'{where}: field `bbox` is {row["bbox"]}, expected [x, y, width, height], finite numbers')
    if not all(_numbers(point, 3) and point[2] in (0, 1) for point in row.get('points') or ()):
        raise ValueError(f'{where}: field `points` is {row["points"]}, expected [[x, y, label], ...] with label 0 or 1')
    if not _numbers([row.get('score', 1.0)], 1):
        raise ValueError(f'{where}: field `score` is {row["score"]!r}, expected a finite number')
    if not isinstance(row.get('category_id', 0), int):
        raise ValueError(f'{where}: field `category_id` is {row["category_id"]!r}, expected a whole number')


def _numbers(values: Any, number: int) -> bool:
    if not isinstance(values, (list, tuple)) or len(values) != number:
        return False
    return all(isinstance(value, (int, float)) and math.isfinite(value) for value in values)


def _annotated_rows(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Boxes of a COCO annotation file as a list of prompts would have them."""
    files = {image['id']: image.get('file_name') for image in data['images']}
    names = {category['id']: category.get('name', '') for category in data['categories']}
    kept = [one for one in data['annotations'] if not one.get('iscrowd')]
    fields = ('id', 'image_id', 'category_id', 'bbox')
    return [
        {key: one[key] for key in fields if key in one}
        | dict(file_name=files[one['image_id']], phrase=names[one['category_id']], score=1.0)
        for one in kept
    ]


def _csv_rows(path: str) -> Iterator[dict[str, Any]]:
    """Rows of a CSV file as a JSON file would have them."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such file; expected a CSV file of prompts')
    for number, line in enumerate(_lines(path)):
        cells = {key.strip(): value.strip() for key, value in line.items() if key and value and value.strip()}
        row: dict[str, Any] = {key: cells[key] for key in ('file_name', 'phrase') if key in cells}
        try:
            row |= {key: int(cells[key]) for key in ('image_id', 'category_id') if key in cells}
            row |= {key: float(cells[key]) for key in ('score',) if key in cells}
            if 'x' in cells:
                row['bbox'] = [float(cells[key]) for key in ('x', 'y', 'width', 'height')]
            if 'points' in cells:
                row['points'] = [_point(text) for text in cells['points'].split(';') if text.strip()]
        except (KeyError, ValueError) as error:
            raise ValueError(
                f'{path}: entry {number} ({dict(line)}) cannot be read ({error!r}), expected the columns file_name '
                "or image_id, x, y, width, height, score, category_id, points ('x y label; x y label')"
            ) from error
        yield row


def _lines(path: str) -> list[dict[str, Any]]:
    try:
        return list(csv.DictReader(io.StringIO(read_text(path))))
    except csv.Error as error:
        raise ValueError(f'{path}: not a CSV file ({error})') from error


def _point(text: str) -> list[float]:
    x, y, label = (float(value) for value in text.split())
    return [x, y, int(label)]
