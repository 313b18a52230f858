"""Formats in which users hold boxes and masks, and checks for prompts in another format than they say."""

from __future__ import annotations

import logging

import numpy as np
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor

from .errors import InferenceError

#: Probability of the foreground in a binary mask; its logits are plus and minus 6.9.
CERTAIN = 0.999


def check_format(option: str, value: str | None, known: tuple[str, ...]) -> None:
    """Check the value of `box_format` or `mask_format`.

    Raises:
        InferenceError: It is neither None nor one of the known ones.
    """
    if value is not None and value not in known:
        raise InferenceError(f'{option} is {value!r}, expected one of {", ".join(map(repr, known))}')


def boxes_in_pixels(boxes: np.ndarray, box_format: str | None, width: int, height: int, name: str) -> np.ndarray:
    """Bring boxes to x1 y1 x2 y2 in pixels.

    Args:
        boxes: (P, 4).
        box_format: 'xyxy'; 'xywh', the corner of the least coordinates, width and height; 'normalized', x1 y1 x2 y2 as
            shares of the image's width and height; None for 'xyxy' with a check whether the boxes look like another.
        width: Width of the image in pixels.
        height: Height of the image in pixels.
        name: Name of the image in error messages.

    Raises:
        InferenceError: The boxes do not fit the format, or look like boxes of another one and None was given.
    """
    if box_format == 'xywh':
        if (boxes[:, 2:] < 0).any():
            raise InferenceError(f'{name}: field `boxes` has a negative width or height: {_first(boxes, 2)}')
        return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
    if box_format == 'normalized':
        if boxes.min() < 0 or boxes.max() > 1:
            raise InferenceError(
                f'{name}: field `boxes` holds {boxes.min():g} to {boxes.max():g}, expected shares of the image between '
                "0 and 1 with box_format='normalized'"
            )
        return boxes * np.array([width, height, width, height], np.float32)
    if box_format is None:
        _check_boxes(boxes, width, height, name)
    return boxes


def points_in_pixels(points: np.ndarray, labels: np.ndarray, width: int, height: int, name: str) -> np.ndarray:
    """Return points (P, N, 2), after a check that they are not shares of the image.

    Raises:
        InferenceError: All points that are not padding lie between 0 and 1, and not on whole pixels.
    """
    if points.shape[:2] != labels.shape:
        return points  # the structure rejects them
    real = points[labels >= 0]
    if len(real) and min(width, height) > 2 and _looks_normalized(real) and (real % 1).any():
        raise InferenceError(
            f'{name}: field `points` lies between 0 and 1 ({_short(real[0])}), expected pixels. If these are shares '
            f'of the image of {width} x {height} pixels, multiply them by its width and height'
        )
    return points


def mask_logits(masks: np.ndarray, mask_format: str | None, name: str) -> np.ndarray:
    """Bring mask prompts to logits.

    Args:
        masks: (P, h, w).
        mask_format: 'logits'; 'binary', two values of which the larger is foreground (False and True, 0 and 1, 0 and
            255); 'probability', values between 0 and 1; None for 'logits' with a check whether the masks look like
            another.
        name: Name of the image in error messages.

    Raises:
        InferenceError: The masks do not fit the format, or look like masks of another one and None was given.
    """
    if mask_format is None:
        _check_masks(masks, name)
    if mask_format in (None, 'logits'):
        return masks
    if mask_format == 'binary':
        largest = max(mask.max() for mask in masks)
        if not all(((mask == 0) | (mask == (255 if largest == 255 else 1))).all() for mask in masks):
            raise InferenceError(
                f'{name}: field `masks` holds {np.unique(masks)[:8].astype(float).tolist()}, expected 0 and 1, or 0 '
                "and 255, with mask_format='binary'"
            )
    elif masks.min() < 0 or masks.max() > 1:
        raise InferenceError(
            f'{name}: field `masks` holds {masks.min():g} to {masks.max():g}, expected values between 0 and 1 with '
            "mask_format='probability'"
        )
    logits = np.empty(masks.shape, np.float32)
    for mask, result in zip(masks, logits, strict=True):  # masks may have the size of their image, and be many
        share = mask > 0 if mask_format == 'binary' else mask
        clipped = np.clip(share, 1 - CERTAIN, CERTAIN, dtype=np.float64 if mask_format == 'binary' else np.float32)
        result[:] = np.log(clipped / (1 - clipped))
    return logits


