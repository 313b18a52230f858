"""Procedural surface defects: an outline, as coverage in [0, 1], and its effect on the surface."""

from __future__ import annotations

import cv2
import numpy as np

from .shapes import circle, fourier_radius, random_walk, rotation
from .surfaces import replacement
from .textures import direction, fill, fractal, mix, stroke

DEFECTS = ('scratch', 'blob', 'dent', 'stain', 'crack', 'missing')


def draw_defect(rng: np.random.Generator, image: np.ndarray, mask: np.ndarray, kind: str, most: float) -> None:
    """Draw one defect at a random position; `image` and `mask` are changed in place.

    Args:
        rng: Source of all random numbers.
        image: (H, W, 3) float32 surface.
        mask: (H, W) uint8, set to 1 where the defect covers half of a pixel or more.
        kind: One of :data:`DEFECTS`.
        most: Largest share of the image that the defect's bounding shape may cover; the smallest is 0.1 %.
    """
    height, width = mask.shape
    short = min(height, width)
    if kind in ('scratch', 'crack'):
        cover = _scratch(rng, short) if kind == 'scratch' else _crack(rng, short)
    else:
        extent = float(np.sqrt(np.exp(rng.uniform(np.log(0.001), np.log(most))) * height * width * 4 / np.pi))
        cover = _stain(rng, extent) if kind == 'stain' else _area(rng, kind, extent)
    y, x = rng.uniform(0.06, 0.94, 2)
    if kind == 'missing' and rng.random() < 0.5:  # chipped off an edge
        y, x = ((round(y), x), (y, round(x)))[int(rng.integers(2))]
    top, left = round(y * height - cover.shape[0] / 2), round(x * width - cover.shape[1] / 2)
    cover = np.ascontiguousarray(cover[max(0, -top) : height - top, max(0, -left) : width - left])
    top, left = max(top, 0), max(left, 0)
    place = (slice(top, top + cover.shape[0]), slice(left, left + cover.shape[1]))
    alpha = cover.astype(np.float32) / 255
    image[place] = _apply(rng, kind, np.ascontiguousarray(image[place]), alpha)
    mask[place] |= (cover > 127).astype(np.uint8)


