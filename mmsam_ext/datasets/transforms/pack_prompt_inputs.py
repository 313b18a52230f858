"""Pack a sample for the model: the last transform."""

from __future__ import annotations

import numpy as np
import torch
from mmengine.structures import InstanceData, PixelData
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import TRANSFORMS

from mmsam_ext.structures.prompts import rescale
from mmsam_ext.structures.samples import sample_key

from . import geometry_probe

META_KEYS = ('sample_id', 'dataset_name', 'defect_class', 'img_id', 'ann_file', 'bit_depth', 'sample_idx')


@TRANSFORMS.register_module()
class PackPromptInputs(PackSegInputs):
    """Pack a sample as MMSegmentation's PackSegInputs does, with prompts and target masks.

    Prompts are scaled from the frame in which they were drawn to the frame of the image as it is now (:func:`rescale`).
    `gt_masks` (T, H, W) are packed as they are: in training they are in the image's frame, in evaluation in that of the
    original image. A `part_map` (H, W) of a procedural dataset becomes `gt_part_map` (1, H, W), the information that
    came with prompts from outside becomes `prompt_info`, and an `original_image` (3, H, W) is packed as it is.

    Args:
        meta_keys: Keys to keep as metainfo; `sample_id`, `dataset_name`, `defect_class`, `img_id` and `ann_file` are
            always kept.

    Raises:
        ValueError: The image was moved, not only resized, after the prompts were drawn, or prompts lie outside the
            image. (The preprocessor checks that training targets have the image's size.)
    """

    #: See :mod:`mmsam_ext.compat.pack_seg_inputs`.
    packs_prompts = True

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
            if geometry_probe.planted(results):
                geometry_probe.check(results, name)
            new = results['img'].shape[:2]
            sample.prompts = rescale(results['prompts'], results.get('prompt_frame', new), new, name)
        if 'gt_masks' in results:
            sample.gt_masks = PixelData(data=torch.from_numpy(np.ascontiguousarray(results['gt_masks'])))
        if 'prompt_info' in results:
            info = {key: torch.from_numpy(value) for key, value in results['prompt_info'].items()}
            sample.prompt_info = InstanceData(metainfo=None, **info)
        if 'original_image' in results:
            sample.original_image = PixelData(data=torch.from_numpy(results['original_image']))
        if 'part_map' in results:
            sample.gt_part_map = PixelData(data=torch.from_numpy(np.ascontiguousarray(results['part_map'][None])))
        return packed
