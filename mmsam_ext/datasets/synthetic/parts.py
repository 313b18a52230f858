"""Draw objects made of differently textured parts for :class:`SyntheticPartsDataset`."""

from __future__ import annotations

import cv2
import numpy as np

from .objects import Style, make_style
from .shapes import circle, draw_shape
from .textures import blend, direction, mix, plane, scale, texture

_SHAPES = ('ellipse', 'polygon', 'blob', 'star')
_SPLITS = ('bands', 'nested', 'cells')
_TRIES = 12
#: Difference in grey levels above which neighbouring parts are clearly distinct.
_CONTRAST = 25


def draw_assembly(
    rng: np.random.Generator,
    image: np.ndarray,
    labels: np.ndarray,
    palette: np.ndarray,
    extent: float,
    number: int,
    label: int,
) -> bool:
    """Draw an object of about `extent` pixels and up to `number` parts in a free place; arrays are changed in place.

    The parts have the labels `label` to `label` + `number` - 1. Shading and an outline belong to the whole object.

    Returns:
        Whether there was room; otherwise nothing is drawn.
    """
    cover = draw_shape(rng, _SHAPES[int(rng.integers(len(_SHAPES)))], extent)
    place = _free_place(rng, labels, cover.shape)
    if place is None:
        return False
    h, w = cover.shape
    which = _split(rng, h, w, number)
    color = np.zeros((h, w, 3), np.float32)
    styles: list[Style] = []
    for part in range(number):
        styles.append(_other_style(rng, palette, styles))
        own = blend(texture(rng, h, w, styles[-1].texture, styles[-1].period), *styles[-1].colors)
        color[which == part] = own[which == part]
    rows, columns = plane(h, w, (0, 2 / h)), plane(h, w, (2 / w, 0))
    color = scale(color, (1.1 - np.float32(rng.uniform(0.1, 0.35)) * (rows**2 + columns**2)).astype(np.float32))
    line = cv2.morphologyEx(cover, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).astype(np.float32)
    color += cv2.merge([line * np.float32(rng.uniform(-0.35, -0.1))] * 3)
    image[place] = mix(cover.astype(np.float32) / 255, image[place], color)
    solid = cover > 127
    labels[place][solid] = label + which[solid]
    return True


def _free_place(rng: np.random.Generator, labels: np.ndarray, shape: tuple[int, int]) -> tuple[slice, slice] | None:
    """Return a place of `shape` (h, w) inside `labels` where nothing is drawn yet, or None."""
    h, w = shape
    height, width = labels.shape
    if h > height or w > width:
        return None
    for _ in range(_TRIES):
        top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
        place = (slice(top, top + h), slice(left, left + w))
        if not labels[place].any():
            return place
    return None


def _split(rng: np.random.Generator, h: int, w: int, number: int) -> np.ndarray:
    """Return the part, 0 to `number` - 1, to which each pixel of an object belongs, (h, w) uint8."""
    kind = _SPLITS[int(rng.integers(len(_SPLITS)))]
    if kind == 'bands':
        slope = direction(rng)
        along = plane(h, w, (slope[0] / w, slope[1] / h)) + 0.5  # about 0 to 1
        borders = (np.arange(1, number) + rng.uniform(-0.2, 0.2, number - 1)) / number
        return np.digitize(along, 0.15 + 0.7 * borders).astype(np.uint8)
    if kind == 'nested':
        y, x = rng.uniform(-0.15, 0.15, 2)
        distance = np.hypot(plane(h, w, (0, 2 / h)) - y, plane(h, w, (2 / w, 0)) - x)  # 1 at the rim
        return np.digitize(distance, 0.85 * np.sqrt(np.arange(1, number) / number)).astype(np.uint8)
    turn = int(rng.integers(len(circle(24))))
    seeds = np.roll(circle(24), turn, axis=0)[:: 24 // number][:number] * rng.uniform(0.3, 0.5)
    rows, columns = plane(h, w, (0, 2 / h)), plane(h, w, (2 / w, 0))
    return np.argmin([(columns - x) ** 2 + (rows - y) ** 2 for x, y in seeds], axis=0).astype(np.uint8)


def _other_style(rng: np.random.Generator, palette: np.ndarray, others: list[Style]) -> Style:
    """Draw a style whose mean colour differs from those of the earlier parts."""
    style = make_style(rng, palette)
    for _ in range(_TRIES):
        mean = np.mean(style.colors, 0)
        if all(abs(mean - np.mean(other.colors, 0)).max() > _CONTRAST for other in others):
            break
        style = make_style(rng, palette)
    return style
