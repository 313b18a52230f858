"""Procedural textures, shapes and degradations shared by the synthetic datasets.

All functions draw only from the ``numpy.random.Generator`` that they are given, so an image depends only on its seed.
Noise is drawn at low resolution and enlarged by cv2, which makes generation fast.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

#: Bits of sub-pixel precision of polygon corners in cv2.
_SHIFT = 4


@lru_cache(maxsize=8)
def _ramp(length: int) -> np.ndarray:
    """Return 0, 1, 2, ... as (length,) float32; cached, because every texture needs it."""
    return np.arange(length, dtype=np.float32)


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Return an image (H, W, 3) uint8 with the artefacts of JPEG at `quality` (0 to 100)."""
    content = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR))


def direction(rng: np.random.Generator) -> tuple[float, float]:
    """Draw a random unit vector (x, y)."""
    angle = rng.uniform(0, 2 * np.pi)
    return float(np.cos(angle)), float(np.sin(angle))


def uneven_light(
    rng: np.random.Generator,
    height: int,
    width: int,
    slope: float,
    vignetting: float,
    patches: tuple[float, float, float],
) -> np.ndarray:
    """Draw a light that falls off to one side, half of the time with vignetting, sometimes with soft patches.

    Args:
        rng: Source of random numbers.
        height: Height in pixels.
        width: Width in pixels.
        slope: Largest change of the light from one side to the other.
        vignetting: Largest loss of light at the middle of a border.
        patches: Probability of soft patches, and their least and largest strength.

    Returns:
        (H, W) float32, factors around 1.
    """
    x, y = direction(rng)
    light = 1 + plane(height, width, (x / width, y / height)) * np.float32(rng.uniform(0, slope))
    if rng.random() < 0.5:
        rows, columns = plane(height, 1, (0, 2 / height)), plane(1, width, (2 / width, 0))
        light -= np.float32(rng.uniform(0.03, vignetting)) * (rows**2 + columns**2)
    probability, least, most = patches
    if rng.random() < probability:
        light += np.float32(rng.uniform(least, most)) * noise(rng, height, width, min(height, width) / 3)
    return light


def plane(height: int, width: int, slope: tuple[float, float]) -> np.ndarray:
    """Return x * slope[0] + y * slope[1], with 0 at the centre, as (H, W) float32."""
    columns = (_ramp(width) - (width - 1) / 2) * np.float32(slope[0])
    rows = (_ramp(height) - (height - 1) / 2) * np.float32(slope[1])
    return rows[:, None] + columns[None]


def noise(rng: np.random.Generator, height: int, width: int, cell: float, cell_y: float | None = None) -> np.ndarray:
    """Draw smooth noise with unit variance at its grid points.

    Args:
        rng: Source of all random numbers.
        height: Height of the result in pixels.
        width: Width of the result in pixels.
        cell: Grid spacing in pixels along x (and y where `cell_y` is None); 1 or less is white noise.
        cell_y: Grid spacing along y, for noise that is stretched in one direction.

    Returns:
        (H, W) float32, about N(0, 1) at grid points and smoother in between.
    """
    rows = max(2, round(height / max(cell_y or cell, 1.0)))
    columns = max(2, round(width / max(cell, 1.0)))
    grid = rng.standard_normal((rows, columns), dtype=np.float32)
    if (rows, columns) == (height, width):
        return grid
    return cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)


def fractal(rng: np.random.Generator, height: int, width: int, cell: float, octaves: int = 3) -> np.ndarray:
    """Draw a sum of noises, (H, W) float32; each has half the cell and 0.6 of the amplitude of the previous."""
    total = noise(rng, height, width, cell)
    for octave in range(1, octaves):
        total += np.float32(0.6**octave) * noise(rng, height, width, cell / 2**octave)
    return total


