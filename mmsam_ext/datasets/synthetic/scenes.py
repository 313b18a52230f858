"""Draws the scenes of :class:`SyntheticScenesDataset`: objects, crowds of like objects, defects, and zones of surfaces.

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
from .textures import direction, fractal, mix, noise, plane, scale

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


def zones_scene(rng: np.random.Generator, size: tuple[int, int], photographs: Photographs | None) -> Scene:
    """Draw zones of a surface that differ a little in brightness or finish: one side, two sides or a large patch.

    Contrast goes down to a few grey levels, borders are sharp or soft, and most zones touch the border of the image. As
    large defects of surfaces do: uneven grinding, stains, corners that are worn or broken off.
    """
    image, labels = background(rng, size, photographs), np.zeros(size, np.uint8)
    short = min(size)
    wobble = np.float32(short * rng.uniform(0, 0.12)) * fractal(rng, *size, short * rng.uniform(0.15, 0.6))
    number = 1 if rng.random() < 0.75 else 2
    patch = rng.random() < 0.45
    if patch:  # an ellipse with its centre in the image, or a corner or side of it
        centre = rng.uniform(-0.6, 0.6, 2) * size
        rows, columns = (plane(*size, slope) + np.float32(c) for slope, c in zip(((0, 1), (1, 0)), centre, strict=True))
        radius = short * float(np.exp(rng.uniform(np.log(0.1), np.log(0.55))))
        flat = float(np.exp(rng.normal(0, 0.4)))
        distance = np.float32(radius) - np.sqrt((rows * np.float32(flat)) ** 2 + (columns / np.float32(flat)) ** 2)
    else:  # everything on one side of a line, often along a border of the image
        along = direction(rng) if rng.random() < 0.5 else ((0.0, 1.0) if rng.random() < 0.7 else (1.0, 0.0))
        distance = plane(*size, along) + np.float32(rng.uniform(-0.35, 0.35) * short)
    distance = distance + wobble * np.float32(0.4 if patch else 1.0)
    softness = np.float32(np.exp(rng.uniform(np.log(0.7), np.log(0.04 * short))))
    for label in range(1, number + 1):
        share = np.clip(distance / softness + 0.5, 0, 1)
        image = mix(share, image, _finish(rng, image, photographs))
        labels[share > 0.5] = label
        distance = distance - np.float32(rng.uniform(0.15, 0.4) * short)
    return image, labels, [(label,) for label in range(1, number + 1)]


def _finish(rng: np.random.Generator, image: np.ndarray, photographs: Photographs | None) -> np.ndarray:
    """Return `image` (H, W, 3) float32 with another brightness and finish, or sometimes another material."""
    shift = np.float32(np.exp(rng.uniform(np.log(4), np.log(45))) * (1 if rng.random() < 0.5 else -1))
    if rng.random() < 0.15:
        other = background(rng, (image.shape[0], image.shape[1]), photographs)
        level, wanted = (np.array(cv2.mean(picture)[:3], np.float32) for picture in (other, image))
        return other - level + wanted + shift
    coarse = cv2.blur(image, (15, 15))
    detail = np.float32(np.exp(rng.normal(0, 0.6)))
    grain = noise(rng, image.shape[0], image.shape[1], rng.uniform(1, 6)) * np.float32(rng.uniform(0, 6))
    return coarse + detail * (image - coarse) + shift + grain[..., None]


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
