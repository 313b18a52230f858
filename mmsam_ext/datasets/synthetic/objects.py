"""Draw scenes of textured, shaded, overlapping objects for :class:`SyntheticObjectsDataset`."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .shapes import draw_shape
from .textures import blend, direction, fractal, mix, noise, plane, scale, texture

# kind -> relative probability
_SHAPES = dict(ellipse=18, polygon=18, star=7, blob=25, bar=9, wire=6, ring=8, glyph=9)
_TEXTURES = dict(flat=16, gradient=14, noise=18, grain=10, streaks=10, stripes=9, checks=6, spots=9, waves=8)


def _pick(rng: np.random.Generator, odds: dict[str, int]) -> str:
    """Draw a key of `odds` with a probability proportional to its value."""
    ticket = int(rng.integers(sum(odds.values())))
    for name, share in odds.items():
        ticket -= share
        if ticket < 0:
            return name
    raise AssertionError('unreachable: the ticket is less than the sum')


@dataclass
class Style:
    """Shape, texture and colours that a family of objects shares."""

    shape: str
    texture: str
    period: float  # pixels
    colors: tuple[np.ndarray, np.ndarray]  # (3,) float32 each


def make_palette(rng: np.random.Generator) -> np.ndarray:
    """Draw the colours of a scene, (n, 3) float32 BGR in [0, 255]: greys, tints around one hue, or any colours."""
    number = int(rng.integers(3, 8))
    value = rng.uniform(15, 240, (number, 1))
    saturation = rng.random()
    if saturation < 0.35:
        colors = np.repeat(value, 3, 1)
    elif saturation < 0.65:
        tint = rng.normal(0, 30, (1, 3)) + rng.normal(0, 12, (number, 3))
        colors = value + tint
    else:
        colors = rng.uniform(10, 245, (number, 3))
    return np.clip(colors, 5, 250).astype(np.float32)


def _colors(rng: np.random.Generator, palette: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Draw two jittered colours of the palette for a texture; half of the time the second is a shade of the first."""
    first = palette[int(rng.integers(len(palette)))]
    if rng.random() < 0.5:
        second = first + np.float32(rng.normal(0, 45))
    else:
        second = palette[int(rng.integers(len(palette)))]
    # One jitter for all channels keeps grey scenes grey.
    jitter = rng.normal(0, 12, 2).astype(np.float32)
    return np.clip(first + jitter[0], 0, 255), np.clip(second + jitter[1], 0, 255)


def make_style(rng: np.random.Generator, palette: np.ndarray, shape: str | None = None) -> Style:
    """Draw a random style; `shape` fixes its shape."""
    period = float(np.exp(rng.uniform(np.log(4), np.log(50))))
    return Style(shape or _pick(rng, _SHAPES), _pick(rng, _TEXTURES), period, _colors(rng, palette))


def draw_background(rng: np.random.Generator, size: tuple[int, int], palette: np.ndarray) -> np.ndarray:
    """Draw a background (H, W, 3) float32: one texture, or two with a soft or hard border."""
    style = make_style(rng, palette)
    image = blend(texture(rng, *size, style.texture, style.period), *style.colors)
    if rng.random() < 0.4:
        other = make_style(rng, palette)
        if rng.random() < 0.5:
            border = plane(*size, direction(rng)) + np.float32(rng.uniform(-0.3, 0.3) * min(size))
        else:
            border = fractal(rng, *size, min(size) / 2) * np.float32(min(size) / 4)
        softness = np.float32(rng.uniform(1, 20))
        share = np.clip(border / softness + 0.5, 0, 1)
        image = mix(share, image, blend(texture(rng, *size, other.texture, other.period), *other.colors))
    return image


def draw_objects(
    rng: np.random.Generator, image: np.ndarray, labels: np.ndarray, palette: np.ndarray
) -> list[tuple[int, ...]]:
    """Draw 3 to 16 objects into `image` and `labels`, which are changed in place.

    Returns:
        For each target, the labels that belong to it.
    """
    short = min(labels.shape)
    number = 3 + int(14 * rng.random() ** 1.3)
    extents = np.exp(rng.uniform(np.log(12), np.log(0.85 * short), number))
    # Large objects mostly come first, because they would hide the others.
    extents = extents[np.argsort(-extents * np.exp(rng.normal(0, 0.5, number)))]
    repetition = rng.uniform(0, 1) ** 2  # share of objects that look like an earlier one
    styles: list[Style] = []
    targets: list[tuple[int, ...]] = []
    label = 0
    for extent in extents:
        if styles and rng.random() < repetition:
            style = styles[int(rng.integers(len(styles)))]
        else:
            style = make_style(rng, palette)
            styles.append(style)
        part = make_style(rng, palette) if extent > 28 and rng.random() < 0.25 else None
        draw_object(rng, image, labels, style, float(extent), part, label + 1)
        targets.append((label + 1, label + 2) if part else (label + 1,))
        if part:
            targets.append((label + 2,))
        label += 2
    return targets


