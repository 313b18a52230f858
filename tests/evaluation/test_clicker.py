"""The clicker against the protocol written down literally, click by click."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmsam_ext.evaluation.functional import Clicker, number_of_clicks
from tests.naming import raises_naming


def exact_distances(mask: np.ndarray) -> np.ndarray:
    """OpenCV's transform without Intel's IPP, whose distances are off by a rounding error that differs from call to
    call."""
    used = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    try:
        return cv2.distanceTransform(mask, cv2.DIST_L2, 0)
    finally:
        cv2.ipp.setUseIPP(used)


class LiteralClicker:
    """The rules of RITM's evaluation, written literally on whole images."""

    def __init__(self, target: np.ndarray, ignored: np.ndarray) -> None:
        self.target, self.ignored = target, ignored
        self.not_clicked = np.ones(target.shape, bool)

    def next_click(self, predicted: np.ndarray) -> tuple[int, int, bool]:
        negatives = np.logical_and(np.logical_and(self.target, np.logical_not(predicted)), np.logical_not(self.ignored))
        positives = np.logical_and(np.logical_and(np.logical_not(self.target), predicted), np.logical_not(self.ignored))
        fields = []
        for errors in (negatives, positives):
            padded = np.pad(errors, ((1, 1), (1, 1)), 'constant').astype(np.uint8)
            fields.append(exact_distances(padded)[1:-1, 1:-1] * self.not_clicked)
        is_positive = np.max(fields[0]) > np.max(fields[1])
        field = fields[0] if is_positive else fields[1]
        rows, columns = np.where(field == np.max(field))
        self.not_clicked[rows[0], columns[0]] = False
        return int(columns[0]), int(rows[0]), bool(is_positive)


def blobs(rng: np.random.Generator, shape: tuple[int, int]) -> np.ndarray:
    """A random mask of a few regions, whose edges are at times those of the image."""
    noise = cv2.GaussianBlur(rng.normal(size=shape), (0, 0), rng.uniform(0.8, 5))
    return noise > np.quantile(noise, rng.uniform(0.4, 0.95))


def test_equals_literal_version_click_by_click() -> None:
    rng = np.random.default_rng(0)
    compared = 0
    for pair in range(200):
        shape = tuple(rng.integers(5, 60, 2))
        target, predicted = blobs(rng, shape), np.zeros(shape, bool)
        ignored = blobs(rng, shape) if pair % 3 == 0 else np.zeros(shape, bool)
        if not (target & ~ignored).any():
            target[0, 0], ignored[0, 0] = True, False
        clicker, literal = Clicker(target, ignored), LiteralClicker(target, ignored)
        for _ in range(8):
            click = clicker.next_click(predicted)
            if click is None:
                break
            assert tuple(click) == literal.next_click(predicted)
            compared += 1
            if rng.random() < 0.5:  # the same mask again: pixels that were clicked do not count
                predicted = blobs(rng, shape)
    assert compared > 1400


def test_rules_by_hand() -> None:
    target = np.zeros((5, 7), bool)
    target[1:4, 1:4] = True
    clicker = Clicker(target)
    assert clicker.next_click(np.zeros_like(target)) == (2, 2, True)  # the middle of the object
    # As deep in the false positives as in the false negatives: negative.
    assert clicker.next_click(np.roll(target, 3, 1)) == (5, 2, False)
    assert clicker.next_click(target) is None
    # A wrong pixel that was clicked already is left: the protocol clicks the first pixel of the image.
    missing = target.copy()
    missing[2, 2] = False
    assert clicker.next_click(missing) == (0, 0, False)


def test_border_is_outside() -> None:
    """Without the pixel of zeros around, the deepest pixel of a full image would be at its corner."""
    assert Clicker(np.ones((5, 5), bool)).next_click(np.zeros((5, 5), bool)) == (2, 2, True)


def test_ignored_pixels() -> None:
    target = np.zeros((3, 6), bool)
    target[:, :3] = True
    ignored = np.zeros_like(target)
    ignored[:, 2:4] = True
    clicker = Clicker(target, ignored)
    assert clicker.next_click(np.zeros_like(target)) == (0, 1, True) or clicker.clicks[0].x < 2
    predicted = np.zeros_like(target)
    predicted[:, :5] = True  # 6 pixels of the object and 3 of the background count
    assert clicker.iou(predicted) == 6 / 9


def test_realistic_clicks_are_within_the_largest_error() -> None:
    target = np.zeros((20, 20), bool)
    target[2:6, 2:6] = True
    predicted = np.zeros_like(target)
    predicted[10:18, 10:18] = True  # larger than what is missed
    clicks = {Clicker(target, rng=np.random.default_rng(seed)).next_click(predicted) for seed in range(40)}
    assert len(clicks) > 20
    assert all(not click.positive and predicted[click.y, click.x] for click in clicks)
    again = [Clicker(target, rng=np.random.default_rng(3)).next_click(predicted) for _ in range(2)]
    assert again[0] == again[1]


def test_number_of_clicks_by_hand() -> None:
    ious = np.array([[0.5, 0.85, 0.9], [0.2, 0.4, 0.84], [0.9, 0.1, 0.1]])
    clicks, success = number_of_clicks(ious, 0.85)
    assert clicks.tolist() == [2, 3, 1] and success.tolist() == [True, False, True]


@pytest.mark.parametrize(
    ('target', 'named'),
    [(np.zeros((4, 4), bool), 'target'), (np.ones((4, 4), np.uint8), 'uint8'), (np.ones((1, 4, 4), bool), '1, 4, 4')],
)
def test_bad_target(target: np.ndarray, named: str) -> None:
    with raises_naming(ValueError, named):
        Clicker(target)


def test_bad_prediction() -> None:
    with raises_naming(ValueError, 'predicted', 'float64'):
        Clicker(np.ones((4, 4), bool)).next_click(np.zeros((4, 4)))
