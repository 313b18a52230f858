"""`SyntheticPartsDataset`: computed objects made of parts, where a point may mean the whole or a part."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from mmseg.registry import DATASETS

from .objects import draw_background, light_scene, make_palette
from .parts import draw_assembly
from .procedural import OBJECTS, ProceduralDataset, check_min_area
from .textures import degrade

ASKS = ('whole', 'part')
_MOST_PARTS = 4


@DATASETS.register_module()
class SyntheticPartsDataset(ProceduralDataset):
    """Compute images of 1 to 5 separate objects with 2 to 4 parts of different texture; they depend on (seed, index).

    A point on an object is ambiguous by construction: every pixel belongs to a part and to a whole, and the prompt does
    not say which is meant. The task decides, and a prompt learning module learns it: with ``asks='whole'`` the targets
    are the objects, with 'part' their parts. The images are the same for both.

    Besides the fields of :class:`ProceduralDataset` a sample holds `gt_masks`, (T, H, W) uint8 {0, 1}, the T targets in
    random order; `gt_seg_map` is the union of all objects. MMSeg's geometric transforms do not know `gt_masks`: put
    none between this dataset and the prompts.

    Args:
        asks: 'whole' or 'part'.
        min_area: Smallest target in pixels, at most 1 % of the image; where all are smaller, the largest is the target.
        length, seed, size, pipeline, kwargs: See :class:`ProceduralDataset`.

    Raises:
        ValueError: if an argument is out of range.
    """

    METAINFO = OBJECTS
    NAME = 'synthetic_parts'

    def __init__(
        self,
        length: int,
        seed: int = 0,
        size: Sequence[int] = (256, 256),
        pipeline: Sequence[dict | Callable] = (),
        asks: str = 'whole',
        min_area: int = 40,
        **kwargs,
    ) -> None:
        super().__init__(length, seed=seed, size=size, pipeline=pipeline, **kwargs)
        if asks not in ASKS:
            raise ValueError(f'SyntheticPartsDataset: asks is {asks!r}, expected one of {ASKS}')
        check_min_area('SyntheticPartsDataset', min_area, self.size)
        self.asks = asks
        self.min_area = min_area

    def render(self, rng: np.random.Generator) -> dict:
        """Draw a scene.

        Returns:
            `img` (H, W, 3) uint8 BGR, `gt_seg_map` (H, W) uint8 {0, 1}, `gt_masks` (T, H, W) uint8 {0, 1} and
            `defect_class` ('whole' or 'part').
        """
        palette = make_palette(rng)
        image = draw_background(rng, self.size, palette)
        labels = np.zeros(self.size, np.uint8)  # which part of which object a pixel belongs to, 0 none
        extents = np.sort(rng.uniform(0.25, 0.55, int(rng.integers(2, 6))))[::-1] * min(self.size)
        for index, extent in enumerate(extents):
            parts = int(rng.integers(2, _MOST_PARTS + 1))
            draw_assembly(rng, image, labels, palette, float(extent), parts, index * _MOST_PARTS + 1)
        image = degrade(rng, light_scene(rng, image))
        order = rng.permutation(255)
        group = labels if self.asks == 'part' else (labels + _MOST_PARTS - 1) // _MOST_PARTS
        areas = np.bincount(group.ravel(), minlength=256)[1:]
        wanted = [target + 1 for target in order if areas[target] >= min(self.min_area, areas.max())]
        return dict(
            img=image,
            gt_seg_map=(labels > 0).astype(np.uint8),
            gt_masks=np.stack([group == target for target in wanted]).astype(np.uint8),
            defect_class=self.asks,
        )
