"""`LoadBinaryMask`: the mask of a sample."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmseg.registry import TRANSFORMS

from .class_masks import read_sample_mask
from .image_files import check_image_file
from .mask_values import Values, check_values, read_binary_mask


@TRANSFORMS.register_module()
class LoadBinaryMask(BaseTransform):
    """Loads the mask of a sample as `gt_seg_map`, 0 background and 1 defect; takes the place of ``LoadAnnotations``.

    Required keys: `seg_map_path`; `img` or `ori_shape` where loaded, to compare sizes. Where `seg_map_path` is None the
    sample is without defect and its mask all zeros. A sample without the key, or with `gt_seg_map`, passes through:
    MMSegmentation's inferencer has no ground truth.

    Optional keys: `mask_labels`, `mask_foreground` and `mask_ignore`, by which a dataset says how its masks are to be
    read, and `mask_class` or `mask_values`, which give several classes; see :func:`read_sample_mask`.

    Added keys: gt_seg_map (H, W) uint8, and its name in seg_fields. Ignored pixels are 255 there, which neither losses
    nor metrics count.

    Args:
        backend_args: As in ``LoadAnnotations``.
        foreground: Value or values of the mask that are the defect; None: as the dataset says, or 1 or 255.
        ignore: Value or values of pixels that do not count; None: as the dataset says, or none.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The mask cannot be read, is not binary, or differs from the image in size.
    """

    def __init__(self, backend_args: dict | None = None, foreground: Values = None, ignore: Values = None) -> None:
        check_values(foreground, ignore)
        self.backend_args, self.foreground, self.ignore = backend_args, foreground, ignore

    def transform(self, results: dict) -> dict:
        """Add the mask to `results`."""
        if 'seg_map_path' not in results or 'gt_seg_map' in results:
            return results
        path, shape = results['seg_map_path'], results.get('ori_shape')
        if path is None:
            mask = np.zeros(results['ori_shape'], np.uint8)
        else:
            mask = self._read(fileio.get(path, backend_args=self.backend_args), results)
        if path is not None and shape is not None and mask.shape != tuple(shape[:2]):
            raise ValueError(size_error(path, mask.shape, results['img_path'], shape))
        results['gt_seg_map'] = mask
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def _read(self, content: bytes, results: dict) -> np.ndarray:
        return read_sample_mask(content, results, self.foreground, self.ignore)

    def __repr__(self) -> str:
        return (
            f'{type(self).__name__}(backend_args={self.backend_args}, foreground={self.foreground}, '
            f'ignore={self.ignore})'
        )


def size_error(mask: str, mask_shape: tuple[int, ...], image: str, shape: tuple[int, ...]) -> str:
    """Wording of the error for a mask whose (height, width) is not that of its image."""
    return (
        f'{mask}: mask is {mask_shape[1]} x {mask_shape[0]} (width x height) pixels, '
        f'expected {shape[1]} x {shape[0]} as its image {image}'
    )


__all__ = ['LoadBinaryMask', 'check_image_file', 'read_binary_mask', 'size_error']
