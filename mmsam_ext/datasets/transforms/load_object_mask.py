"""Masks of the interactive-segmentation benchmarks: with unknown pixels, with colours, with numbered instances."""

from __future__ import annotations

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmseg.registry import TRANSFORMS

from .loading import size_error

RULES = ('trimap', 'any_channel', 'sbd')
#: Value of pixels that are neither object nor background, in GrabCut's and Berkeley's masks and in `gt_seg_map`.
UNKNOWN, IGNORED = 128, 255


@TRANSFORMS.register_module()
class LoadObjectMask(BaseTransform):
    """Load the mask of an interactive-segmentation sample by the rule that its dataset names (`mask_rule`).

    - 'trimap': grey levels; 128 is ignored (255 in `gt_seg_map`), above it is the object (GrabCut, Berkeley).
    - 'any_channel': a pixel with any channel above 0 belongs to the object (DAVIS-345).
    - 'sbd': a MATLAB file whose ``GTinst.Segmentation`` numbers the instances; each is a target (SBD).

    Required keys: seg_map_path, mask_rule, ori_shape. For 'sbd' `min_fill`, the least share of its box that an instance
    must cover to be a target. A sample without `seg_map_path` passes through: MMSegmentation's inferencer has no ground
    truth.

    Added keys: gt_seg_map (H, W) uint8 with 0, 1 and 255, and for 'sbd' gt_masks (T, H, W) uint8 in the order of their
    numbers.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the mask cannot be read, has no object, or differs from the image in size; names the file.
    """

    def transform(self, results: dict) -> dict:
        """Add the mask to `results`."""
        if 'seg_map_path' not in results or 'gt_seg_map' in results:
            return results
        path, rule = results['seg_map_path'], results['mask_rule']
        if rule == 'sbd':
            masks = read_sbd_instances(path, results.get('min_fill', 0.0))
            results['gt_masks'] = masks
            mask = masks.any(0).astype(np.uint8)
        else:
            mask = read_object_mask(path, rule)
        if mask.shape != tuple(results['ori_shape'][:2]):
            raise ValueError(size_error(path, mask.shape, results['img_path'], results['ori_shape']))
        results['gt_seg_map'] = mask
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results


def read_object_mask(path: str, rule: str) -> np.ndarray:
    """Read the mask of one object.

    Args:
        path: Of an image file.
        rule: 'trimap' or 'any_channel', see :class:`LoadObjectMask`.

    Returns:
        (H, W) uint8: 0 background, 1 object, 255 ignored.

    Raises:
        ValueError: unknown rule, or the file cannot be decoded or holds no object; names it.
    """
    if rule not in RULES[:2]:
        raise ValueError(f'{path}: mask_rule is {rule!r}, expected one of {RULES}')
    levels = cv2.imdecode(np.frombuffer(fileio.get(path), np.uint8), cv2.IMREAD_COLOR)
    if levels is None:
        raise ValueError(f'{path}: unreadable or truncated mask, expected an image')
    levels = levels.max(2)  # (H, W, 3) -> (H, W)
    mask = (levels > (UNKNOWN if rule == 'trimap' else 0)).astype(np.uint8)
    if not mask.any():
        least = UNKNOWN + 1 if rule == 'trimap' else 1
        raise ValueError(
            f'{path}: mask without an object, its values are 0 to {levels.max()}, expected some >= {least}'
        )
    if rule == 'trimap':
        mask[levels == UNKNOWN] = IGNORED
    return mask


def read_sbd_instances(path: str, min_fill: float = 0.0) -> np.ndarray:
    """Read the instances of an SBD file.

    Args:
        path: Of a MATLAB file with ``GTinst.Segmentation``.
        min_fill: Instances that cover less than this share of their box are left out, as RITM does for training (0.08).

    Returns:
        (T, H, W) uint8 masks in the order of their numbers.

    Raises:
        ValueError: no such file of MATLAB, or no instance is left; names the file.
    """
    from scipy.io import loadmat  # slow to import, and needed for SBD alone

    try:
        labels = loadmat(path)['GTinst']['Segmentation'][0, 0].astype(np.int32)  # (H, W)
    except FileNotFoundError:
        raise
    except Exception as error:  # scipy's readers raise what they like
        raise ValueError(f'{path}: {error!r}; expected a MATLAB file with GTinst.Segmentation') from error
    if labels.ndim != 2:
        raise ValueError(f'{path}: GTinst.Segmentation has shape {labels.shape}, expected (H, W)')
    masks = [(labels == number).astype(np.uint8) for number in np.unique(labels) if number > 0]
    masks = [mask for mask in masks if min_fill == 0 or _fill(mask) >= min_fill]
    if not masks:
        raise ValueError(f'{path}: no instance that covers {min_fill:g} of its box or more, expected at least one')
    return np.stack(masks)


def _fill(mask: np.ndarray) -> float:
    """Share of its box that a mask (H, W) covers."""
    *_, width, height = cv2.boundingRect(mask)
    return np.count_nonzero(mask) / (width * height)
