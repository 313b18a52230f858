"""`RandomTile`: training on tiles at full resolution."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

#: Per-pixel fields of a sample, with the axes (y, x) of each.
FIELDS = {'img': (0, 1), 'gt_seg_map': (0, 1), 'gt_masks': (1, 2), 'gt_part_map': (0, 1)}


@TRANSFORMS.register_module()
class RandomTile(BaseTransform):
    """Cut a random tile out of an image and its masks, for training on large images with small defects.

    The counterpart at inference is ``test_cfg=dict(mode='slide', ...)`` of the segmentor. Put it behind the loading
    transforms and before GeneratePrompts, in place of Resize. An image that is smaller than the tile in one direction
    is kept whole in that direction.

    Required keys: img; gt_seg_map and gt_masks (T, H, W) where loaded.

    Modified keys: those, img_shape. Target masks without a pixel in the tile are dropped from gt_masks.

    Args:
        size: (height, width) of the tile in pixels.
        defect_share: The probability, from 0 to 1, that the tile of an image with defects is placed so that it contains
            a random defect pixel; otherwise it is placed anywhere. Prompts need a defect, so prompted training skips
            tiles without one; for prompt-free methods a lower share shows the model more of the background.

    Raises:
        ValueError: An argument out of its range, or a mask whose size is not that of the image (named by file).
    """

    def __init__(self, size: Sequence[int], defect_share: float = 1.0) -> None:
        if len(size) != 2 or any(side < 1 for side in size):
            raise ValueError(f'RandomTile: size={size}, expected (height, width) in pixels')
        if not 0 <= defect_share <= 1:
            raise ValueError(f'RandomTile: defect_share={defect_share}, expected a probability from 0 to 1')
        self.size = (int(size[0]), int(size[1]))
        self.defect_share = defect_share

    def corner(self, foreground: np.ndarray) -> tuple[int, int]:
        """Draw (top, left) of the tile for an image whose defects are `foreground`, (H, W) bool."""
        places = []
        pixel = None
        if np.random.random() < self.defect_share and foreground.any():
            pixels = np.flatnonzero(foreground)
            pixel = np.unravel_index(pixels[np.random.randint(len(pixels))], foreground.shape)
        for axis, (side, whole) in enumerate(zip(self.size, foreground.shape, strict=True)):
            last = max(0, whole - side)
            low, high = (0, last) if pixel is None else (max(0, pixel[axis] - side + 1), min(last, pixel[axis]))
            places.append(int(np.random.randint(int(low), int(high) + 1)))
        top, left = places
        return top, left

    def transform(self, results: dict) -> dict:
        """Cut all per-pixel fields of `results` to the tile."""
        shape = results['img'].shape[:2]
        for name, axes in FIELDS.items():
            if name in results and tuple(results[name].shape[axis] for axis in axes) != shape:
                raise ValueError(
                    f'{results.get("img_path")}: field `{name}` has shape {results[name].shape}, expected the size of '
                    f'the image, {shape} (height, width); put RandomTile before transforms that resize only the image'
                )
        top, left = self.corner(_foreground(results, shape))
        for name, axes in FIELDS.items():
            if name in results:
                window = [slice(None)] * results[name].ndim
                window[axes[0]] = slice(top, top + self.size[0])
                window[axes[1]] = slice(left, left + self.size[1])
                results[name] = np.ascontiguousarray(results[name][tuple(window)])
        if 'gt_masks' in results:
            results['gt_masks'] = results['gt_masks'][results['gt_masks'].any((1, 2))]
        results['img_shape'] = results['img'].shape[:2]
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(size={self.size}, defect_share={self.defect_share})'


def _foreground(results: dict, shape: tuple[int, int]) -> np.ndarray:
    """Return (H, W) bool, the pixels of all defects; ignored pixels (255) are none."""
    if 'gt_masks' in results and len(results['gt_masks']):
        return results['gt_masks'].any(0)
    if 'gt_seg_map' in results:
        return (results['gt_seg_map'] > 0) & (results['gt_seg_map'] < 255)
    return np.zeros(shape, bool)
