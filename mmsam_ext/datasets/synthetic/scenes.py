"""Draws the scenes of :class:`SyntheticScenesDataset`: objects, crowds of like objects, and defects on surfaces.

Each function takes a generator, the size (H, W) and the photographs or None, and returns a :data:`Scene`.
"""

from __future__ import annotations

import cv2
import numpy as np

from .defects import DEFECTS, draw_defect
from .fills import background, object_fill
from .objects import cast_shadow, draw_background, draw_objects, draw_part, make_palette, shading
from .outlines import OUTLINES, draw_outline
from .photographs import Photographs
from .textures import mix, scale

#: A scene: image (H, W, 3) float32, labels (H, W) uint8, and of each target the labels that it is made of.
Scene = tuple[np.ndarray, np.ndarray, list[tuple[int, ...]]]
_SOLID = ('ellipse', 'polygon', 'star', 'blob', 'blob', 'bar', 'wire', 'ring', 'glyph')
_CROWD = ('ellipse', 'polygon', 'blob', 'bar', 'ring', 'text', 'perforated')


def plain_scene(rng: np.random.Generator, size: tuple[int, int], photographs: Photographs | None) -> Scene:
    """Draw a scene of :class:`SyntheticObjectsDataset`; `photographs` are not used."""
    palette = make_palette(rng)
    image, labels = draw_background(rng, size, palette), np.zeros(size, np.uint8)
    return image, labels, draw_objects(rng, image, labels, palette)


def objects_scene(rng: np.random.Generator, size: tuple[int, int], photographs: Photographs | None) -> Scene:
    """Draw 2 to 12 overlapping objects of all sizes, some with a part, a third of them thin, hollow or letters."""
    palette = make_palette(rng)
    image, labels = background(rng, size, photographs), np.zeros(size, np.uint8)
    targets: list[tuple[int, ...]] = []
    short = min(size)
    extents = np.exp(rng.uniform(np.log(14), np.log(0.9 * short), 2 + int(11 * rng.random() ** 1.3)))
    for extent in sorted(extents * np.exp(rng.normal(0, 0.4, len(extents))), reverse=True):
        kinds = OUTLINES if rng.random() < 0.35 else _SOLID
        cover = draw_outline(rng, kinds[int(rng.integers(len(kinds)))], float(min(extent, 0.95 * short)))
        top = round(rng.uniform(0.02, 0.98) * size[0] - cover.shape[0] / 2)
        left = round(rng.uniform(0.02, 0.98) * size[1] - cover.shape[1] / 2)
        label = 2 * len(targets) + 1
        part = extent > 28 and rng.random() < 0.25
        paste(rng, image, labels, cover, (top, left), label, palette, photographs, part)
        targets.append((label, label + 1) if part else (label,))
    parts = [(whole[1],) for whole in targets if len(whole) > 1]
    return image, labels, targets + parts


def crowd_scene(rng: np.random.Generator, size: tuple[int, int], photographs: Photographs | None) -> Scene:
    """Draw 6 to 40 objects of one kind and material side by side, which touch or nearly do."""
    palette = make_palette(rng)
    image, labels = background(rng, size, photographs), np.zeros(size, np.uint8)
    kind = _CROWD[int(rng.integers(len(_CROWD)))]
    number = int(rng.integers(6, 41))
    pitch = np.sqrt(size[0] * size[1] / number)
    extent = pitch * rng.uniform(0.75, 1.25)
    fill = object_fill(rng, image, palette, photographs)
    jitter = rng.uniform(0, 0.25)
    rows, columns = max(1, round(size[0] / pitch)), max(1, round(size[1] / pitch))
    targets: list[tuple[int, ...]] = []
    for place in rng.permutation(rows * columns)[:100]:
        centre = (np.array(divmod(int(place), columns)) + 0.5) * (size[0] / rows, size[1] / columns)
        centre += rng.normal(0, jitter * pitch, 2)
        cover = draw_outline(rng, kind, float(extent * np.exp(rng.normal(0, 0.15))))
        top, left = (round(float(c) - s / 2) for c, s in zip(centre, cover.shape, strict=True))
        label = len(targets) + 1
        paste(rng, image, labels, cover, (top, left), label, palette, None, False, fill)
        targets.append((label,))
    return image, labels, targets


