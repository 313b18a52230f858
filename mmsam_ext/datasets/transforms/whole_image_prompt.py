"""`WholeImagePrompt`: one prompt that asks for all defects of an image, wherever they are."""

from __future__ import annotations

import numpy as np
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS

from mmsam_ext.structures import Prompts
from mmsam_ext.structures.samples import check_num_classes, sample_key

from . import geometry_probe

#: Name of the prompt mode in tables.
MODE = 'whole image'


@TRANSFORMS.register_module()
class WholeImagePrompt(BaseTransform):
    """Ask for all foreground of a sample, by a box around its whole image or by the empty prompt.

    A model that was trained with such prompts, on images without a defect among others, answers what an inspector asks
    first: whether there is a defect at all. Unlike in :class:`GeneratePrompts`, an empty mask is a target.

    In training put it after all geometric transforms and before GeneratePrompts, which leaves samples with prompts as
    they are. In evaluation put it before Resize, and leave GeneratePrompts out.

    Required keys: img; gt_seg_map where there is ground truth.

    Added keys: prompts; gt_masks (1, H, W) uint8.

    Args:
        prob: The probability, from 0 to 1, that a sample with a defect gets the prompt. A sample without a defect
            always gets it, because no other prompt can be drawn for it.
        kind: 'box', or 'none' for the empty prompt: on tiles a box that is larger than a tile is answered where the
            overview found something, whereas the empty prompt looks at every tile.
        training: Whether the ground truth moves on with the image; in evaluation it stays at the original size.
        num_classes: K, number of classes without the background: there is then one prompt for each class. A sample that
            does not get them has its classes united to one foreground, from which GeneratePrompts draws prompts of no
            class, as a user's clicks have none. None: one class, the foreground.

    Raises:
        ValueError: `prob` or `num_classes` is out of its range, or `kind` is unknown.

    Example::

        dict(type='WholeImagePrompt', prob=0.5), dict(type='GeneratePrompts', modes=..., num_prompts=4)
    """

    def __init__(
        self, prob: float = 1.0, kind: str = 'box', training: bool = True, num_classes: int | None = None
    ) -> None:
        if not 0 <= prob <= 1:
            raise ValueError(f'WholeImagePrompt: prob={prob}, expected a probability from 0 to 1')
        if kind not in ('box', 'none'):
            raise ValueError(f"WholeImagePrompt: kind={kind!r}, expected 'box' or 'none'")
        self.prob, self.kind, self.training = prob, kind, training
        self.num_classes = check_num_classes('WholeImagePrompt', num_classes)

    def transform(self, results: dict) -> dict:
        """Add `prompts` and `gt_masks`, or return a sample with a defect as it is."""
        target = results.get('gt_seg_map')
        labels = range(1, (self.num_classes or 1) + 1)
        masks = None if target is None else np.stack([(target == label).astype(np.uint8) for label in labels])
        if target is not None and masks is not None and masks.any() and np.random.random() >= self.prob:
            if self.num_classes is not None:
                results['gt_seg_map'] = np.where(masks.any(0), 1, target).astype(target.dtype)
            return results
        height, width = results['img'].shape[:2]
        results['prompts'] = whole_image_prompt(height, width, self.kind, sample_key(results), self.num_classes)
        if masks is not None:
            results['gt_masks'] = masks  # (K, H, W)
        if not self.training:
            results['seg_fields'] = []  # the ground truth stays at the original size, as in MMSegmentation's tests
        geometry_probe.plant(results)
        return results


def whole_image_prompt(
    height: int, width: int, kind: str = 'box', sample: str = 'image', num_classes: int | None = None
) -> Prompts:
    """Return the prompt for all of an image of `height` x `width` pixels, in its pixels; with K classes, K prompts."""
    if kind == 'none':
        return Prompts.empty()  # the segmentor repeats it for each of its classes
    boxes = np.array([[0, 0, width - 1, height - 1]] * (num_classes or 1), np.float32)
    if num_classes is None:
        return Prompts.create(boxes=boxes, modes=(MODE,), sample=sample)
    targets = np.arange(num_classes)
    return Prompts.create(boxes=boxes, class_ids=targets + 1, target_ids=targets, modes=(MODE,), sample=sample)
