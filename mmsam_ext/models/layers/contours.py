"""Boundaries of masks as closed lines of evenly spaced points."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

PARTS = ('largest', 'all')


@dataclass(eq=False)
class Contour:
    """One closed boundary.

    Attributes:
        pixels: (n, 2) float32, x and y of its pixels in their order; they belong to the mask, also around a hole.
        hole: Whether it is the boundary of a hole.
    """

    pixels: np.ndarray
    hole: bool

    def border_share(self, shape: tuple[int, int]) -> float:
        """Return the share of the boundary, from 0 to 1, that lies on the border of a map of (height, width)."""
        last = np.array([shape[1] - 1, shape[0] - 1])
        return float(((self.pixels <= 0) | (self.pixels >= last)).any(1).mean())

    def even_points(self, number: int) -> np.ndarray:
        """Return (number, 2) float32 points at equal distances along the line, interpolated between pixels.

        They start at the first pixel and go clockwise as seen on the screen (x to the right, y down).
        """
        closed = np.concatenate([self.pixels, self.pixels[:1]])
        along = np.concatenate([[0.0], np.hypot(*np.diff(closed, axis=0).T).cumsum()])
        where = np.arange(number) * (along[-1] / number)
        points = np.stack([np.interp(where, along, closed[:, axis]) for axis in (0, 1)], 1).astype(np.float32)
        x, y = closed.T
        if (x[:-1] * y[1:] - x[1:] * y[:-1]).sum() < 0:  # twice the signed area
            points = np.roll(points[::-1], 1, axis=0)
        return points


def find_contours(mask: np.ndarray, parts: str = 'largest') -> list[Contour]:
    """Find the boundaries of a mask.

    Args:
        mask: (h, w), foreground is non-zero.
        parts: 'all' boundaries, of regions and of holes in them, or only the outer one of the 'largest' region.

    Returns:
        None for an empty mask; a region of one pixel has a contour of one pixel.
    """
    lines, tree = cv2.findContours((mask != 0).astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    if not lines:
        return []
    holes = tree.reshape(-1, 4)[:, 3] >= 0  # they have a parent
    if parts == 'largest':
        outer = np.flatnonzero(~holes)
        sizes = [(cv2.contourArea(lines[index]), len(lines[index])) for index in outer]
        chosen = [outer[max(range(len(outer)), key=sizes.__getitem__)]]
    else:
        chosen = range(len(lines))
    return [Contour(lines[index].reshape(-1, 2).astype(np.float32), bool(holes[index])) for index in chosen]


def pair_contours(predicted: list[Contour], true: list[Contour]) -> list[tuple[Contour, Contour]]:
    """Pair each predicted boundary with the true one of the same kind whose bounding box overlaps it most (by IoU).

    Returns:
        Pairs; predicted boundaries that overlap none are left out.
    """
    if not predicted or not true:
        return []
    overlap = _box_iou(_boxes(predicted), _boxes(true))
    overlap *= np.equal.outer([c.hole for c in predicted], [c.hole for c in true])
    best = overlap.argmax(1)
    return [(c, true[best[row]]) for row, c in enumerate(predicted) if overlap[row, best[row]] > 0]


def _boxes(contours: list[Contour]) -> np.ndarray:
    """Return the bounding boxes, (n, 4) x1 y1 x2 y2, around whole pixels."""
    return np.stack([np.concatenate([c.pixels.min(0), c.pixels.max(0) + 1]) for c in contours])


def _box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the IoU of boxes (n, 4) with boxes (m, 4), as (n, m)."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (first, second)]
    return both / (areas[0][:, None] + areas[1][None] - both)