def texture(rng: np.random.Generator, height: int, width: int, kind: str, period: float) -> np.ndarray:
    """Draw a scalar texture, which serves as the blend between two colours.

    Args:
        rng: Source of all random numbers.
        height: Height of the result in pixels.
        width: Width of the result in pixels.
        kind: 'flat', 'gradient', 'noise', 'grain', 'streaks', 'stripes', 'checks', 'spots' or 'waves'.
        period: Typical feature size in pixels.

    Returns:
        (H, W) float32 in [0, 1].

    Raises:
        ValueError: `kind` is unknown.
    """
    if kind == 'flat':
        return np.full((height, width), 0.5, np.float32)
    along = direction(rng)
    if kind == 'gradient':
        value = 0.5 + plane(height, width, (along[0] / max(width, 2), along[1] / max(height, 2)))
    elif kind == 'noise':
        value = 0.5 + 0.25 * fractal(rng, height, width, period)
    elif kind == 'grain':
        value = 0.5 + 0.2 * noise(rng, height, width, 1.0 + period / 16)
    elif kind == 'streaks':
        thin, long = max(period / 6, 1.0), period * 4
        cells = (thin, long) if rng.random() < 0.5 else (long, thin)
        value = 0.5 + 0.25 * noise(rng, height, width, *cells)
    elif kind in ('stripes', 'waves'):
        phase = plane(height, width, (along[0] / period, along[1] / period)) + np.float32(rng.random())
        if kind == 'waves':
            phase += 0.3 * noise(rng, height, width, 2 * period)
        value = _band(phase, rng)
    elif kind == 'checks':
        first = _band(plane(height, width, (along[0] / period, along[1] / period)), rng)
        second = _band(plane(height, width, (-along[1] / period, along[0] / period)), rng)
        value = first + second - 2 * first * second
    elif kind == 'spots':
        value = 0.5 + rng.uniform(1.5, 4) * (noise(rng, height, width, period) - rng.uniform(0.2, 0.9))
    else:
        raise ValueError(f'texture: unknown kind {kind!r}')
    return np.clip(value, 0, 1, dtype=np.float32)


def _band(phase: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a triangle wave of `phase` with period 1, sharpened to bands of random width, (H, W) float32 in [0, 1]."""
    wave = np.abs(phase - np.rint(phase)) * 2
    sharpness = rng.uniform(1, 5)
    return np.clip((wave - rng.uniform(0.35, 0.65)) * sharpness + 0.5, 0, 1)


def blend(value: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Blend two colours: `first` (3,) where `value` (H, W) is 0, `second` (3,) where it is 1 -> (H, W, 3) float32."""
    # cv2, because numpy is slow on a last dimension of three.
    return cv2.transform(value, np.stack([second - first, first], 1).astype(np.float32))


def mix(share: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Blend two pictures (H, W, 3): `first` where `share` (H, W) is 0, `second` where it is 1 -> (H, W, 3) float32."""
    return cv2.blendLinear(np.ascontiguousarray(first), np.ascontiguousarray(second), 1 - share, share)


def scale(image: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Multiply `image` (H, W, 3) by `factor` (H, W)."""
    return cv2.multiply(image, cv2.merge([factor] * 3))


def fill(canvas: np.ndarray, contours: list[np.ndarray]) -> None:
    """Fill closed contours, each (n, 2) float (x, y) in pixels, into `canvas` (H, W) uint8 with 255 and smooth edges.

    Contours of one call cancel where they overlap (even-odd rule); this makes holes.
    """
    fixed = [np.rint(contour * 2**_SHIFT).astype(np.int32) for contour in contours]
    cv2.fillPoly(canvas, fixed, 255, lineType=cv2.LINE_AA, shift=_SHIFT)


def stroke(canvas: np.ndarray, line: np.ndarray, width: float, closed: bool = False) -> None:
    """Draw a line, (n, 2) float (x, y) in pixels, `width` pixels wide (at least 1), into `canvas` (H, W) with 255."""
    fixed = np.rint(line * 2**_SHIFT).astype(np.int32)
    cv2.polylines(canvas, [fixed], closed, 255, max(1, round(width)), lineType=cv2.LINE_AA, shift=_SHIFT)


def degrade(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Degrade an image as cameras and files do: blur, loss of resolution, noise, JPEG, or nothing.

    Args:
        rng: Source of all random numbers.
        image: (H, W, 3) float32 in about [0, 255].

    Returns:
        (H, W, 3) uint8.
    """
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        image = cv2.GaussianBlur(image, (5, 5), rng.uniform(0.3, 1.4))
    if rng.random() < 0.12:
        factor = rng.uniform(0.4, 0.8)
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    if rng.random() < 0.6:
        strength = np.float32(rng.uniform(0, 1) ** 2 * 22)
        # Half of the time all channels share the noise, as with grey sensors and luminance noise.
        channels = 1 if rng.random() < 0.5 else 3
        grain = rng.standard_normal((height, width, channels), dtype=np.float32)
        image = image + strength * grain
    image = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.25:
        quality = int(rng.integers(15, 90))
        image = as_jpeg(image, quality)
    return image
