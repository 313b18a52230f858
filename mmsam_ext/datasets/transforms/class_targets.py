"""The target masks of an image: the whole of each class, and its parts."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np


class ClassTargets(NamedTuple):
    """What prompts of an image may ask for.

    Attributes:
        wholes: (K, H, W) uint8, all pixels of each class; empty for a class that is not in the image.
        parts: (T, H, W) uint8, the parts of all classes, class after class.
        part_classes: The class of each part, from 0 to K - 1.
    """

    wholes: np.ndarray
    parts: np.ndarray
    part_classes: list[int]


def class_targets(
    labels: np.ndarray, num_classes: int, instances: np.ndarray | None, min_area: int, with_parts: bool, name: str
) -> ClassTargets:
    """Split labels into classes, and these into parts.

    Parts are connected regions (8 neighbours) of a class, or the instances of a dataset that has them. A class without
    a part of `min_area` pixels is one part.

    Args:
        labels: (H, W), 0 background, 1 to K the classes, 255 ignored.
        num_classes: K.
        instances: (T, H, W) uint8 of a dataset with instances; each belongs to the class with most of its pixels.
        min_area: Parts with fewer pixels are left out.
        with_parts: Whether parts are needed.
        name: Name of the sample in error messages.

    Raises:
        ValueError: The instances do not lie within the classes.
    """
    height, width = labels.shape
    wholes = np.stack([(labels == label).astype(np.uint8) for label in range(1, num_classes + 1)])
    parts: list[np.ndarray] = []
    classes: list[int] = []
    if with_parts and instances is not None:
        owners = _owners(instances, labels, wholes, name)
    for index, whole in enumerate(wholes):
        if not with_parts or not whole.any():
            continue
        own = _regions(whole, min_area) if instances is None else instances[owners == index]
        own = own if instances is None else own[own.sum((1, 2)) >= min_area]
        own = own if len(own) else whole[None]
        parts.append(own)
        classes += [index] * len(own)
    return ClassTargets(wholes, np.concatenate(parts) if parts else np.zeros((0, height, width), np.uint8), classes)


def _regions(mask: np.ndarray, min_area: int) -> np.ndarray:
    """Return the connected regions (T, H, W) uint8 of a mask (H, W) that are large enough."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    large = 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] >= min_area)  # 0 is the background
    return (labels[None] == large[:, None, None]).astype(np.uint8)


def _owners(instances: np.ndarray, labels: np.ndarray, wholes: np.ndarray, name: str) -> np.ndarray:
    """Return the class of each instance, (T,) from 0 to K - 1."""
    foreground = wholes.any(0)
    if instances.shape[1:] != labels.shape or (instances > foreground).any():
        raise ValueError(
            f'{name}: field `gt_masks` of shape {instances.shape} does not lie within the foreground of gt_seg_map '
            f"{labels.shape}: a transform before GeneratePrompts has moved only one of them (MMSegmentation's own "
            'transforms move gt_seg_map only)'
        )
    counts = [
        np.bincount(labels[instance > 0], minlength=len(wholes) + 1)[1 : len(wholes) + 1] for instance in instances
    ]
    return np.array([int(count.argmax()) for count in counts], dtype=int)
