"""Masks at the size of their image, made a few at a time so that memory is that of the result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor

from mmsam_ext.models.segmentors.original_size import to_original
from mmsam_ext.models.segmentors.tiled_masks import TiledMasks

from .rle import decode_rle, encode_rle


class LowResMasks(NamedTuple):
    """Mask logits of P prompts of one image, as the decoder predicts them.

    Attributes:
        logits: (P, h, w), or the masks of a model that works on tiles.
        input_size: (H, W) of the padded network input.
        meta: Metainfo of the image's sample, see :func:`to_original`.
        one_step: `one_step_resize` of the model's `test_cfg`.
    """

    logits: Tensor | TiledMasks
    input_size: tuple[int, int]
    meta: Mapping[str, Any]
    one_step: bool = False

    @property
    def shape(self) -> tuple[int, int, int]:
        """(P, H0, W0), the shape of all masks at the size of the image."""
        size = self.meta['ori_shape'][:2]
        return len(self.logits), int(size[0]), int(size[1])

    def chunks(self, limit: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield the rows of each chunk and their logits at the size of the image, (n, H0, W0) float32.

        Args:
            limit: Bytes that a chunk may take while it is made; at least one mask is made at a time.
        """
        number, height, width = self.shape
        padded = self.input_size[0] * self.input_size[1]
        step = max(1, limit // (4 * (height * width + padded) + height * width))
        for start in range(0, number, step):
            part = slice(start, min(number, start + step))
            yield part, to_original(self.logits[part], self.input_size, self.meta, self.one_step)

    def full_logits(self, limit: int) -> np.ndarray:
        """Return all logits at the size of the image, (P, H0, W0) float32."""
        result = np.empty(self.shape, np.float32)
        for part, logits in self.chunks(limit):
            result[part] = logits.float().cpu().numpy()
        return result


class MaskRules(NamedTuple):
    """Which pixels of a map of logits are its mask.

    Attributes:
        threshold: Logit that a pixel must exceed; 0 is a probability of one half.
        min_area: Connected regions (8 neighbours) of fewer pixels are left out.
    """

    threshold: float = 0.0
    min_area: int = 0

    def masks(self, logits: Tensor) -> np.ndarray:
        """Return the masks of logits (n, H, W), bool."""
        masks = (logits > self.threshold).cpu().numpy()
        if self.min_area > 1:
            for mask in masks:
                _, regions, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
                large = stats[:, cv2.CC_STAT_AREA] >= self.min_area
                mask &= large[regions]
        return masks


#: SAM's own rules.
PLAIN = MaskRules()


class FullSizeMasks(NamedTuple):
    """Masks of P prompts at the size of their image.

    Attributes:
        masks: (P, H0, W0) bool, or None where they were encoded.
        rles: Run lengths of each mask (:func:`encode_rle`), or None.
        union: (H0, W0) bool, the foreground of any prompt.
    """

    masks: np.ndarray | None
    rles: list[dict[str, Any]] | None
    union: np.ndarray


@torch.no_grad()
def full_size_masks(low_res: LowResMasks, limit: int, rle: bool = False, rules: MaskRules = PLAIN) -> FullSizeMasks:
    """Resize and threshold the masks of an image, chunk by chunk into the result.

    Args:
        low_res: The masks as predicted.
        limit: Bytes that a chunk may take; see :meth:`LowResMasks.chunks`.
        rle: Whether to encode the masks, so that no more than a chunk of them is held at a time.
        rules: The threshold and the least area of regions.
    """
    union = np.zeros(low_res.shape[1:], bool)
    masks = None if rle else np.empty(low_res.shape, bool)
    rles: list[dict[str, Any]] | None = [] if rle else None
    for part, logits in low_res.chunks(limit):
        chunk = rules.masks(logits)
        for mask in chunk:
            np.logical_or(union, mask, out=union)
        if masks is not None:
            masks[part] = chunk
        if rles is not None:
            rles += [encode_rle(mask) for mask in chunk]
    return FullSizeMasks(masks, rles, union)


def masks_of(prediction: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """Yield the masks of a prediction, (H, W) bool each, whichever form they have."""
    if 'masks' in prediction:
        yield from prediction['masks']
    else:
        for rle in prediction['rles']:
            yield decode_rle(rle)