def defects_scene(rng: np.random.Generator, size: tuple[int, int], photographs: Photographs | None) -> Scene:
    """Draw 1 to 5 defects of one class on a surface, down to a few grey levels of contrast; large soft ones too.

    All of them together are a target, too, as industrial data sets annotate them.
    """
    image, labels = background(rng, size, photographs), np.zeros(size, np.uint8)
    kind = DEFECTS[int(rng.integers(len(DEFECTS)))]
    number = 1 + int(5 * rng.random() ** 1.7)
    visible = float(np.exp(rng.uniform(np.log(0.35), np.log(1.2))))
    targets: list[tuple[int, ...]] = []
    for label in range(1, number + 1):
        mask, before = np.zeros(size, np.uint8), image.copy()
        draw_defect(rng, image, mask, kind, most=(0.5 if rng.random() < 0.3 else 0.15) / number)
        image[:] = before + np.float32(visible) * (image - before)
        labels[mask > 0] = label
        targets.append((label,))
    if number > 1:
        targets.append(tuple(range(1, number + 1)))
    return image, labels, targets


def paste(
    rng: np.random.Generator,
    image: np.ndarray,
    labels: np.ndarray,
    cover: np.ndarray,
    corner: tuple[int, int],
    label: int,
    palette: np.ndarray,
    photographs: Photographs | None,
    part: bool,
    fill: np.ndarray | None = None,
) -> None:
    """Draw one object, and a part of it as `label` + 1 where `part`, in place; what lies outside is cut off.

    Args:
        rng: Source of random numbers.
        image: (H, W, 3) float32.
        labels: (H, W) uint8.
        cover: (h, w) uint8 coverage.
        corner: Top and left of `cover` in the image; may be negative.
        label: Written to `labels` where the object is.
        palette: Colours to choose from.
        photographs: Where textures come from; None for procedural textures.
        part: Whether a part of the object is labelled, too.
        fill: (H, W, 3) colours for several objects, or None for colours of its own.
    """
    top, left = corner
    cover = cover[max(0, -top) : max(0, labels.shape[0] - top), max(0, -left) : max(0, labels.shape[1] - left)]
    if min(cover.shape) < 2:
        return
    cover = np.ascontiguousarray(cover)
    top, left = max(top, 0), max(left, 0)
    h, w = cover.shape
    place = (slice(top, top + h), slice(left, left + w))
    color = object_fill(rng, image[place], palette, photographs) if fill is None else fill[place].copy()
    inner = draw_part(rng, cover) if part else None
    if inner is not None:
        other = object_fill(rng, color, palette, photographs)
        color = mix(inner.astype(np.float32) / 255, color, other)
    if rng.random() < 0.6:
        color = scale(color, shading(rng, h, w))
    if rng.random() < 0.3:  # a rim, darker or brighter
        line = cv2.morphologyEx(cover, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)).astype(np.float32)
        color = color + cv2.merge([line * np.float32(rng.uniform(-0.35, 0.35))] * 3)
    if rng.random() < 0.35:
        cast_shadow(rng, image, cover, top, left)
    alpha = cover.astype(np.float32) / 255
    if rng.random() < 0.3:  # no sharp border: out of focus
        alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.6, 1.6))
    if rng.random() < 0.1:  # translucent
        alpha = alpha * np.float32(rng.uniform(0.5, 0.9))
    image[place] = mix(alpha, image[place], color.astype(np.float32, copy=False))
    solid = cover > 127
    labels[place][solid] = label
    if inner is not None:
        labels[place][solid & (inner > 127)] = label + 1