def draw_object(
    rng: np.random.Generator,
    image: np.ndarray,
    labels: np.ndarray,
    style: Style,
    extent: float,
    part: Style | None,
    label: int,
) -> None:
    """Draw an object of about `extent` pixels as `label`, and its part as `label` + 1 if `part` is given, in place."""
    height, width = labels.shape
    cover = draw_shape(rng, style.shape, extent)
    # The centre is inside the image; what lies outside is cut off.
    top = round(rng.uniform(0.02, 0.98) * height - cover.shape[0] / 2)
    left = round(rng.uniform(0.02, 0.98) * width - cover.shape[1] / 2)
    cover = np.ascontiguousarray(cover[max(0, -top) : height - top, max(0, -left) : width - left])
    top, left = max(top, 0), max(left, 0)
    h, w = cover.shape
    place = (slice(top, top + h), slice(left, left + w))
    color = blend(texture(rng, h, w, style.texture, style.period), *style.colors)
    inner = draw_part(rng, cover) if part else None
    if part and inner is not None:
        other = blend(texture(rng, h, w, part.texture, part.period), *part.colors)
        color = mix(inner.astype(np.float32) / 255, color, other)
    if rng.random() < 0.6:
        color = scale(color, shading(rng, h, w))
    # An object that nearly equals its background cannot be learnt, so it becomes darker or brighter.
    behind = image[place]
    if np.abs(color[::4, ::4] - behind[::4, ::4]).mean() < 12:
        color += np.float32(rng.uniform(14, 40) * (-1 if behind.mean() > 128 else 1))
    alpha = cover.astype(np.float32) / 255
    if extent > 20 and rng.random() < 0.15:  # an outline, darker or brighter
        line = cv2.morphologyEx(cover, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
        color += cv2.merge([line.astype(np.float32) * np.float32(rng.uniform(-0.4, 0.4))] * 3)
    if rng.random() < 0.3:
        cast_shadow(rng, image, cover, top, left)
    image[place] = mix(alpha, image[place], color)
    solid = cover > 127
    labels[place][solid] = label
    if inner is not None:
        labels[place][solid & (inner > 127)] = label + 1


def draw_part(rng: np.random.Generator, cover: np.ndarray) -> np.ndarray:
    """(h, w) uint8 coverage of a part of an object: one side of a line, a band across it, or a spot on it."""
    h, w = cover.shape
    kind = rng.random()
    if kind < 0.65:
        slope = direction(rng)
        distance = plane(h, w, slope) + np.float32(rng.uniform(-0.2, 0.2) * min(h, w))
        if kind > 0.4:
            distance = rng.uniform(0.08, 0.2) * min(h, w) - np.abs(distance)
    else:
        y, x = rng.uniform(0.3, 0.7, 2)
        rows = (np.arange(h, dtype=np.float32) - np.float32(y * h))[:, None]
        columns = (np.arange(w, dtype=np.float32) - np.float32(x * w))[None]
        radius = rng.uniform(0.15, 0.35) * min(h, w)
        if kind < 0.85:
            distance = radius - np.sqrt(rows**2 + columns**2)
        else:
            distance = np.minimum(radius - np.abs(rows), radius * rng.uniform(0.5, 1.5) - np.abs(columns))
    return (np.clip(distance + 0.5, 0, 1) * 255).astype(np.uint8)


def shading(rng: np.random.Generator, h: int, w: int) -> np.ndarray:
    """(h, w) float32 factor around 1: light from one side, or a dome whose border is darker or brighter."""
    strength = np.float32(rng.uniform(0.1, 0.9))
    slope = direction(rng)
    side = plane(h, w, (slope[0] / w, slope[1] / h)) * strength
    if rng.random() < 0.5:
        return 1 + side
    rows, columns = plane(h, w, (0, 2 / h)), plane(h, w, (2 / w, 0))
    return 1.15 + 0.5 * side - strength * 0.5 * (rows**2 + columns**2)


def cast_shadow(rng: np.random.Generator, image: np.ndarray, cover: np.ndarray, top: int, left: int) -> None:
    """Darken `image` in place below an object, displaced and blurred."""
    height, width = image.shape[:2]
    reach = max(2, round(0.1 * min(cover.shape)))
    size = 2 * int(rng.integers(1, reach + 1)) + 1
    soft = cv2.blur(cover, (size, size), borderType=cv2.BORDER_CONSTANT)
    top += int(rng.integers(-reach, reach + 1))
    left += int(rng.integers(-reach, reach + 1))
    soft = soft[max(0, -top) : height - top, max(0, -left) : width - left]
    top, left = max(top, 0), max(left, 0)
    dark = soft.astype(np.float32) * np.float32(rng.uniform(0.2, 0.6) / 255)
    place = (slice(top, top + soft.shape[0]), slice(left, left + soft.shape[1]))
    image[place] = scale(image[place], 1 - dark)


def light_scene(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Apply uneven light to the whole scene (H, W, 3) float32, and change its contrast and brightness."""
    height, width = image.shape[:2]
    if rng.random() < 0.4:
        slope = direction(rng)
        light = 1 + plane(height, width, (slope[0] / width, slope[1] / height)) * np.float32(rng.uniform(0.1, 0.8))
        if rng.random() < 0.3:
            light += np.float32(rng.uniform(0.03, 0.12)) * noise(rng, height, width, min(height, width) / 4)
        image = scale(image, light)
    if rng.random() < 0.4:
        middle = np.float32(rng.uniform(60, 190))
        image = (image - 128) * np.float32(rng.uniform(0.35, 1.0)) + middle
    return image
