"""`contact_sheet`: many pictures on one sheet."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from .drawing import BACKGROUND, framed, resized

GAP = 8


def contact_sheet(images: list[np.ndarray], columns: int, path: str | Path, cell_width: int = 800) -> None:
    """Write a sheet with all pictures, row by row.

    Args:
        images: (H, W, 3) uint8 RGB each, of any size; at least one. A picture wider than a cell is shrunk to its width.
        columns: Number of columns, if there are as many pictures.
        path: PNG or JPEG file to write; its folder is created if it is missing.
        cell_width: Maximum width of a picture in pixels.

    Raises:
        ValueError: There is no picture, or `columns` is less than 1.
        OSError: The file could not be written.
    """
    if not images or columns < 1:
        raise ValueError(f'contact_sheet: {len(images)} images in {columns} columns; expected at least one of each')
    columns = min(columns, len(images))
    cells = [_shrunk(image, cell_width) for image in images]
    width = max(cell.shape[1] for cell in cells)
    rows = []
    for start in range(0, len(cells), columns):
        row = cells[start : start + columns]
        height = max(cell.shape[0] for cell in row)
        row += [np.full((1, 1, 3), BACKGROUND, np.uint8)] * (columns - len(row))
        rows.append(np.hstack([framed(cell, height + GAP, width + GAP) for cell in row]))
    sheet = np.vstack(rows)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise OSError(f'contact_sheet: could not write {path}; expected a suffix that OpenCV can write')


def _shrunk(image: np.ndarray, width: int) -> np.ndarray:
    if image.shape[1] <= width:
        return image
    return resized(image, max(1, round(image.shape[0] * width / image.shape[1])), width)
