"""Scores that mean something for thin structures, where a mask is all boundary and boundary IoU equals IoU."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor

from .mask_iou import check_pair


def cl_dice(pred: Tensor, target: Tensor) -> Tensor:
    """Return the centerline Dice of masks: the harmonic mean of topology precision and topology sensitivity.

    Topology precision is the share of the prediction's skeleton that lies in the target, topology sensitivity the share
    of the target's skeleton that lies in the prediction. A mask that is shifted by less than half its width, or drawn
    too thick, keeps a high score; a crack that breaks in two loses what is missing.

    Paper: clDice (arXiv:2003.07311, section 3.1, equations 1 and 2); skeletons by Zhang and Suen's thinning.

    Args:
        pred: (..., H, W) bool, any device.
        target: (..., H, W) bool; its leading dimensions broadcast with those of `pred`.

    Returns:
        (...,) float64 in [0, 1]. Two empty masks score 1, one empty mask scores 0.

    Raises:
        ValueError: the masks are not bool or differ in H or W.
    """
    check_pair(pred, target)
    precision = _share_inside(_skeletons(pred), target)
    sensitivity = _share_inside(_skeletons(target), pred)
    return _harmonic_mean(precision, sensitivity, pred, target)


def boundary_f1(pred: Tensor, target: Tensor, tolerance: float = 2.0) -> Tensor:
    """Return the F1 score of masks' contours: a contour pixel is right if one of the other mask's is near.

    Contours are the mask's pixels that touch the background, or the border of the image, by an edge.

    Paper: Csurka et al., "What is a good evaluation measure for semantic segmentation?" (BMVC 2013, section 2.3).

    Args:
        pred: (..., H, W) bool, any device.
        target: (..., H, W) bool; its leading dimensions broadcast with those of `pred`.
        tolerance: Largest Euclidean distance in pixels between the centres of two contour pixels that match; 0 or more.

    Returns:
        (...,) float64 in [0, 1]. Two empty masks score 1, one empty mask scores 0.

    Raises:
        ValueError: the masks are not bool or differ in H or W, or `tolerance` is negative.
    """
    check_pair(pred, target)
    if tolerance < 0:
        raise ValueError(f'boundary_f1: tolerance={tolerance}, expected 0 pixels or more')
    pred_contour, target_contour = _contours(pred), _contours(target)
    precision = _share_inside(pred_contour, _near(target_contour, tolerance))
    recall = _share_inside(target_contour, _near(pred_contour, tolerance))
    return _harmonic_mean(precision, recall, pred, target)


def _share_inside(pixels: Tensor, region: Tensor) -> Tensor:
    """Return the share of `pixels` in `region`, both (..., H, W) bool; (...,) float64, 0 without pixels."""
    inside = (pixels & region).flatten(-2).sum(-1).double()
    return inside / pixels.flatten(-2).sum(-1).clamp(min=1)


def _harmonic_mean(precision: Tensor, recall: Tensor, pred: Tensor, target: Tensor) -> Tensor:
    """Return the harmonic mean, (...,) float64; 1 for two empty masks."""
    mean = 2 * precision * recall / (precision + recall).clamp(min=torch.finfo(torch.float64).tiny)
    both_empty = ~(pred.flatten(-2).any(-1) | target.flatten(-2).any(-1))
    return torch.where(both_empty, 1.0, mean)


def _each(masks: Tensor, function: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """Apply a function on (H, W) bool arrays to each of (..., H, W) masks."""
    arrays = masks.reshape(-1, *masks.shape[-2:]).cpu().numpy()
    results = np.stack([function(array) for array in arrays]) if len(arrays) else arrays
    return torch.from_numpy(results).view(masks.shape).to(masks.device)


def _skeletons(masks: Tensor) -> Tensor:
    """Return the skeletons of (..., H, W) bool masks, one pixel wide."""
    from skimage.morphology import skeletonize

    return _each(masks, skeletonize)


def _contours(masks: Tensor) -> Tensor:
    """Return the pixels of (..., H, W) bool masks that have a background pixel above, below or beside them."""
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))

    def contour(mask: np.ndarray) -> np.ndarray:
        # The default border would count as foreground.
        inner = cv2.erode(mask.astype(np.uint8), cross, borderType=cv2.BORDER_CONSTANT, borderValue=0)
        return mask & ~inner.astype(bool)

    return _each(masks, contour)


def _near(pixels: Tensor, distance: float) -> Tensor:
    """Return which pixels lie within a Euclidean distance of one of `pixels`, both (..., H, W) bool."""

    def near(array: np.ndarray) -> np.ndarray:
        if not array.any():
            return array
        exact = cv2.distanceTransform((~array).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        return exact <= distance + 1e-3  # distances are roots of whole numbers, computed in float32

    return _each(pixels, near)
