"""`SyntheticObjectsDataset`: computed general objects for pretraining a promptable model."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from mmseg.registry import DATASETS

from .objects import draw_background, draw_object, draw_objects, light_scene, make_palette, make_style
from .procedural import OBJECTS, ProceduralDataset, check_min_area
from .textures import degrade


@DATASETS.register_module()
class SyntheticObjectsDataset(ProceduralDataset):
    """Compute images of 3 to 16 textured, shaded, overlapping objects, which depend only on (seed, index).

    Objects have all sizes from about 12 pixels to most of the image; they share colours with the background and their
    neighbours, or are copies of one another, so that colour alone does not separate them. Some have a part of another
    colour, which is a target of its own: one point on it may mean the part or the whole, the ambiguity that SAM's
    three masks are for (Kirillov et al., Segment Anything, 2023, section 3).

    Besides the fields of :class:`ProceduralDataset` a sample holds `gt_masks`, (T, H, W) uint8 {0, 1}: the visible
    pixels of T objects or parts of them, each of `min_area` pixels or more, in random order; `gt_seg_map` is the union
    of all objects; and `part_map`, (H, W) uint8: equal where one part of one object is seen, 0 the background.
    MMSeg's geometric transforms do not know `gt_masks` and `part_map`: put none between this dataset and the prompts.

    Args:
        max_targets: T is at most this; which ones is drawn at random. T is 1 or more.
        min_area: Smallest target in pixels, at most 1 % of the image.
        length, seed, size, pipeline, kwargs: See :class:`ProceduralDataset`.

    Raises:
        ValueError: if an argument is out of range.
    """

    METAINFO = OBJECTS
    NAME = 'synthetic_objects'

    def __init__(
        self,
        length: int,
        seed: int = 0,
        size: Sequence[int] = (256, 256),
        pipeline: Sequence[dict | Callable] = (),
        max_targets: int = 8,
        min_area: int = 40,
        **kwargs,
    ) -> None:
        super().__init__(length, seed=seed, size=size, pipeline=pipeline, **kwargs)
        if max_targets < 1:
            raise ValueError(f'SyntheticObjectsDataset: max_targets is {max_targets}, expected 1 or more')
        check_min_area('SyntheticObjectsDataset', min_area, self.size)
        self.max_targets = max_targets
        self.min_area = min_area

    def render(self, rng: np.random.Generator) -> dict:
        """Draw a scene.

        Returns:
            `img` (H, W, 3) uint8 BGR, `gt_seg_map` (H, W) uint8 {0, 1}, `gt_masks` (T, H, W) uint8 {0, 1},
            `part_map` (H, W) uint8 and `defect_class` ('object').
        """
        palette = make_palette(rng)
        image = draw_background(rng, self.size, palette)
        labels = np.zeros(self.size, np.uint8)  # which part of which object is seen at a pixel, 0 none
        targets = draw_objects(rng, image, labels, palette)
        areas = np.bincount(labels.ravel(), minlength=256)
        targets = [target for target in targets if sum(int(areas[label]) for label in target) >= self.min_area]
        if not targets:  # all were tiny or hidden: rare, and one more object on top fixes it
            draw_object(rng, image, labels, make_style(rng, palette, 'ellipse'), min(self.size) / 2, None, 255)
            targets = [(255,)]
        chosen = rng.permutation(len(targets))[: self.max_targets]
        masks = np.stack([target_mask(labels, targets[row]) for row in chosen])
        return dict(
            img=degrade(rng, light_scene(rng, image)),
            gt_seg_map=(labels > 0).astype(np.uint8),
            gt_masks=masks,
            part_map=labels,
            defect_class='object',
        )


def target_mask(labels: np.ndarray, target: tuple[int, ...]) -> np.ndarray:
    """(H, W) uint8: 1 where `labels` is one of `target`."""
    mask = labels == target[0]
    for label in target[1:]:
        mask |= labels == label
    return mask.astype(np.uint8)
