"""Masks of nuclei from outlines in XML files, and tiles of images."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from .loading import LoadBinaryMask, check_image_file, read_binary_mask


def read_nuclei(path: str, shape: tuple[int, int]) -> np.ndarray:
    """Read a mask of nuclei, from outlines in an XML file (Aperio ImageScope) or from an image.

    Args:
        path: Of the file.
        shape: (H, W) of the image.

    Returns:
        (H, W) uint8, 1 within any outline.

    Raises:
        ValueError: no XML, or an XML without outlines.
    """
    if not path.lower().endswith('.xml'):
        return read_binary_mask(Path(path).read_bytes(), path, True)
    try:
        regions = ElementTree.parse(path).getroot().iter('Region')
        outlines = [
            np.array([(float(vertex.attrib['X']), float(vertex.attrib['Y'])) for vertex in region.iter('Vertex')])
            for region in regions
        ]
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise ValueError(f'{path}: {error}; expected an XML of Region, Vertex X= Y=') from error
    outlines = [outline for outline in outlines if len(outline) > 2]
    if not outlines:
        raise ValueError(f'{path}: no outline, expected an XML of Region, Vertex X= Y=')
    mask = np.zeros(shape, np.uint8)
    for outline in outlines:  # one by one: together, what overlaps would count as outside
        cv2.fillPoly(mask, [np.rint(outline).astype(np.int32)], 1)
    return mask


def crop(array: np.ndarray, tile: tuple[int, int, int, int] | None) -> np.ndarray:
    """(H, W, ...) -> its part within (x, y, width, height), all of it where None."""
    if tile is None:
        return array
    x, y, width, height = tile
    return array[y : y + height, x : x + width]


@TRANSFORMS.register_module()
class CropTile(BaseTransform):
    """Cut a sample's `tile` (x, y, width, height) out of its image.

    From then on the tile counts as the original image. Samples without a tile pass through.
    """

    def transform(self, results: dict) -> dict:
        """Change `img`, `img_shape` and `ori_shape`."""
        if results.get('tile') is not None:
            results['img'] = np.ascontiguousarray(crop(results['img'], results['tile']))
            results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadNucleiMask(LoadBinaryMask):
    """:class:`LoadBinaryMask` that understands MoNuSeg's XML files and tiles."""

    def transform(self, results: dict) -> dict:
        """Add `gt_seg_map`, (H, W) uint8."""
        if results.get('seg_map_path') is None or 'gt_seg_map' in results:
            return super().transform(results)
        shape, tile = results['ori_shape'][:2], results.get('tile')
        whole = check_image_file(results['img_path']) if tile is not None else shape
        mask = crop(read_nuclei(results['seg_map_path'], whole), tile)
        if mask.shape != tuple(shape):
            raise ValueError(
                f'{results["seg_map_path"]}: mask of {mask.shape}, expected {tuple(shape)} (height, width) as its '
                f'image {results["img_path"]}; CropTile must come before'
            )
        results['gt_seg_map'] = np.ascontiguousarray(mask)
        results.setdefault('seg_fields', []).append('gt_seg_map')
        return results
