"""What lens, sensor and file do to a scene; closer to real cameras than :func:`~.textures.degrade`."""

from __future__ import annotations

import cv2
import numpy as np

from .textures import as_jpeg, direction, scale, uneven_light


def photograph(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Photograph a scene: light, blur, exposure, sensor noise, sharpening and compression, each only sometimes.

    Args:
        rng: Source of random numbers.
        image: (H, W, 3) float32 in about [0, 255].

    Returns:
        (H, W, 3) uint8.
    """
    if rng.random() < 0.5:
        image = scale(image, _light(rng, *image.shape[:2]))
    image = _blur(rng, image)
    if rng.random() < 0.5:
        image = _expose(rng, image)
    if rng.random() < 0.75:
        image = _sense(rng, image)
    if rng.random() < 0.2:  # sharpened by the camera
        image = image + np.float32(rng.uniform(0.3, 1.5)) * (image - cv2.GaussianBlur(image, (0, 0), 1.2))
    image = np.clip(image, 0, 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = int(rng.integers(15, 95))
        image = as_jpeg(image, quality)
    return image


def _light(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """(H, W) float32 factor around 1: light that falls off to one side, vignetting, patches of shade."""
    light = uneven_light(rng, height, width, slope=0.8, vignetting=0.25, patches=(0.4, 0.03, 0.15))
    return np.maximum(light, 0.1).astype(np.float32)


def _blur(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Defocus, motion or loss of resolution, or nothing."""
    kind = rng.random()
    if kind < 0.4:
        return cv2.GaussianBlur(image, (0, 0), float(np.exp(rng.uniform(np.log(0.35), np.log(1.8)))))
    if kind < 0.5:
        length = int(rng.integers(3, 8))
        along = np.array(direction(rng)) * length / 2
        kernel = np.zeros((length | 1, length | 1), np.float32)
        centre = length // 2
        ends = [tuple(int(round(centre + sign * value)) for value in along) for sign in (-1, 1)]
        cv2.line(kernel, ends[0], ends[1], 1.0)
        return cv2.filter2D(image, -1, kernel / kernel.sum())
    if kind < 0.6:
        factor = rng.uniform(0.4, 0.85)
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return image


def _expose(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """A tone curve, less contrast, a colour cast."""
    value = np.clip(image, 0, 255) / np.float32(255)
    value = value ** np.float32(np.exp(rng.normal(0, 0.3)))
    contrast = rng.uniform(0.35, 1.1)
    middle = rng.uniform(0.25, 0.75)
    value = (value - np.float32(0.5)) * np.float32(contrast) + np.float32(middle)
    if rng.random() < 0.3:
        value = value * (1 + rng.normal(0, 0.08, 3)).astype(np.float32)
    return value * np.float32(255)


def _sense(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Noise whose variance grows with the signal, white or blotchy, the same in all channels or not."""
    height, width = image.shape[:2]
    strength = float(rng.uniform(0, 1) ** 2)
    channels = 1 if rng.random() < 0.5 else 3
    grain = rng.standard_normal((height, width, channels), dtype=np.float32)
    if rng.random() < 0.3:
        grain = 1.8 * cv2.blur(grain, (2, 2)).reshape(height, width, channels)
    read, shot = np.float32(14 * strength), np.float32(18 * strength)
    sigma = np.sqrt(read**2 + shot**2 * np.clip(image, 0, 255) / np.float32(255))
    return image + sigma * grain
