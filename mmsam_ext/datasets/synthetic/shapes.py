"""Random outlines for the synthetic datasets, drawn into small uint8 canvases."""

from __future__ import annotations

import numpy as np

from .textures import fill, stroke


def circle(number: int) -> np.ndarray:
    """Return `number` points of the unit circle, (number, 2) float32."""
    angle = np.linspace(0, 2 * np.pi, number, endpoint=False, dtype=np.float32)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


def fourier_radius(rng: np.random.Generator, number: int, roughness: float, orders: int = 6) -> np.ndarray:
    """Draw the radius of a smooth closed curve, (number,) float32, with mean 1 and minimum 0.15.

    Args:
        rng: Source of all random numbers.
        number: Number of points.
        roughness: Amplitude of the first of `orders` harmonics; harmonic k has 1 / k of it on average.
        orders: Number of harmonics.
    """
    order = np.arange(1, orders + 1, dtype=np.float32)
    angle = np.linspace(0, 2 * np.pi, number, endpoint=False, dtype=np.float32)
    amplitude = rng.standard_normal(orders, dtype=np.float32) * np.float32(roughness) / order
    phase = rng.uniform(0, 2 * np.pi, orders).astype(np.float32)
    waves = amplitude[:, None] * np.cos(order[:, None] * angle + phase[:, None])
    return np.maximum(1 + waves.sum(0), 0.15)


def rotation(angle: float) -> np.ndarray:
    """Return the rotation by `angle` radians as a (2, 2) float32 matrix for ``points @ matrix``."""
    cosine, sine = np.cos(angle), np.sin(angle)
    return np.array([[cosine, sine], [-sine, cosine]], np.float32)


def random_walk(rng: np.random.Generator, number: int, length: float, bend: float) -> np.ndarray:
    """Draw a line of `length` that turns by N(0, bend) radians at each step, (number, 2) float32, centred on 0."""
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.standard_normal(number) * bend)
    steps = np.stack([np.cos(heading), np.sin(heading)], 1) * (length / number)
    line = np.cumsum(steps, 0)
    return (line - (line.max(0) + line.min(0)) / 2).astype(np.float32)


def draw_shape(rng: np.random.Generator, kind: str, extent: float) -> np.ndarray:
    """Draw a random shape of about `extent` pixels in its longer direction.

    Args:
        rng: Source of all random numbers.
        kind: 'ellipse', 'polygon', 'star', 'blob', 'bar', 'wire', 'ring' or 'glyph'.
        extent: Length of the longer direction in pixels.

    Returns:
        (h, w) uint8 coverage in [0, 255], on a canvas that fits the shape with a border of 2 pixels.

    Raises:
        ValueError: `kind` is unknown.
    """
    half = extent / 2
    aspect = rng.uniform(0.35, 1) if rng.random() < 0.6 else 1.0
    turn = rotation(rng.uniform(0, np.pi))
    thickness = 0.0
    holes: list[np.ndarray] = []
    if kind == 'ellipse':
        unit = circle(40)
        # A superellipse: exponent 2 / 0.35 is nearly a rounded rectangle, 2 / 1 an ellipse.
        power = rng.uniform(0.35, 1.0) if rng.random() < 0.5 else 1.0
        contours = [np.sign(unit) * np.abs(unit) ** power]
    elif kind == 'polygon':
        number = int(rng.integers(3, 8))
        angle = (np.arange(number) + rng.uniform(-0.3, 0.3, number)) * (2 * np.pi / number)
        radius = rng.uniform(0.75, 1.1, number)
        contours = [np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]]
    elif kind == 'star':
        number = int(rng.integers(4, 9))
        contours = [circle(2 * number) * np.where(np.arange(2 * number) % 2, rng.uniform(0.35, 0.75), 1)[:, None]]
    elif kind == 'blob':
        contours = [circle(48) * fourier_radius(rng, 48, rng.uniform(0.1, 0.55))[:, None]]
    elif kind == 'bar':
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], np.float32)
        contours, aspect = [corners], rng.uniform(0.05, 0.3)
    elif kind == 'wire':
        contours, aspect = [random_walk(rng, 20, 2.4, rng.uniform(0.05, 0.45))], 1.0
        thickness = max(2.5, extent * rng.uniform(0.03, 0.15))
    elif kind == 'ring':
        outer = circle(40) if rng.random() < 0.6 else circle(48) * fourier_radius(rng, 48, 0.2)[:, None]
        contours, holes = [outer], [outer * rng.uniform(0.35, 0.75)]
    elif kind == 'glyph':
        contours = _glyph(rng)
    else:
        raise ValueError(f'draw_shape: unknown kind {kind!r}')
    stretch = np.array([half, max(half * aspect, 1.25)], np.float32)
    contours = [contour * stretch @ turn for contour in contours]
    holes = [hole * stretch @ turn for hole in holes]
    points = np.concatenate(contours)
    margin = thickness / 2 + 2
    low = points.min(0) - margin
    width, height = np.ceil(points.max(0) + margin - low).astype(int) + 1
    canvas = np.zeros((height, width), np.uint8)
    if thickness:
        stroke(canvas, contours[0] - low, thickness)
    elif kind == 'glyph':
        for contour in contours:  # one by one, so that strokes unite where they cross
            fill(canvas, [contour - low])
    else:
        fill(canvas, [contour - low for contour in contours + holes])
    return canvas


def _glyph(rng: np.random.Generator) -> list[np.ndarray]:
    """Draw a letter-like figure: 2 to 4 connected bars, each (4, 2), between points of a 3 x 3 grid."""
    grid = np.stack(np.meshgrid([-0.8, 0, 0.8], [-0.8, 0, 0.8]), -1).reshape(9, 2)
    nodes = rng.permutation(9)[: int(rng.integers(3, 6))]
    half = rng.uniform(0.12, 0.28)
    bars = []
    for start, end in zip(grid[nodes[:-1]], grid[nodes[1:]], strict=True):
        along = (end - start) / np.linalg.norm(end - start) * half
        across = np.array([-along[1], along[0]])
        bars.append(
            np.stack([start - along - across, start - along + across, end + along + across, end + along - across])
        )
    return bars
