"""What things in a realistic scene look like: photographs, surfaces or textures, and their contrast to behind."""

from __future__ import annotations

import cv2
import numpy as np

from .objects import draw_background, make_palette, make_style
from .photographs import Photographs
from .surfaces import surface
from .textures import blend, noise, texture


def background(rng: np.random.Generator, size: tuple[int, int], photographs: Photographs | None) -> np.ndarray:
    """Draw what a scene stands on: (H, W, 3) float32, a photograph, an industrial surface or textures."""
    ticket = rng.random()
    if photographs is not None and ticket < 0.6:
        image = photographs.crop(rng, *size)
        if rng.random() < 0.15:  # two materials side by side
            share = np.clip(noise(rng, *size, min(size) / 2) * np.float32(rng.uniform(1, 20)) + 0.5, 0, 1)
            image = cv2.blendLinear(image, photographs.crop(rng, *size), 1 - share, share)
        return image
    return surface(rng, size) if ticket < 0.8 else draw_background(rng, size, make_palette(rng))


def object_fill(
    rng: np.random.Generator, behind: np.ndarray, palette: np.ndarray, photographs: Photographs | None
) -> np.ndarray:
    """Draw the colours of an object in front of `behind` (h, w, 3) float32.

    It is a photograph, a texture of the scene's `palette`, or the material behind it in another place and light; the
    last alone is how casts, scratches and chips differ from their surface. Its mean differs from that of `behind` by at
    least a few grey levels.

    Returns:
        (h, w, 3) float32.
    """
    height, width = behind.shape[:2]
    ticket = rng.random()
    if photographs is not None and ticket < 0.5:
        color = photographs.crop(rng, height, width)
    elif ticket < 0.7:
        color = np.ascontiguousarray(np.roll(behind[::-1, ::-1], int(rng.integers(width)), 1))
        color = color * np.float32(rng.uniform(0.6, 1.4)) + rng.normal(0, 12, 3).astype(np.float32)
    else:
        style = make_style(rng, palette)
        color = blend(texture(rng, height, width, style.texture, style.period), *style.colors)
    return separate(rng, color, behind, least=float(np.exp(rng.uniform(np.log(4), np.log(25)))))


def separate(rng: np.random.Generator, color: np.ndarray, behind: np.ndarray, least: float) -> np.ndarray:
    """Shift `color` (h, w, 3) until its difference from `behind` (h, w, 3) is at least `least` grey levels on average.

    What differs in texture (by its standard deviation) counts as different.
    """
    first, spread = (value.ravel()[:3] for value in cv2.meanStdDev(color))
    other, other_spread = (value.ravel()[:3] for value in cv2.meanStdDev(behind))
    gap = max(float(np.abs(first - other).max()), float(np.abs(spread - other_spread).max()))
    if gap >= least:
        return color
    sign = -1 if first.mean() > 255 - 2 * least or (rng.random() < 0.5 and first.mean() > 2 * least) else 1
    return color + np.float32(sign * (least - gap + 3))
