"""The last transform: what the model takes."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.structures import PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from . import geometry_probe
from .prompt_rng import sample_key

META_KEYS = ('sample_id', 'dataset_name', 'defect_class')


@TRANSFORMS.register_module()
class PackPromptInputs(PackSegInputs):
    """MMSegmentation's PackSegInputs with prompts and target masks.

    Prompts are scaled from the frame they were drawn in to that of the image as it is now. `gt_masks` (T, H, W) are
    packed as they are: in training that is the image's frame, in evaluation that of the original image. A `part_map`
    (H, W) of a procedural dataset becomes `gt_part_map` (1, H, W).

    Args:
        meta_keys: Keys to keep as metainfo; `sample_id`, `dataset_name` and `defect_class` always are.

    Raises:
        ValueError: the image was moved (not only resized) after the prompts were drawn, or prompts lie outside of it.
            (The preprocessor checks that training targets have the image's size.)
    """

    def __init__(self, meta_keys: tuple[str, ...] | None = None) -> None:
        keys = {} if meta_keys is None else dict(meta_keys=tuple(meta_keys))
        super().__init__(**keys)
        self.meta_keys = tuple(dict.fromkeys((*self.meta_keys, *META_KEYS)))

    def transform(self, results: dict) -> dict:
        """Return 'inputs' (3, H, W) uint8 and 'data_samples'."""
        packed = super().transform(results)
        sample = packed['data_samples']
        if 'prompts' in results:
            name = sample_key(results)
            scale = geometry_probe.check(results, name) if geometry_probe.planted(results) else (1.0, 1.0)
            height, width = results['img'].shape[:2]
            sample.prompts = results['prompts'].scaled(*scale).check_inside(width, height, name)
        if 'gt_masks' in results:
            sample.gt_masks = PixelData(data=torch.from_numpy(np.ascontiguousarray(results['gt_masks'])))
        if 'part_map' in results:
            sample.gt_part_map = PixelData(data=torch.from_numpy(np.ascontiguousarray(results['part_map'][None])))
        return packed