def _apply(rng: np.random.Generator, kind: str, crop: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Return `crop` (h, w, 3) with a defect of coverage `alpha` (h, w) in [0, 1], as float32."""
    level, spread = (float(value[0, 0]) for value in cv2.meanStdDev(crop[..., 1]))
    strength = max(rng.uniform(10, 65), rng.uniform(0.7, 1.6) * spread)
    if kind in ('crack', 'blob'):
        sign = -1 if rng.random() < 0.85 else 1
    else:
        sign = -1 if rng.random() < 0.5 else 1
    if not 0.4 * strength < level < 255 - 0.4 * strength:  # the surface is too dark or too bright for this sign
        sign = 1 if level < 128 else -1
    change = np.float32(sign * strength)
    if kind == 'missing':
        return mix(alpha, crop, replacement(rng, crop))
    if kind == 'dent':
        # A hollow lit from one side: one flank is dark, the opposite one bright.
        size = max(3, int(min(alpha.shape) * rng.uniform(0.15, 0.45)) | 1)
        hollow = cv2.blur(alpha, (size, size), borderType=cv2.BORDER_CONSTANT)
        along = direction(rng)
        slope = along[0] * cv2.Sobel(hollow, cv2.CV_32F, 1, 0) + along[1] * cv2.Sobel(hollow, cv2.CV_32F, 0, 1)
        delta = slope * (abs(change) * 1.6 / max(float(np.abs(slope).max()), 1e-6)) * alpha + 0.25 * change * alpha
    elif kind == 'stain':
        if rng.random() < 0.4:  # wear: the texture is smoothed
            crop = mix(alpha, crop, cv2.blur(crop, (7, 7)))
        delta = alpha * change * np.float32(0.7)
        if rng.random() < 0.4:
            cast = rng.normal(0, 0.5, 3)
            return crop + cv2.transform(delta, (1 + cast - cast.mean())[:, None].astype(np.float32))
    elif kind == 'blob':
        crop = mix(np.float32(0.7) * alpha, crop, cv2.blur(crop, (5, 5)))
        delta = alpha * change
        if rng.random() < 0.4:  # the lit rim of a hole
            shift = np.array([[1, 0, rng.uniform(-2, 2)], [0, 1, rng.uniform(-2, 2)]], np.float32)
            rim = cv2.warpAffine(alpha, shift, alpha.shape[::-1]) * (1 - alpha)
            delta -= rim * change * np.float32(0.5)
    else:
        # The depth of a scratch or crack varies along it.
        height, width = alpha.shape
        depth = np.clip(0.85 + 0.3 * fractal(rng, height, width, max(8, max(height, width) / 5), 2), 0.35, 1.3)
        delta = alpha * change * np.float32(1.2) * depth
    return crop + cv2.merge([delta.astype(np.float32, copy=False)] * 3)


def _canvas(points: np.ndarray, margin: float) -> tuple[np.ndarray, np.ndarray]:
    """Return an empty (h, w) uint8 canvas for `points` (n, 2), and the offset (2,) to subtract from them."""
    low = points.min(0) - margin
    w, h = np.ceil(points.max(0) + margin - low).astype(int) + 1
    return np.zeros((h, w), np.uint8), low


def _scratch(rng: np.random.Generator, short: int) -> np.ndarray:
    """Return a long thin line, straight or slightly bent, sometimes with a second one, as (h, w) uint8 coverage."""
    length = short * np.exp(rng.uniform(np.log(0.12), np.log(0.85)))
    width = short / 256 * np.exp(rng.uniform(np.log(1.6), np.log(6)))
    line = random_walk(rng, 24, length, rng.uniform(0, 0.12))
    lines = [line]
    if rng.random() < 0.3:
        lines += [line[int(rng.integers(0, 8)) :] + rng.normal(0, 3 * width, 2)]
    canvas, low = _canvas(np.concatenate(lines), width + 2)
    for points in lines:
        stroke(canvas, points - low, width)
    return canvas


def _crack(rng: np.random.Generator, short: int) -> np.ndarray:
    """Return a jagged line that branches and becomes thinner, as (h, w) uint8 coverage."""
    length = short * np.exp(rng.uniform(np.log(0.12), np.log(0.8)))
    width = short / 256 * np.exp(rng.uniform(np.log(1.6), np.log(4.5)))
    number = max(8, round(length / short * 40))
    trunk = random_walk(rng, number, length * 1.2, 0.25) + rng.normal(0, 0.012 * length, (number, 2))
    lines = [trunk]
    for _ in range(int(rng.integers(0, 4))):
        root = trunk[int(rng.integers(1, number - 1))]
        branch = random_walk(rng, 10, length * rng.uniform(0.1, 0.4), 0.25) + rng.normal(0, 0.008 * length, (10, 2))
        lines.append(branch - branch[0] + root)
    canvas, low = _canvas(np.concatenate(lines), width + 2)
    for order, points in enumerate(lines):
        third = max(1, len(points) // 3)
        for part, share in enumerate((1.0, 0.8, 0.55)):
            piece = points[part * third : (part + 1) * third + 1] if part < 2 else points[2 * third :]
            stroke(canvas, piece - low, width * share * (0.7 if order else 1))
    return canvas


def _area(rng: np.random.Generator, kind: str, extent: float) -> np.ndarray:
    """Return a smooth blob, an oval dent or a jagged piece of about `extent` pixels, as (h, w) uint8 coverage."""
    number = 64
    if kind == 'missing':
        outline = circle(number) * fourier_radius(rng, number, 0.4, 14)[:, None]
        outline += rng.normal(0, 0.03, outline.shape)
    else:
        outline = circle(number) * fourier_radius(rng, number, 0.3 if kind == 'blob' else 0.12)[:, None]
    stretch = np.array([1, rng.uniform(0.4, 1)]) * max(extent / 2, 3)
    outline = (outline * stretch) @ rotation(rng.uniform(0, np.pi))
    canvas, low = _canvas(outline, 3)
    fill(canvas, [outline - low])
    if kind == 'dent':  # its border is soft
        size = max(3, int(extent / 8) | 1)
        canvas = cv2.blur(canvas, (size, size), borderType=cv2.BORDER_CONSTANT)
    return canvas


def _stain(rng: np.random.Generator, extent: float) -> np.ndarray:
    """Return an irregular patch with ragged or soft edges and islands, of about `extent` pixels, (h, w) uint8."""
    half = max(extent / 2, 4)
    side = 2 * round(1.4 * half) + 1
    axis = (np.arange(side, dtype=np.float32) - side // 2) / np.float32(half)
    squared = axis[None] ** 2 + (axis[:, None] / np.float32(rng.uniform(0.5, 1))) ** 2
    field = 0.8 - squared + np.float32(rng.uniform(0.15, 0.5)) * fractal(rng, side, side, max(half / 1.5, 4))
    field[squared > 1.7] = -1  # keeps the patch inside its canvas
    field[side // 2, side // 2] = max(float(field[side // 2, side // 2]), 0.5)
    return (np.clip(field * np.float32(rng.uniform(2, 10)) + 0.5, 0, 1) * 255).astype(np.uint8)