def fit_masks(masks: Tensor, size: tuple[int, int], input_size: tuple[int, int], meta: dict) -> Tensor:
    """Resize mask prompts that have the size of their image to the decoder's size.

    Args:
        masks: (P, 1, H0, W0) logits in the frame of the image, or (P, 1, *size), which are returned as they are.
        size: (4h, 4w) that the prompt encoder expects for the padded network input.
        input_size: (H, W) of the padded network input.
        meta: Metainfo of the sample, `ori_shape` and `img_shape` (height, width).

    Returns:
        (P, 1, *size), background where the network input is padding; other sizes are left for the model to reject.
    """
    if masks.shape[-2:] == tuple(size) or tuple(masks.shape[-2:]) != tuple(meta['ori_shape'][:2]):
        return masks
    inner = [max(1, round(meta['img_shape'][axis] * size[axis] / input_size[axis])) for axis in (0, 1)]
    small = F.interpolate(masks, inner, mode='bilinear', align_corners=False, antialias=True)
    background = float(np.log((1 - CERTAIN) / CERTAIN))
    return F.pad(small, (0, size[1] - inner[1], 0, size[0] - inner[0]), value=background)


def notice_ambiguous_boxes(boxes: np.ndarray, width: int, height: int, name: str) -> bool:
    """Log how boxes are read that fit the image as x1 y1 x2 y2 and as x y w h alike; returns whether it did."""
    both = (boxes[:, 2:] >= boxes[:, :2]).all() and (boxes[:, :2] + boxes[:, 2:] <= [width, height]).all()
    if both:
        print_log(
            f'{name}: boxes such as {boxes[0].tolist()} are read as x1 y1 x2 y2; they would fit the image as x y w h, '
            "too. State box_format='xyxy' or box_format='xywh'",
            logger='current',
            level=logging.WARNING,
        )
    return bool(both)


def _short(values: np.ndarray) -> str:
    return f'[{", ".join(f"{value:g}" for value in values)}]'


def _check_boxes(boxes: np.ndarray, width: int, height: int, name: str) -> None:
    if min(width, height) > 2 and _looks_normalized(boxes):
        raise InferenceError(
            f'{name}: field `boxes` lies between 0 and 1 ({_short(boxes[0])}), expected pixels x1 y1 x2 y2. If these '
            "are shares of the image, set box_format='normalized'; box_format='xyxy' takes them as pixels"
        )
    flipped = (boxes[:, 2:] < boxes[:, :2]).any(1)
    corners = boxes[:, :2] + boxes[:, 2:]
    if flipped.any() and (boxes >= 0).all() and (corners <= [width + 1, height + 1]).all():
        row = int(np.flatnonzero(flipped)[0])
        raise InferenceError(
            f'{name}: field `boxes` row {row} is {boxes[row].tolist()}, expected x1 y1 x2 y2 with x1 <= x2 and '
            f'y1 <= y2. As x y w h all boxes would lie in the image of {width} x {height} pixels: set '
            "box_format='xywh' if they are"
        )


def _check_masks(masks: np.ndarray, name: str) -> None:
    for row, mask in enumerate(masks):
        low, high = float(mask.min()), float(mask.max())
        if low < 0 or low == high:
            continue
        likely = None
        if high == 255 and not (mask % 1).any():
            likely = "a mask of 0 and 255: set mask_format='binary'"
        elif high <= 1:
            binary = np.isin(mask, (0, 1)).all()
            likely = (
                "a mask of 0 and 1: set mask_format='binary'"
                if binary
                else ("probabilities: set mask_format='probability'")
            )
        if likely:
            raise InferenceError(
                f'{name}: field `masks` row {row} holds {low:g} to {high:g} and nothing below 0, expected logits '
                f"(foreground > 0, background < 0). It looks like {likely}; mask_format='logits' takes it as it is"
            )


def _looks_normalized(coordinates: np.ndarray) -> bool:
    return bool(coordinates.min() >= 0 and coordinates.max() <= 1 and coordinates.max() > 0)


def _first(boxes: np.ndarray, start: int) -> str:
    row = int(np.flatnonzero((boxes[:, start:] < 0).any(1))[0])
    return f'row {row} is {boxes[row].tolist()}'
