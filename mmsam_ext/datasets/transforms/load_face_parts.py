"""`LoadFaceParts`: the masks of the parts of a face."""

from __future__ import annotations

import logging

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmengine.logging import print_log
from mmseg.registry import TRANSFORMS

from .loading import read_binary_mask


@TRANSFORMS.register_module()
class LoadFaceParts(BaseTransform):
    """Loads the masks of a face's parts at the size of its image, by repeating pixels; after ``LoadImageFromFile``.

    A sample without `part_paths` passes through (MMSegmentation's inferencer has no ground truth). No geometric
    transform may stand between this one and GeneratePrompts: MMSegmentation's do not know `gt_masks`.

    Required keys: img, part_paths (part -> file).

    Added keys: gt_masks (T, H, W) uint8 {0, 1}, of the parts that have foreground; gt_seg_map (H, W) uint8, their
    union, and its name in seg_fields. A face whose masks are all blank has none and is logged: GeneratePrompts takes
    another one in training and raises an error in evaluation.

    Raises:
        ValueError: A file is not a binary mask, or does not have the proportions of the image; names the file.
    """

    def transform(self, results: dict) -> dict:
        """Add the masks to `results`."""
        if 'part_paths' not in results:
            return results
        height, width = results['img'].shape[:2]
        masks = []
        for path in results['part_paths'].values():
            mask = read_binary_mask(fileio.get(path), path)
            if mask.shape[0] * width != mask.shape[1] * height:
                raise ValueError(
                    f'{path}: mask is {mask.shape[1]} x {mask.shape[0]} (width x height) pixels, expected the '
                    f'proportions of its image {results["img_path"]}, {width} x {height}'
                )
            if mask.any():
                masks.append(cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST))
        if not masks:
            print_log(
                f'{results["img_path"]}: none of the masks of its parts {", ".join(results["part_paths"])} has '
                'foreground (> 127)',
                'current',
                logging.WARNING,
            )
        results['gt_masks'] = np.stack(masks) if masks else np.zeros((0, height, width), np.uint8)
        results['gt_seg_map'] = results['gt_masks'].max(0, initial=0)
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}()'
