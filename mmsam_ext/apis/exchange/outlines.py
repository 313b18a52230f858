"""Masks as polygons and as run lengths, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from ..rle import encode_rle


def polygons(mask: np.ndarray) -> list[tuple[np.ndarray, list[np.ndarray]]]:
    """Return the outline of each connected region of a mask and the outlines of its holes.

    Points are centres of foreground pixels: filled with their borders, and the holes left out, they give the mask back.

    Args:
        mask: (H, W) bool.

    Returns:
        For each region (N, 2) int x, y, and a list of the same for its holes.
    """
    contours, tree = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    outer: dict[int, tuple[np.ndarray, list[np.ndarray]]] = {}
    links = tree[0] if len(contours) else ()
    for index, link in enumerate(links):
        if link[3] < 0:
            outer[index] = (contours[index][:, 0], [])
    for index, link in enumerate(links):
        if link[3] >= 0:
            outer[int(link[3])][1].append(contours[index][:, 0])
    return list(outer.values())


def with_bridges(outline: np.ndarray, holes: Sequence[np.ndarray]) -> np.ndarray:
    """Join holes to an outline, as formats with one polygon for a region need it.

    A hole is entered and left at the place where it comes closest to the outline so far. Filled by the even-odd rule,
    the polygon leaves the hole out.

    Returns:
        (N, 2) x, y.
    """
    joined = outline
    for hole in sorted(holes, key=lambda points: int(points[:, 0].min())):
        distances = ((joined[:, None] - hole[None]) ** 2).sum(-1)
        start, entry = np.unravel_index(int(distances.argmin()), distances.shape)
        around = np.concatenate([hole[entry:], hole[: entry + 1]])
        joined = np.concatenate([joined[: start + 1], around, joined[start:]])
    return joined


def fill(points: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Fill polygons with their borders by the even-odd rule.

    Args:
        points: Polygons (N, 2) x, y of centres of pixels.
        height: Of the image.
        width: Of the image.

    Returns:
        (H, W) bool.
    """
    mask = np.zeros((height, width), np.uint8)
    rounded = [np.round(np.asarray(one, np.float64)).astype(np.int32).reshape(-1, 1, 2) for one in points]
    cv2.fillPoly(mask, [one for one in rounded if len(one)], 1)
    return mask.astype(bool)


def image_rle(mask: np.ndarray, box: Sequence[int], height: int, width: int) -> dict[str, Any]:
    """Return COCO's uncompressed run lengths at the size of the image for a mask that is given in its box.

    Only the columns of the box are looked at.

    Args:
        mask: (h, w) bool in the box.
        box: x, y, w, h.
        height: Of the image.
        width: Of the image.
    """
    x, y, box_width, box_height = box
    columns = np.zeros((height, box_width), bool)
    columns[y : y + box_height] = mask
    counts = encode_rle(columns)['counts']
    counts[0] += x * height
    after = (width - x - box_width) * height
    if len(counts) % 2:  # it ends with background
        counts[-1] += after
    elif after:
        counts.append(after)
    return dict(size=[height, width], counts=counts)
