"""The report of an inspection: tables as CSV, and a page of HTML with a picture of each defective image."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmsam_ext.utils import printable
from mmsam_ext.utils.result_files import ResultFolder

from .calibrate import thumbnail
from .records import read_records

PICTURES = 'pictures'
IMAGES, DEFECTS, PAGE = 'images.csv', 'defects.csv', 'report.html'
_SIDE = 640  # pixels of a picture's longer side
_COLUMNS = ('area_px', 'length_px', 'width_px', 'area_mm2', 'length_mm', 'width_mm')
_HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Inspection</title>
<style>body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em;color:#1d2430}
table{border-collapse:collapse;margin:.5em 0}td,th{border-bottom:1px solid #d5dae1;padding:.2em .7em;text-align:right}
td:first-child,th:first-child{text-align:left}.bad{color:#b3261e;font-weight:600}.good{color:#1e7b34}
article{display:grid;grid-template-columns:minmax(0,1fr) minmax(0,1fr);gap:1em;border-top:1px solid #d5dae1;
padding:1em 0}img{max-width:100%}.note{background:#fff4d6;padding:.6em 1em}</style>
"""


def picture(image: np.ndarray, boxes: Sequence[Sequence[int]], masks: Sequence[np.ndarray]) -> np.ndarray:
    """Draw the outlines of defects on an image, and shrink it.

    Args:
        image: (H, W, 3) uint8 BGR.
        boxes: x, y, width, height of each defect.
        masks: (height, width) bool of each, in its box.

    Returns:
        (h, w, 3) uint8 BGR.
    """
    drawn = image.copy()
    thickness = max(1, round(max(image.shape[:2]) / _SIDE))
    for (x, y, _, _), mask in zip(boxes, masks, strict=True):
        contours, _ = cv2.findContours(
            mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE, offset=(int(x), int(y))
        )
        cv2.drawContours(drawn, contours, -1, (40, 40, 230), thickness)
    return thumbnail(drawn, _SIDE)


def write_tables(folder: str | Path, overwrite: bool = False) -> None:
    """Write ``images.csv`` (a row for each image) and ``defects.csv`` (a row for each defect) from the results."""
    results = ResultFolder(folder, overwrite)
    for name, rows in ((IMAGES, _image_rows(folder)), (DEFECTS, _defect_rows(folder))):
        with results.writing(name) as path, path.open('w', newline='', encoding='utf-8') as file:
            csv.writer(file).writerows(rows)


def _image_rows(folder: str | Path) -> Iterator[Sequence[Any]]:
    yield 'image', 'decision', 'score', 'defects', 'area_px', 'error'
    for record in read_records(folder)[1]:
        name = printable(record['image'])
        if 'error' in record:
            yield name, '', '', '', '', printable(record['error'])
            continue
        area = sum(defect['area_px'] for defect in record['defects'])
        verdict = 'defect' if record['defective'] else 'no defect'
        yield name, verdict, record['score'], len(record['defects']), area, ''


def _defect_rows(folder: str | Path) -> Iterator[Sequence[Any]]:
    yield 'image', 'class', 'score', 'x', 'y', 'width', 'height', *_COLUMNS
    for record in read_records(folder)[1]:
        for defect in record.get('defects', ()):
            numbers = [defect.get(column, '') for column in _COLUMNS]
            yield printable(record['image']), defect['class'], defect['score'], *defect['box'], *numbers


def write_page(folder: str | Path, overwrite: bool = False) -> Path:
    """Write ``report.html`` from the results and return its path. Records are read one by one.

    The page shows defective images, the most certain first among those next to each other in the folder's order, and
    lists all others.
    """
    results = ResultFolder(folder, overwrite)
    run = read_records(folder)[0]
    counts = dict(images=0, defective=0, failed=0)
    for record in read_records(folder)[1]:
        counts['images'] += 1
        counts['defective'] += bool(record.get('defective'))
        counts['failed'] += 'error' in record
    with results.writing(PAGE) as path, path.open('w', encoding='utf-8') as file:
        file.write(_HEAD)
        file.write(
            f'<h1>{counts["defective"]} of {counts["images"]} images have a defect</h1><p>{_text(describe(run))}</p>'
        )
        if not run.get('calibrated', True):
            file.write(
                '<p class="note">The scores are not calibrated: the validation data has no image without a defect.</p>'
            )
        if counts['failed']:
            file.write(f'<p class="bad">{counts["failed"]} images could not be used; see the end of the page.</p>')
        for record in read_records(folder)[1]:
            if record.get('defective'):
                file.write(_article(record))
        file.write('<h2>No defect</h2><table><tr><th>image<th>score')
        for record in read_records(folder)[1]:
            if not record.get('defective') and 'error' not in record:
                file.write(f'<tr><td>{_text(record["image"])}<td class="good">{record["score"]:.3f}')
        file.write('</table>')
        if counts['failed']:
            file.write('<h2>Could not be used</h2><table><tr><th>image<th>reason')
            for record in read_records(folder)[1]:
                if 'error' in record:
                    file.write(f'<tr><td>{_text(record["image"])}<td>{_text(record["error"])}')
            file.write('</table>')
    return Path(folder) / PAGE


def describe(run: dict[str, Any]) -> str:
    """Return the settings of a run in words."""
    text = io.StringIO()
    text.write(f'Weights {run["weights"]}. An image is defective from a score of {run["score_threshold"]:.3f} on ')
    text.write(f'({run["criterion"]}); defects have at least {run["min_area"]} pixels.')
    if run.get('mm_per_pixel'):
        text.write(f' {run["mm_per_pixel"]} mm per pixel.')
    return text.getvalue()


def _article(record: dict[str, Any]) -> str:
    columns = [column for column in _COLUMNS if column in record['defects'][0]]
    head = ''.join(f'<th>{column.replace("_", " ")}' for column in columns)
    rows = ''.join(
        f'<tr><td>{_text(defect["class"])}<td>{defect["score"]:.3f}<td>{", ".join(map(str, defect["box"]))}'
        + ''.join(f'<td>{defect[column]:g}' for column in columns)
        for defect in record['defects']
    )
    shown = f'<img loading="lazy" src="{_text(record["picture"])}" alt="">' if record.get('picture') else ''
    return (
        f'<article><div>{shown}</div><div><h3>{_text(record["image"])}: <span class="bad">defect</span>, score '
        f'{record["score"]:.3f}</h3><table><tr><th>class<th>score<th>x, y, width, height{head}{rows}</table></div>'
        '</article>'
    )


def _text(value: Any) -> str:
    return html.escape(printable(value))
