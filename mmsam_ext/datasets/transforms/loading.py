"""Reading binary masks, and checks of image files that fail before training starts instead of in its middle."""

from __future__ import annotations

import os
from io import BytesIO

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmengine import fileio
from mmseg.registry import TRANSFORMS
from PIL import Image

#: Grey levels from here to 255 minus it are neither background nor foreground but the grey of smoothed edges.
_NEAR = 16
#: Largest share of the non-zero pixels that may be mid-grey (64..191).
_MOST_GREY = 0.5
#: Below this share of the image, grey pixels are a residue whatever their values.
_RESIDUE = 0.001
#: EXIF orientations that swap width and height.
_TURNED = (5, 6, 7, 8)
_EXPECTED = 'expected 0 and 1, or 0 and 255 with grey levels at edges only'


def check_image_file(path: str) -> tuple[int, int]:
    """Check that a local file is a complete image with whole-number pixels, without decoding it.

    The end of a JPEG or PNG file is looked at, because cv2 fills what a truncated file lacks with grey in silence.

    Returns:
        Height and width in pixels as cv2 and mmcv load it, that is after its EXIF orientation is applied.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: names the file, what came and what was expected.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'{path}: no such image file')
    try:
        with Image.open(path) as image:
            (width, height), kind, mode = image.size, image.format, image.mode
            turned = image.getexif().get(274) in _TURNED
            if kind not in ('JPEG', 'MPO', 'PNG'):
                image.load()  # these formats name no end that could be looked for
    except Exception as error:
        raise ValueError(
            f'{path}: unreadable or truncated image of {os.path.getsize(path)} bytes ({error}), expected a complete '
            'image in a common format (png, jpg, bmp, tif, webp)'
        ) from error
    if mode == 'F':
        raise ValueError(f'{path}: image with floating-point pixels, expected 8 or 16 bits a channel')
    if kind in ('JPEG', 'MPO', 'PNG') and not _is_complete(path, kind):
        raise ValueError(
            f'{path}: truncated {kind} image, {os.path.getsize(path)} bytes without an end marker, '
            'expected a complete file'
        )
    return (width, height) if turned else (height, width)


def _is_complete(path: str, kind: str) -> bool:
    """Whether a PNG or JPEG file has its end marker, near its end if it is long."""
    with open(path, 'rb') as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - 65536))
        tail = file.read()
    if kind == 'PNG':
        return b'IEND\xaeB`\x82' in tail
    # An end marker before the last start of scan belongs to an embedded preview.
    return tail.rfind(b'\xff\xd9') > tail.rfind(b'\xff\xda')


def read_binary_mask(content: bytes, name: str, labels: bool = False) -> np.ndarray:
    """Decode a mask file to background and foreground.

    0/1 and 0/255 masks are understood, of 1, 8 or 16 bits, grey, with palette (its indices count) or colour with equal
    channels; alpha is dropped. Where the largest value is above 1, foreground is > 127 (of 255), so the grey of
    smoothed or compressed edges is decided.

    Args:
        content: Bytes of the file.
        name: Name used in errors.
        labels: Values are numbers of classes, all but 0 are foreground.

    Returns:
        (H, W) uint8, 0 background and 1 foreground.

    Raises:
        ValueError: names the mask, what came and what was expected.
    """
    try:
        with Image.open(BytesIO(content)) as image:
            if image.mode in ('LA', 'PA', 'RGBA', 'RGBX', 'CMYK', 'YCbCr', 'RGB'):
                array = np.asarray(image.convert('RGB'))
            else:
                array = np.asarray(image)
    except Exception as error:
        raise ValueError(
            f'{name}: unreadable or truncated mask of {len(content)} bytes ({error}), expected an image'
        ) from error
    if array.ndim == 3:
        if np.ptp(array, axis=2).max(initial=0) > _NEAR:  # compression alone makes a little colour
            raise ValueError(f'{name}: mask with colours, {_EXPECTED}')
        array = array[..., 1]
    if array.dtype == bool:
        return array.astype(np.uint8)
    top = array.max(initial=0)
    if not np.issubdtype(array.dtype, np.integer) or array.min(initial=0) < 0 or top > 65535:
        raise ValueError(f'{name}: mask of {array.dtype} with values {array.min()} to {top}, {_EXPECTED}')
    if top <= 1 or labels:
        return (array > 0).astype(np.uint8)
    if top > 255:  # 16 bits
        array = np.rint(array / 257)
    array = array.astype(np.uint8)
    _check_values(array, name)
    return (array > 127).astype(np.uint8)


def _check_values(mask: np.ndarray, name: str) -> None:
    """Refuse (H, W) uint8 labels that would be taken for a grey-edged 0/255 mask.

    The grey of smoothed edges is thin; labels are areas of one level each. Compression leaves many different levels
    near black; labels are few.
    """
    counts = np.bincount(mask.ravel(), minlength=256)
    nonzero = mask.size - counts[0]
    residue = _RESIDUE * mask.size
    low = counts[1 : _NEAR + 1].sum()
    few = np.count_nonzero(counts[1:255]) <= 8
    labels = low > residue and (counts[128:].sum() == 0 or (few and low >= 0.5 * nonzero))
    grey = counts[64:192].sum()
    labels |= grey > residue and grey > _MOST_GREY * nonzero
    # Areas: the 3 x 3 pixels around are equal, and neither nearly black nor nearly white.
    around = np.ones((3, 3), np.uint8)
    area = (cv2.erode(mask, around) == cv2.dilate(mask, around)) & (mask > _NEAR) & (mask < 255 - _NEAR)
    if labels or np.count_nonzero(area) > residue:
        values = np.flatnonzero(counts)
        shown = ', '.join(map(str, values[:8])) + (f', ... {values[-1]}' if len(values) > 8 else '')
        share = counts[1:255].sum() / mask.size
        raise ValueError(
            f'{name}: mask with unexpected values {shown} ({len(values)} different ones, {share:.1%} of the pixels '
            f'neither 0 nor 255), {_EXPECTED}'
        )


@TRANSFORMS.register_module()
class LoadBinaryMask(BaseTransform):
    """Loads the mask of a sample as `gt_seg_map`, 0 background and 1 defect; takes the place of ``LoadAnnotations``.

    Required keys: `seg_map_path`; `img` or `ori_shape` where loaded, to compare sizes. Where `seg_map_path` is None the
    sample is without defect and its mask all zeros. Where `mask_labels` is there and True, all values but 0 are defects
    (:func:`read_binary_mask`). A sample without the key, or with `gt_seg_map`, passes through:
    MMSegmentation's inferencer has no ground truth.

    Added keys: gt_seg_map (H, W) uint8, and its name in seg_fields.

    Args:
        backend_args: As in ``LoadAnnotations``.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the mask cannot be read, is not binary, or differs from the image in size.
    """

    def __init__(self, backend_args: dict | None = None) -> None:
        self.backend_args = backend_args

    def transform(self, results: dict) -> dict:
        """Add the mask to `results`."""
        if 'seg_map_path' not in results or 'gt_seg_map' in results:
            return results
        path, shape = results['seg_map_path'], results.get('ori_shape')
        if path is None:
            mask = np.zeros(shape, np.uint8)
        else:
            content = fileio.get(path, backend_args=self.backend_args)
            mask = read_binary_mask(content, path, results.get('mask_labels', False))
        if shape is not None and mask.shape != tuple(shape[:2]):
            raise ValueError(size_error(path, mask.shape, results['img_path'], shape))
        results['gt_seg_map'] = mask
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results

    def __repr__(self) -> str:
        return f'{type(self).__name__}(backend_args={self.backend_args})'


def size_error(mask: str, mask_shape: tuple[int, ...], image: str, shape: tuple[int, ...]) -> str:
    """Wording of the error for a mask whose (height, width) is not that of its image."""
    return (
        f'{mask}: mask is {mask_shape[1]} x {mask_shape[0]} (width x height) pixels, '
        f'expected {shape[1]} x {shape[0]} as its image {image}'
    )
