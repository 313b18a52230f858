"""The simulated user of interactive segmentation: where the next click goes, and how many clicks were needed."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np


class Click(NamedTuple):
    """A click on pixel (x, y); `positive` clicks lie on the object."""

    x: int
    y: int
    positive: bool


class Clicker:
    """Chooses the clicks for one object, by the protocol of RITM, SimpleClick and SegNext.

    The click goes to the deepest pixel of the wrongly segmented ones: the pixel with the largest Euclidean distance to
    what is not missed (false negatives) or not falsely included (false positives), where the image's border counts as
    outside. It is positive if the largest distance among the false negatives is strictly greater than among the false
    positives. The first such pixel in row-major order is taken, and a pixel is not clicked twice.

    With `rng` clicks are less ideal, as those of people are: a random pixel of the largest connected error region.

    Paper: RITM (arXiv:2102.06583, section 4), whose evaluation code defines the details.

    Example::

        clicker = Clicker(target)
        click = clicker.next_click(np.zeros_like(target))  # the first click: nothing is segmented yet
        click = clicker.next_click(predicted)

    Args:
        target: (H, W) bool, the object.
        ignored: (H, W) bool, pixels that are neither an error nor correct; None: there are none.
        rng: Draws the pixel; None: the deepest one.

    Raises:
        ValueError: the arrays are not bool of the same (H, W), or the object is empty.
    """

    def __init__(
        self, target: np.ndarray, ignored: np.ndarray | None = None, rng: np.random.Generator | None = None
    ) -> None:
        _check('target', target, target.shape)
        self.counted = np.ones(target.shape, bool) if ignored is None else ~_check('ignored', ignored, target.shape)
        self.target = target
        if not (target & self.counted).any():
            raise ValueError('target has no pixel (ignored ones aside), expected an object to click on')
        self.rng = rng
        self.clicks: list[Click] = []

    def next_click(self, predicted: np.ndarray) -> Click | None:
        """Choose the next click.

        Args:
            predicted: (H, W) bool, the mask so far; all False before the first click.

        Returns:
            The click, which is also appended to `clicks`; None where no pixel is wrong. Where all wrong pixels have
            been clicked already, the protocol puts a negative click on the first pixel of the image, and so does this.

        Raises:
            ValueError: `predicted` is not bool of the target's (H, W).
        """
        _check('predicted', predicted, self.target.shape)
        missed = self.target & ~predicted & self.counted
        extra = ~self.target & predicted & self.counted
        if not (missed.any() or extra.any()):
            return None
        click = self._deepest(missed, extra) if self.rng is None else self._random(self.rng, missed, extra)
        self.clicks.append(click)
        return click

    def iou(self, predicted: np.ndarray) -> float:
        """Return the IoU of a mask (H, W) bool with the object; ignored pixels do not count."""
        union = np.count_nonzero((predicted | self.target) & self.counted)
        return np.count_nonzero(predicted & self.target & self.counted) / union

    def _deepest(self, missed: np.ndarray, extra: np.ndarray) -> Click:
        depth, x, y = self._depth(missed)
        other_depth, other_x, other_y = self._depth(extra)
        return Click(x, y, True) if depth > other_depth else Click(other_x, other_y, False)

    def _depth(self, errors: np.ndarray) -> tuple[float, int, int]:
        """Return the largest squared distance of an error to a correct pixel, and the first pixel (x, y) with it.

        Pixels that were clicked have the distance 0. Without errors the result is 0 at pixel (0, 0).

        Args:
            errors: (H, W) bool.
        """
        x, y, width, height = cv2.boundingRect(errors.astype(np.uint8))
        if not width:
            return 0.0, 0, 0
        # Outside the errors' box nothing is wrong, so one pixel of zeros around it is as good as the whole image with
        # one pixel of zeros around that, and faster.
        region = np.pad(errors[y : y + height, x : x + width].astype(np.uint8), 1)
        distances = cv2.distanceTransform(region, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
        # Squared, they are whole numbers. OpenCV with Intel's IPP returns roots with rounding errors that differ from
        # call to call, which would choose at random between pixels of equal depth.
        squares = np.rint(distances**2)
        for click in self.clicks:
            if 0 <= click.x - x < width and 0 <= click.y - y < height:
                squares[click.y - y, click.x - x] = 0
        row, column = divmod(int(squares.argmax()), width)
        deepest = float(squares[row, column])
        return (deepest, x + column, y + row) if deepest else (0.0, 0, 0)

    def _random(self, rng: np.random.Generator, missed: np.ndarray, extra: np.ndarray) -> Click:
        """A random pixel of the largest 8-connected region of either kind; of several the first in row-major order."""
        regions = []
        for positive, errors in ((True, missed), (False, extra)):
            _, labels, stats, _ = cv2.connectedComponentsWithStats(errors.astype(np.uint8), connectivity=8)
            if len(stats) > 1:
                label = 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
                regions.append((int(stats[label, cv2.CC_STAT_AREA]), positive, np.flatnonzero(labels == label)))
        _, positive, pixels = max(regions, key=lambda region: region[0])
        y, x = divmod(int(rng.choice(pixels)), self.target.shape[1])
        return Click(x, y, positive)


def number_of_clicks(ious: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """NoC: how many clicks each object needs for an IoU.

    Args:
        ious: (N, K), the IoU after each of K clicks.
        threshold: IoU to be reached, in (0, 1].

    Returns:
        (N,) int, the number of the first click with IoU >= threshold, K where none has; and (N,) bool, which objects
        reach it.
    """
    reached = np.asarray(ious) >= threshold
    success = np.asarray(reached.any(1))
    return np.where(success, reached.argmax(1) + 1, reached.shape[1]), success


def _check(name: str, mask: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if mask.dtype != bool or mask.ndim != 2 or mask.shape != shape:
        raise ValueError(f'{name} is {mask.dtype} of shape {mask.shape}, expected bool of shape (H, W), {shape}')
    return mask
