"""Procedural industrial surfaces: texture, colour, light, and marks on them that are not defects."""

from __future__ import annotations

import cv2
import numpy as np

from .shapes import random_walk
from .textures import direction, fractal, noise, plane, stroke, uneven_light

SURFACES = ('brushed', 'cast', 'fabric', 'granite', 'tile', 'wood', 'leather', 'concrete', 'grating')


def surface(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Draw a flawless surface under uneven light.

    Returns:
        (H, W, 3) float32 in about [0, 255].
    """
    height, width = size
    kind = SURFACES[int(rng.integers(len(SURFACES)))]
    relief = _relief(rng, kind, height, width).astype(np.float32, copy=False)
    relief -= cv2.mean(relief)[0]
    base, contrast = rng.uniform(55, 195), float(np.exp(rng.uniform(np.log(3), np.log(22))))
    value = relief * np.float32(contrast) + np.float32(base)
    value *= _light(rng, height, width)
    value = _distract(rng, value)
    return _tint(rng, value)


def _relief(rng: np.random.Generator, kind: str, height: int, width: int) -> np.ndarray:
    """Return the texture of a surface, (H, W) float32, with a standard deviation of about 1."""
    grain = noise(rng, height, width, 1)
    size = rng.uniform(0.7, 1.6) * min(height, width) / 256  # all features scale with the image
    if kind == 'brushed':
        long, thin = rng.uniform(60, 250) * size, rng.uniform(1, 2.5)
        cells = (long, thin) if rng.random() < 0.5 else (thin, long)
        return 0.9 * noise(rng, height, width, *cells) + 0.25 * grain
    if kind == 'cast':
        return 0.6 * fractal(rng, height, width, 12 * size) + 0.5 * grain
    if kind == 'tile':
        return 0.4 * noise(rng, height, width, 40 * size) + 0.5 * cv2.blur(grain, (3, 3)) * 3
    if kind == 'granite':
        speckle = noise(rng, height, width, rng.uniform(2.5, 6) * size)
        return 1.4 * (speckle > 0.6) - 1.2 * (speckle < -0.8) + 0.5 * noise(rng, height, width, 2) + 0.3 * grain
    if kind == 'concrete':
        pits = noise(rng, height, width, 3.5 * size)
        return 0.6 * fractal(rng, height, width, 50 * size, 4) + 0.4 * grain - 1.5 * (pits > 1.25)
    if kind == 'leather':
        folds = np.abs(noise(rng, height, width, rng.uniform(6, 14) * size))
        return 1.5 - 2.2 * np.exp(-3 * folds) + 0.2 * grain
    warp = noise(rng, height, width, 70 * size)
    along = direction(rng)
    if kind == 'wood':
        phase = plane(height, width, along) / np.float32(rng.uniform(9, 26) * size) + 0.5 * warp
        rings = noise(rng, height, width, 25 * size, 120 * size)
        return np.sin(2 * np.pi * phase + rings) + 0.3 * grain
    period = np.float32(rng.uniform(5, 13) * max(size, 0.5))
    first = np.sin(2 * np.pi * plane(height, width, along) / period + rng.uniform(0.1, 0.7) * warp)
    if kind == 'grating':
        return np.float32(1.2) * first + 0.35 * grain
    second = np.sin(2 * np.pi * plane(height, width, (-along[1], along[0])) / period + 0.4 * warp)
    return (first + second + 0.4 * first * second + 0.4 * grain).astype(np.float32)


def _light(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return the light as a factor around 1, (H, W) float32: a gradient, vignetting, soft spots."""
    return uneven_light(rng, height, width, slope=0.5, vignetting=0.15, patches=(0.5, 0.02, 0.08))


def _distract(rng: np.random.Generator, value: np.ndarray) -> np.ndarray:
    """Add features that are not defects to `value` (H, W): soft highlights and shadows, straight seams, hairlines."""
    height, width = value.shape
    short = min(height, width)
    for _ in range(int(rng.integers(0, 3))):  # a soft highlight or shadow
        center_y, center_x = rng.uniform(0, height), rng.uniform(0, width)
        radius_y, radius_x = rng.uniform(0.08, 0.3, 2) * short
        rows = np.exp(-(((np.arange(height) - center_y) / radius_y) ** 2)).astype(np.float32)
        columns = np.exp(-(((np.arange(width) - center_x) / radius_x) ** 2)).astype(np.float32)
        value += rows[:, None] * columns[None] * np.float32(rng.normal(0, 22))
    if rng.random() < 0.35:  # parallel seams from border to border, as between plates or panels
        slope = (1.0, 0.0) if rng.random() < 0.5 else (0.0, 1.0)
        spacing = rng.uniform(0.3, 0.9) * short
        distance = plane(height, width, slope) / np.float32(spacing) + np.float32(rng.random())
        distance = np.abs(distance - np.rint(distance)) * np.float32(spacing)
        value += np.exp(-((distance / np.float32(rng.uniform(0.8, 2.5))) ** 2)) * np.float32(rng.normal(0, 16))
    if rng.random() < 0.2:  # many similar faint hairlines of the finish
        lines = np.zeros((height, width), np.uint8)
        turn = rng.uniform(0, np.pi)
        for _ in range(int(rng.integers(3, 9))):
            line = random_walk(rng, 3, rng.uniform(0.2, 0.6) * short, 0.02)
            angle = turn - np.arctan2(*(line[-1] - line[0])[::-1])
            cosine, sine = np.cos(angle), np.sin(angle)
            line = line @ np.array([[cosine, sine], [-sine, cosine]]) + rng.uniform(0, 1, 2) * (width, height)
            stroke(lines, line, 1)
        value += lines.astype(np.float32) * np.float32(rng.normal(0, 8) / 255)
    return value


def _tint(rng: np.random.Generator, value: np.ndarray) -> np.ndarray:
    """Return `value` (H, W) as a picture (H, W, 3) float32: grey in six of ten cases, otherwise slightly tinted."""
    if rng.random() < 0.6:
        return cv2.merge([value] * 3)
    cast = rng.normal(0, 0.14, 3)
    cast -= cast.mean()
    return cv2.transform(value, np.stack([1 + cast, rng.normal(0, 6, 3)], 1).astype(np.float32))


def replacement(rng: np.random.Generator, crop: np.ndarray) -> np.ndarray:
    """Return rough bare material, darker or brighter than `crop` (h, w, 3), for a place where the surface is gone."""
    h, w = crop.shape[:2]
    shift = rng.uniform(25, 80) * (1 if rng.random() < 0.3 else -1)
    rough = fractal(rng, h, w, rng.uniform(5, 20)) * np.float32(rng.uniform(3, 16))
    base = np.array(cv2.mean(crop)[:3], np.float32) + np.float32(shift)
    if base.mean() < 5 or base.mean() > 250:
        base -= np.float32(2 * shift)
    return cv2.merge([rough] * 3) + base
