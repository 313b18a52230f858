"""Synthetic occlusion, for training against ambiguous prompts (Stable-SAM, section 4.3)."""

from __future__ import annotations

from collections.abc import Sized

import cv2
import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmsam_ext.structures.samples import sample_key

#: Places tried for an object.
TRIES = 50


@TRANSFORMS.register_module()
class SynthesizeOcclusion(BaseTransform):
    """Pastes the object of another sample so that it partly covers the target, or partly lies under it.

    Even a tight box then encloses something else, and the model learns which is meant. The object is cut out along its
    mask, resized relative to the target, mirrored half of the time, and put where its overlap with the target lies in
    `overlap`; the image stays as it is where none of 50 places does. (The paper leaves these details to a supplement
    that is not public.)

    It is for targets that are one object among others. Where the target is all that is defective in an image, it costs
    accuracy and stability (configs/results/stable_sam.md).

    It stands in the pipeline of :class:`PromptMixDataset` (or MMSegmentation's ``MultiImageMixDataset``), before the
    geometry and GeneratePrompts; the dataset inside has loaded images and masks. Random numbers come from NumPy's
    global state, which mmengine seeds in each worker.

    Required keys: img, gt_seg_map (label 1 is the foreground), mix_results (one sample or none), optionally gt_masks.

    Modified keys: img; where the object covers the target and `target` is 'visible', gt_seg_map and gt_masks.

    Args:
        prob: Of a sample to be occluded.
        over_prob: Of the object to cover the target rather than to lie under it.
        overlap: (least, most) share of the target's pixels that the object covers, or lies under.
        scale: (least, most) size of the object relative to the target: the ratio of the roots of their areas.
        target: 'visible': what is covered is no longer target; 'whole': it still is (as amodal masks have it).

    Raises:
        ValueError: an argument out of its range, or a source without an object.
    """

    def __init__(
        self,
        prob: float = 0.5,
        over_prob: float = 0.5,
        overlap: tuple[float, float] = (0.1, 0.5),
        scale: tuple[float, float] = (0.5, 1.5),
        target: str = 'visible',
    ) -> None:
        for name, value in dict(prob=prob, over_prob=over_prob).items():
            if not 0 <= value <= 1:
                raise ValueError(f'SynthesizeOcclusion: {name}={value}, expected 0 to 1')
        if not 0 < overlap[0] <= overlap[1] < 1:
            raise ValueError(f'SynthesizeOcclusion: overlap={overlap}, expected 0 < least <= most < 1')
        if not 0 < scale[0] <= scale[1]:
            raise ValueError(f'SynthesizeOcclusion: scale={scale}, expected 0 < least <= most')
        if target not in ('visible', 'whole'):
            raise ValueError(f"SynthesizeOcclusion: target={target!r}, expected 'visible' or 'whole'")
        self.prob, self.over_prob, self.overlap, self.scale = prob, over_prob, overlap, scale
        self.target = target

    def get_indices(self, dataset: Sized) -> list[int]:
        """Return the index of the sample to take the object from, or None; the dataset calls this."""
        return [np.random.randint(len(dataset))] if np.random.rand() < self.prob else []

    def transform(self, results: dict) -> dict:
        """Occlude the target, or let it occlude."""
        for source in results.get('mix_results', ()):
            target = results['gt_seg_map'] == 1
            if sample_key(source) != sample_key(results) and target.any():
                self._occlude(results, target, *self._cut_out(source, target))
        return results

    def _cut_out(self, source: dict, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The source's object, resized: image (h, w, 3) uint8 and mask (h, w) bool."""
        mask = (source['gt_seg_map'] == 1).astype(np.uint8)
        x, y, width, height = cv2.boundingRect(mask)
        if not width:
            raise ValueError(
                f'{sample_key(source)}: occlusion source without an object (no pixel of its gt_seg_map is 1); '
                'set drop_empty=True in the dataset'
            )
        image, mask = source['img'][y : y + height, x : x + width], mask[y : y + height, x : x + width]
        factor = np.random.uniform(*self.scale) * np.sqrt(target.sum() / mask.sum())
        factor = min(factor, target.shape[0] / height, target.shape[1] / width)
        size = max(1, round(width * factor)), max(1, round(height * factor))  # cv2: width first
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) > 0
        mask[0, 0] |= not mask.any()  # a thin object that was shrunk away
        if np.random.rand() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        return image, mask

    def _occlude(self, results: dict, target: np.ndarray, image: np.ndarray, mask: np.ndarray) -> None:
        """Paste an object of image (h, w, 3) and mask (h, w) where it overlaps a target (H, W) as much as it should."""
        where = self._place(target, mask)
        if where is None:
            return
        over = np.random.rand() < self.over_prob
        pasted = mask if over else mask & ~target[where]
        results['img'] = results['img'].copy()
        results['img'][where][pasted] = image[pasted]
        if over and self.target == 'visible':
            for key in {'gt_seg_map', 'gt_masks'} & set(results):
                results[key] = results[key].copy()
                results[key][(..., *where)][..., pasted & target[where]] = 0

    def _place(self, target: np.ndarray, mask: np.ndarray) -> tuple[slice, slice] | None:
        """Where in the image (H, W) the object (h, w) overlaps the target as much as it should; None: not found."""
        height, width = mask.shape
        limit = np.array(target.shape) - mask.shape
        target_pixels, object_pixels = np.argwhere(target), np.argwhere(mask)
        for _ in range(TRIES):
            # Some pixel of the object comes to lie on some pixel of the target.
            on_target = target_pixels[np.random.randint(len(target_pixels))]
            of_object = object_pixels[np.random.randint(len(object_pixels))]
            y, x = np.clip(on_target - of_object, 0, limit)
            where = slice(y, y + height), slice(x, x + width)
            share = (target[where] & mask).sum() / len(target_pixels)
            if self.overlap[0] <= share <= self.overlap[1]:
                return where
        return None
