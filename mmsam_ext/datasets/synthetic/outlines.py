"""Outlines that :func:`draw_shape` does not have: thin, hollow, perforated, branching and letter-like ones."""

from __future__ import annotations

import cv2
import numpy as np

from .shapes import circle, draw_shape, fourier_radius, random_walk, rotation
from .textures import fill, stroke

OUTLINES = ('frame', 'perforated', 'network', 'mesh', 'hair', 'text')
_FONTS = (
    cv2.FONT_HERSHEY_SIMPLEX,
    cv2.FONT_HERSHEY_DUPLEX,
    cv2.FONT_HERSHEY_TRIPLEX,
    cv2.FONT_HERSHEY_SCRIPT_COMPLEX,
)
_LETTERS = 'ABCDEFGHKLMNPRSTUVXYZabdeghkmnpqrsuvxz0123456789'


def draw_outline(rng: np.random.Generator, kind: str, extent: float) -> np.ndarray:
    """Draw a random outline of about `extent` pixels in its longer direction.

    Args:
        rng: Source of random numbers.
        kind: One of :data:`OUTLINES`, or a kind of :func:`draw_shape`.
        extent: In pixels.

    Returns:
        (h, w) uint8 coverage 0..255 in a canvas that fits it.

    Raises:
        ValueError: on an unknown `kind`.
    """
    draw = dict(frame=_frame, perforated=_perforated, network=_network, mesh=_mesh, hair=_hair, text=_text).get(kind)
    return draw_shape(rng, kind, extent) if draw is None else draw(rng, extent)


def _strokes(lines: list[np.ndarray], widths: list[float], closed: bool = False) -> np.ndarray:
    """Draw lines, each (n, 2), of their widths in pixels into a canvas that fits all."""
    points = np.concatenate(lines)
    margin = max(widths) / 2 + 2
    low = points.min(0) - margin
    width, height = np.ceil(points.max(0) + margin - low).astype(int) + 1
    canvas = np.zeros((height, width), np.uint8)
    for line, thickness in zip(lines, widths, strict=True):
        stroke(canvas, line - low, thickness, closed)
    return canvas


def _thin(rng: np.random.Generator, extent: float) -> float:
    """Draw a line width in pixels: 1.5 pixels to 8 % of the extent."""
    return float(np.exp(rng.uniform(np.log(1.5), np.log(max(2.0, 0.08 * extent)))))


def _frame(rng: np.random.Generator, extent: float) -> np.ndarray:
    """Draw the rim of a closed curve: a hollow object whose box is nearly empty."""
    number = int(rng.choice([3, 4, 5, 6, 48]))
    radius = fourier_radius(rng, number, rng.uniform(0.05, 0.3)) if number == 48 else rng.uniform(0.8, 1.1, number)
    stretch = np.array([1, rng.uniform(0.4, 1)]) * extent / 2
    line = (circle(number) * radius[:, None] * stretch) @ rotation(rng.uniform(0, np.pi))
    return _strokes([line], [1.5 * _thin(rng, extent)], closed=True)


def _perforated(rng: np.random.Generator, extent: float) -> np.ndarray:
    """Draw a solid shape with 2 to 8 holes."""
    canvas = draw_shape(rng, ('ellipse', 'polygon', 'blob')[int(rng.integers(3))], extent)
    height, width = canvas.shape
    holes = np.zeros_like(canvas)
    for _ in range(int(rng.integers(2, 9))):
        radius = rng.uniform(0.05, 0.16) * min(height, width)
        centre = rng.uniform(0.15, 0.85, 2) * (width, height)
        fill(holes, [circle(20) * np.maximum(radius * rng.uniform(0.6, 1, 2), 1) + centre])
    return np.minimum(canvas, 255 - holes)


def _network(rng: np.random.Generator, extent: float) -> np.ndarray:
    """Draw a tree of lines that branch and become thinner, as cracks, veins and roots do."""
    bend = rng.uniform(0.05, 0.3)
    lines, widths = [random_walk(rng, 24, extent, bend)], [_thin(rng, extent)]
    for _ in range(int(rng.integers(2, 9))):
        parent = int(rng.integers(len(lines)))
        root = lines[parent][int(rng.integers(2, len(lines[parent]) - 2))]
        branch = random_walk(rng, 12, extent * rng.uniform(0.15, 0.5), bend)
        lines.append(branch - branch[0] + root)
        widths.append(max(1.0, 0.75 * widths[parent]))
    return _strokes(lines, widths)


def _mesh(rng: np.random.Generator, extent: float) -> np.ndarray:
    """Draw two families of parallel lines: a grid, a fence, a net."""
    turn = rotation(rng.uniform(0, np.pi))
    aspect = rng.uniform(0.5, 1)
    lines = []
    for axis, number in enumerate(rng.integers(2, 7, 2)):
        for place in np.linspace(-1, 1, int(number)):
            line = np.array([[-1.0, place], [1.0, place]])[:, :: 1 if axis else -1]
            lines.append(line * (extent / 2, extent / 2 * aspect) @ turn)
    return _strokes(lines, [_thin(rng, 0.6 * extent)] * len(lines))


def _hair(rng: np.random.Generator, extent: float) -> np.ndarray:
    """Draw a thread of 1 to 3 pixels, straight to curly."""
    return _strokes([random_walk(rng, 40, 1.6 * extent, rng.uniform(0.0, 0.5))], [rng.uniform(1.2, 3.0)])


def _text(rng: np.random.Generator, extent: float) -> np.ndarray:
    """Draw a word of 1 to 6 letters and digits in any direction."""
    word = ''.join(_LETTERS[index] for index in rng.integers(len(_LETTERS), size=int(rng.integers(1, 7))))
    font = _FONTS[int(rng.integers(len(_FONTS)))]
    (width, height), below = cv2.getTextSize(word, font, 1.0, 1)
    size = extent / max(width, height)
    thickness = max(1, round(size * rng.uniform(1, 5)))
    side = int(1.5 * extent) + 8
    canvas = np.zeros((side, side), np.uint8)
    corner = (round(side / 2 - width * size / 2), round(side / 2 + height * size / 2))
    cv2.putText(canvas, word, corner, font, size, 255, thickness, cv2.LINE_AA)
    if rng.random() < 0.5:
        matrix = cv2.getRotationMatrix2D((side / 2, side / 2), rng.uniform(0, 360), 1.0)
        canvas = cv2.warpAffine(canvas, matrix, (side, side))
    x, y, w, h = cv2.boundingRect(canvas)
    return np.ascontiguousarray(canvas[y : y + h, x : x + w])
