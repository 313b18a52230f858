"""`LoadImageFromFile`: MMSegmentation's transform of this name, for cameras of more than 8 bits."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

import mmcv.transforms
import numpy as np
from mmengine import fileio
from mmengine.logging import print_log
from mmseg.registry import TRANSFORMS
from torch.utils.data import Dataset

from .bit_depth import CHOICES, check_bit_depth, depth_that_holds, to_8_bit
from .image_files import decode_image


@TRANSFORMS.register_module()
class LoadImageFromFile(mmcv.transforms.LoadImageFromFile):
    """Loads an image as 8-bit BGR, as mmcv's transform of the same name does, with two differences.

    - Files of 16 bits are scaled by the number of bits that are in use; mmcv takes the upper eight bits, and so the
      4096 levels of a 12-bit camera become 16.
    - A damaged file is an error; mmcv loads the missing part as grey.

    Both hold for the default ``color_type='color'`` and ``imdecode_backend='cv2'``; with others this is mmcv's.

    With ``bit_depth='auto'`` a dataset of this package decides once for all its files, by the largest value in any of
    them, and writes it to the log. The decision of the training set is stored in checkpoints, and validation, test
    (``BitDepthHook``) and inference take it from there. Without such a checkpoint, a single image is decided by its own
    largest value, which is logged, too. A dark image may then be taken for one of fewer bits: state the `bit_depth` of
    the camera in the pipelines to rule this out.

    Required keys: img_path; optionally bit_depth, the decision of the dataset.

    Added keys: img (H, W, 3) uint8 BGR, img_shape, ori_shape; bit_depth of an image with 16 bits a channel.

    Args:
        bit_depth: Number of bits in use of images with 16 bits a channel: 8, 10, 12, 14 or 16; 'auto' for the smallest
            of these that holds the largest value; 'stretch' to map the smallest value of each image to 0 and its
            largest to 255. Images of 8 bits stay as they are.
        args, kwargs: See mmcv's ``LoadImageFromFile``.

    Raises:
        ValueError: The file is damaged, or holds values that do not fit `bit_depth`; names the file.

    Example::

        dict(type='LoadImageFromFile', bit_depth=12)
    """

    def __init__(self, *args, bit_depth: str | int = 'auto', **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.bit_depth = check_bit_depth(bit_depth)
        self.as_in_mmcv = self.color_type != 'color' or self.imdecode_backend != 'cv2' or bool(self.file_client_args)
        if self.as_in_mmcv and bit_depth != 'auto':
            raise ValueError(
                f"LoadImageFromFile: bit_depth={bit_depth!r} needs color_type='color' and imdecode_backend='cv2', got "
                f'{self.color_type!r} and {self.imdecode_backend!r}'
            )
        self._logged: dict[int, str] = {}

    def transform(self, results: dict) -> dict | None:
        """Add the image to `results`; None where it cannot be read and `ignore_empty` is set."""
        if self.as_in_mmcv:
            return super().transform(results)
        path = results['img_path']
        try:
            image = decode_image(fileio.get(path, backend_args=self.backend_args), str(path))
            if image.dtype != np.uint8:
                results['bit_depth'] = self._depth(image, results)
                image = to_8_bit(image, results['bit_depth'], str(path))
        except Exception:
            if self.ignore_empty:
                return None
            raise
        results['img'] = image.astype(np.float32) if self.to_float32 else image
        results['img_shape'] = results['ori_shape'] = image.shape[:2]
        return results

    def _depth(self, image: np.ndarray, results: dict) -> str | int:
        """The number of bits by which an image is scaled. One that was found by its own values is logged once."""
        if self.bit_depth != 'auto':
            return self.bit_depth
        if results.get('bit_depth') is not None:
            return results['bit_depth']
        largest = int(image.max(initial=0))
        depth, path = depth_that_holds(largest), str(results['img_path'])
        if largest > 0 and depth not in self._logged:
            others = ', '.join(f'{other} bits for {file}' for other, file in self._logged.items())
            self._logged[depth] = path
            if depth < 16 or others:
                print_log(
                    f'{path}: 16-bit file with values up to {largest}, read as {depth}-bit data (bit_depth="auto")'
                    + (f', but {others}' if others else '')
                    + '. If it is a dark image of a camera with more bits, state its bit_depth in LoadImageFromFile',
                    logger='current',
                    level=logging.WARNING,
                )
        return depth

    def __repr__(self) -> str:
        return f'{super().__repr__()[:-1]}, bit_depth={self.bit_depth!r})'


def trained_bit_depth(checkpoint: Mapping[str, Any]) -> str | int | None:
    """Return the `bit_depth` by which the images of a training set were read; None if the checkpoint has none."""
    meta = checkpoint.get('meta')
    depth = meta.get('bit_depth') if isinstance(meta, Mapping) else None
    return depth if isinstance(depth, (int, str)) and depth in CHOICES and depth != 'auto' else None


def bit_depth_of_dataset(dataset: Dataset) -> str | int | None:
    """Return the `bit_depth` by which a dataset reads its files of 16 bits.

    Returns:
        What its pipelines state, or what the dataset found; None if it has no such files, or has them of several
        depths.
    """
    depths = {
        getattr(part, 'bit_depth', None) if loader.bit_depth == 'auto' else loader.bit_depth
        for part, loader in _loaders(dataset)
    } - {None}
    return depths.pop() if len(depths) == 1 else None


def use_bit_depth(dataset: Dataset, depth: str | int | None) -> None:
    """Set the `bit_depth` of a training in the pipelines of another dataset, except where a pipeline states its own.

    Args:
        dataset: Any dataset, also one of several datasets.
        depth: What :func:`trained_bit_depth` returned.
    """
    for _, loader in _loaders(dataset):
        if depth is not None and loader.bit_depth == 'auto' and not loader.as_in_mmcv:
            loader.bit_depth = depth
            print_log(f'Images in files of 16 bits are read with bit_depth={depth!r}, as in training.', 'current')


def _loaders(dataset: Any) -> Iterator[tuple[Any, LoadImageFromFile]]:
    """Yield each dataset with each of its loaders, those of wrapped and concatenated datasets, too."""
    for transform in getattr(getattr(dataset, 'pipeline', None), 'transforms', ()):
        if isinstance(transform, LoadImageFromFile):
            yield dataset, transform
    inner = [dataset.dataset] if hasattr(dataset, 'dataset') else getattr(dataset, 'datasets', ())
    for one in inner:
        yield from _loaders(one)
