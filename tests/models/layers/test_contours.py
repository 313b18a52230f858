"""Boundaries of shapes that can be worked by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmsam_ext.models.layers.contours import Contour, find_contours, pair_contours


def square(size: int = 20, low: int = 4, side: int = 8) -> np.ndarray:
    """A mask whose pixels go from `low` to `low` + `side` in both directions."""
    mask = np.zeros((size, size), np.uint8)
    mask[low : low + side + 1, low : low + side + 1] = 1
    return mask


def test_a_square():
    (contour,) = find_contours(square())
    assert len(contour.pixels) == 32 and not contour.hole
    points = contour.even_points(8)
    expected = [[4, 4], [8, 4], [12, 4], [12, 8], [12, 12], [8, 12], [4, 12], [4, 8]]  # clockwise from the first pixel
    assert points.tolist() == expected
    assert contour.even_points(64)[1].tolist() == [4.5, 4.0]  # between pixels: there are fewer than points


def test_points_follow_the_line_whatever_the_spacing_of_its_corners():
    """Arc length counts, not the number of corners: a 6 x 2 rectangle with a corner too many on its first side."""
    corners = np.array([[0, 0], [1, 0], [6, 0], [6, 2], [0, 2]], np.float32)
    assert Contour(corners, False).even_points(4).tolist() == [[0, 0], [4, 0], [6, 2], [2, 2]]


def test_a_circle_has_points_at_equal_distances():
    mask = cv2.circle(np.zeros((200, 200), np.uint8), (100, 90), 80, 1, -1)
    points = find_contours(mask)[0].even_points(32)
    radius = np.hypot(*(points - [100, 90]).T)
    assert abs(radius - 80).max() < 0.7
    steps = np.hypot(*(np.roll(points, -1, axis=0) - points).T)
    assert abs(steps / (2 * 80 * np.sin(np.pi / 32)) - 1).max() < 0.12  # oblique chains of pixels are longer


def test_both_directions_give_the_same_points():
    pixels = find_contours(square())[0].pixels
    back = np.roll(pixels[::-1], 1, axis=0)  # from the same pixel the other way round
    assert np.array_equal(Contour(pixels, False).even_points(10), Contour(back, False).even_points(10))


def test_parts_and_holes():
    mask = np.zeros((40, 60), np.uint8)
    mask[5:30, 5:30] = 1
    mask[12:20, 12:18] = 0
    mask[8:14, 40:50] = 1
    (largest,) = find_contours(mask)
    assert largest.pixels.min(0).tolist() == [5, 5] and largest.pixels.max(0).tolist() == [29, 29]
    every = find_contours(mask, 'all')
    assert sorted(contour.hole for contour in every) == [False, False, True]
    hole = next(contour for contour in every if contour.hole)
    assert hole.pixels.min(0).tolist() == [11, 11] and hole.pixels.max(0).tolist() == [18, 20]  # pixels around it
    assert find_contours(np.zeros((5, 5), np.uint8)) == [] and len(find_contours(np.eye(1))[0].pixels) == 1


def test_largest_is_by_area_and_not_by_length():
    mask = np.zeros((40, 100), np.uint8)
    mask[2, 2:98] = 1  # a line of 192 steps around
    mask[10:30, 10:30] = 1
    assert find_contours(mask)[0].pixels.min(0).tolist() == [10, 10]


def test_pairs_are_of_the_same_kind_and_overlap_most():
    def box(x: int, y: int, side: int, hole: bool = False) -> Contour:
        corners = [[x, y], [x + side, y], [x + side, y + side], [x, y + side]]
        return Contour(np.array(corners, np.float32), hole)

    true = [box(0, 0, 10), box(20, 0, 10), box(2, 2, 5, hole=True)]
    predicted = [box(19, 1, 9), box(1, 1, 5), box(2, 3, 5, hole=True), box(50, 50, 4), box(20, 1, 5, hole=True)]
    pairs = pair_contours(predicted, true)
    assert [(predicted.index(p), true.index(t)) for p, t in pairs] == [(0, 1), (1, 0), (2, 2)]
    assert pair_contours([], true) == pair_contours(predicted, []) == []


@pytest.mark.parametrize(('low', 'side', 'share'), [(4, 8, 0.0), (0, 19, 1.0), (0, 8, 17 / 32)])
def test_share_on_the_border(low: int, side: int, share: float):
    (contour,) = find_contours(square(low=low, side=side))
    assert contour.border_share((20, 20)) == pytest.approx(share)
